"""The part of `edgekd bench` that reads the logs of a target which others ran."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from edgekd.records import Measurement

F = TypeVar("F", bound=Callable[..., Any])


def logs_options(function: F) -> F:
    """Add the options `--logs` and `--labels`."""
    labels = click.option(
        "--labels",
        type=click.Path(path_type=Path, dir_okay=False),
        help="With --logs: the task's y_labels.csv, where names of inputs don't say their class.",
    )
    logs = click.option(
        "--logs",
        type=click.Path(path_type=Path, file_okay=False),
        help="Measure nothing: read accuracy/ and performance/ of EEMBC's runner, of MLPerf Tiny on a microcontroller "
        "with MODEL on it.",
    )
    return logs(labels(function))


def bench_logs(
    models: Sequence[str],
    targets: Sequence[str],
    *,
    logs: Path | None,
    labels: Path | None,
    out: Path | None,
    as_json: bool,
) -> int:
    """Read logs of one model file on one target, and print them as if they had been taken now."""
    from edgekd.cli.stages import save_bench
    from edgekd.console import Terminal, measurements_table
    from edgekd.stages.benchmark import benchmark, describe_file, read_logs

    if logs is None:
        raise click.UsageError("--labels needs --logs")
    if len(models) != 1:
        raise click.UsageError("--logs are of one MODEL")
    if len(targets) != 1 or not targets[0].strip() or "," in targets[0]:
        raise click.UsageError("--logs need one --target: the name that the microcontroller goes by, yours to choose")
    terminal = Terminal(as_json=as_json)
    terminal.show_log()
    model = describe_file(Path(models[0]))
    read = read_logs(logs, model=model, target=targets[0], labels=labels)
    measurements = (*benchmark([model], targets=()), *read)
    if out:
        save_bench(out, measurements)
    terminal.print(measurements_table(measurements))
    terminal.result(measurements)
    return 0


def source_lines(measurements: Sequence[Measurement]) -> tuple[str, ...]:
    """Say which measurements were read from logs, a line for each file and target: those prove no file."""
    read = [each for each in measurements if each.conditions.source]
    return tuple(
        f"read from logs, which don't prove that {model} was the file on {target}: "
        + ", ".join(each.metric for each in read if (each.model, each.target) == (model, target))
        for model, target in dict.fromkeys((each.model, each.target) for each in read)
    )
