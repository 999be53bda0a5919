"""Subcommands that run a stage or all of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekd.cli.group import command, exit_code, json_option, out_option, set_option
from edgekd.cli.lint import findings_table
from edgekd.cli.logs import bench_logs, logs_options
from edgekd.launch import process_rank

if TYPE_CHECKING:
    from rich.table import Table

    from edgekd.records import Measurement, OperatorTime

_OPERATORS_SHOWN = 15


@command("""
    edgekd run digits
    edgekd run my-recipe.toml --out runs/try-2 --set distill.epochs=60
    EDGEKD_DATA=~/data edgekd run fashion-mnist
""")
@click.argument("recipe")
@out_option
@set_option
@json_option
def run(recipe: str, out: Path | None, overrides: tuple[str, ...], as_json: bool) -> int:
    """Run a recipe: teachers, student, files, measurements, verdict, report.

    RECIPE is the name of a shipped one (see `edgekd recipes`) or a .toml file. What is done already is
    skipped; a run that was killed goes on where it was.
    """
    return run_until("report", recipe, out, overrides, as_json=as_json)


@command("""
    edgekd distill digits
    edgekd distill my-recipe.toml --set distill.seed=1 --out runs/seed-1
""")
@click.argument("recipe")
@out_option
@set_option
@json_option
def distill(recipe: str, out: Path | None, overrides: tuple[str, ...], as_json: bool) -> int:
    """Train a recipe's teachers and student, no further."""
    return run_until("distill", recipe, out, overrides, as_json=as_json)


@command("""
    edgekd bench digits
    edgekd bench model.tflite model.onnx --target host
    edgekd bench model.tflite --target host,cortex-m4 --runs 5000 --out runs/bench
    edgekd bench model.tflite --target raspberry-pi-5 --sustained 10m
    edgekd bench model.tflite --target host,pixel-8 --profile
    edgekd bench model.tflite --logs runner/sessions/kws --target my-board --out runs/board
""")
@click.argument("models", nargs=-1, required=True, metavar="RECIPE | MODEL...")
@click.option(
    "--target",
    "targets",
    multiple=True,
    help="Where to measure: a name, or several with commas [default: host].",
)
@click.option(
    "--runs", type=click.IntRange(1), default=10_000, show_default=True, help="Timed inferences per file, at most."
)
@click.option("--time-limit", type=click.FloatRange(0, min_open=True), default=5.0, show_default=True, help="Seconds.")
@click.option(
    "--sustained", metavar="DURATION", help="Then run each file so long, e.g. 10m: first minute against last."
)
@click.option("--profile", "profiled", is_flag=True, help="Also time each operator; not on TFLite Micro.")
@click.option("--threads", type=click.IntRange(1), help="Threads [default: the target's own].")
@click.option(
    "--length",
    type=click.IntRange(1),
    default=128,
    show_default=True,
    help="Tokens of a text, of files that take any number.",
)
@logs_options
@out_option
@set_option
@json_option
def bench(
    models: tuple[str, ...],
    targets: tuple[str, ...],
    runs: int,
    time_limit: float,
    sustained: str | None,
    profiled: bool,
    threads: int | None,
    length: int,
    logs: Path | None,
    labels: Path | None,
    out: Path | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> int:
    """Measure model files: any .tflite or .onnx, or those of a recipe.

    Several machines measure at the same time. A target that fails is left alone and the others go on; the exit code
    is 3 then.
    """
    is_file = models[0].endswith((".tflite", ".onnx")) or Path(models[0]).is_file()
    if len(models) == 1 and (models[0].endswith(".toml") or not is_file):
        refuse_options(
            "for model files; for a recipe: --set benchmark.runs=100",
            "targets",
            "runs",
            "time_limit",
            "sustained",
            "profiled",
            "threads",
            "length",
            "logs",
            "labels",
        )
        return run_until("benchmark", models[0], out, overrides, as_json=as_json)
    if logs or labels:
        refuse_options("not for logs", "runs", "time_limit", "sustained", "profiled", "threads", "length", "overrides")
        return bench_logs(models, targets, logs=logs, labels=labels, out=out, as_json=as_json)
    refuse_options("for recipes only", "overrides")
    from edgekd.config import load_targets
    from edgekd.console import Terminal, measurements_table
    from edgekd.errors import TargetError
    from edgekd.records import BenchmarkSpec
    from edgekd.stages.benchmark import benchmark, describe_file, profile
    from edgekd.units import parse_duration

    terminal = Terminal(as_json=as_json)
    terminal.show_log()
    places = load_targets(targets or ("host",))
    spec = BenchmarkSpec(
        targets=tuple(place.name for place in places),
        runs=runs,
        time_limit_s=time_limit,
        sustained_s=parse_duration(sustained, "--sustained") if sustained else 0.0,
        threads=threads,
        length=length,
    )
    described = [describe_file(Path(model)) for model in models]
    # First, because it may not be possible.
    operators = [each for place in places if profiled for each in profile(described, target=place, threads=threads)]
    failures: list[TargetError] = []
    with terminal.progress() as progress:
        measurements = benchmark(described, targets=places, spec=spec, progress=progress, on_failure=failures.append)
    if out:
        save_bench(out, measurements, operators)
    if not as_json:  # its intervals alone take a tenth of a small file's time
        terminal.print(measurements_table(measurements), *operators_tables(operators))
    terminal.result({"measurements": measurements, "operators": operators} if profiled else measurements)
    return TargetError.exit_code if failures else 0


def refuse_options(why: str, *names: str) -> None:
    """Refuse options that would not be looked at."""
    context = click.get_current_context()
    for option in context.command.params:
        given = context.get_parameter_source(option.name or "") is not click.core.ParameterSource.DEFAULT
        if option.name in names and given:
            raise click.UsageError(f"{option.opts[0]} is {why}")


def operators_tables(operators: Sequence[OperatorTime]) -> list[Table]:
    """The slowest operators of each file on each target, and their shares of what all take."""
    from rich.text import Text

    from edgekd.console import plain_table
    from edgekd.units import human

    tables = []
    for model, target in dict.fromkeys((each.model, each.target) for each in operators):
        times = [
            (statistics.median(each.samples), each)
            for each in operators
            if (each.model, each.target) == (model, target)
        ]
        total = sum(seconds for seconds, _ in times) or 1.0  # runtimes may tell whole microseconds, all of them 0
        rows = [
            (each.operator, each.layer, human(seconds, "s"), f"{100 * seconds / total:.1f} %")
            for seconds, each in sorted(times, key=lambda pair: pair[0], reverse=True)[:_OPERATORS_SHOWN]
        ]
        table = plain_table(("operator", "layer", "p50", "share"), rows)
        together = f"{human(sum(seconds for seconds, _ in times), 's')} together, what timing them takes included"
        table.title = Text(f"Slowest of {len(times)} operators of {model} on {target}: {together}")
        table.title_justify = "left"
        tables.append(table)
    return tables


def save_bench(out: Path, measurements: Sequence[Measurement], operators: Sequence[OperatorTime] = ()) -> None:
    """Write what a benchmark of files gave, as a folder that `gate` and `report` read."""
    from edgekd import store
    from edgekd.records import Run
    from edgekd.stages.report import report

    store.write_json(out / "measurements.json", measurements)
    if operators:
        store.write_json(out / "operators.json", operators)
    run = Run(name=out.name, folder=out, recipe="", measurements=tuple(measurements), operators=tuple(operators))
    report(run, folder=out)


def run_until(step: str, source: str, out: Path | None, overrides: Sequence[str], *, as_json: bool) -> int:
    """Run a recipe up to a step, and print what it gave."""
    from edgekd import pipeline
    from edgekd.config import load_recipe
    from edgekd.console import Terminal, comparison_table, print_release
    from edgekd.errors import TargetError

    loaded = load_recipe(source, overrides)
    folder = out or Path("runs") / loaded.recipe.name
    if process_rank() > 0:  # the first process prints and writes
        pipeline.run(loaded, folder=folder, until=step)
        return 0
    terminal = Terminal(as_json=as_json)
    terminal.show_log()
    with terminal.logging_to(folder), terminal.progress() as progress:
        outcome = pipeline.run(loaded, folder=folder, until=step, progress=progress)
    with terminal.logging_to(folder):
        terminal.print("", comparison_table(outcome.run), "")
        if table := kernels_table(outcome.run.measurements):
            terminal.print(table, "")
        if outcome.run.findings and step in ("benchmark", "package", "report"):
            terminal.print(findings_table(outcome.run.findings, "Lint"), "")
        release = outcome.run.release if step == "report" else None
        if release:
            print_release(terminal, release)
            terminal.say(f"report: {folder / 'report' / 'report.html'}")
        terminal.say(f"files: {folder / ('distill' if step == 'distill' else 'export')}")
        if step in ("package", "report") and loaded.recipe.package.packagers != ():
            terminal.say(f"packages: {folder / 'package'}")
    terminal.result(
        {
            "folder": folder,
            "made": outcome.made,
            "skipped": outcome.skipped,
            "status": release.status if release else None,
            "models": outcome.run.models,
        }
    )
    code = exit_code(release) if release else 0
    return code or (TargetError.exit_code if outcome.open else 0)


def kernels_table(measurements: Sequence[Measurement]) -> Table | None:
    """How files agree with themselves on other kernels; nothing where none were there."""
    from edgekd.console import plain_table
    from edgekd.stages.report import kernel_rows

    rows = [
        (
            each.model,
            each.target,
            f"{each.agreeing} of {each.samples}",
            f"{each.bit_equal} of {each.samples}",
            f"{each.max_error:.3g}",
        )
        for each in kernel_rows(measurements)
    ]
    table = plain_table(("file", "kernels of", "same prediction", "bit-equal", "largest error"), rows)
    table.title, table.title_justify = "Other kernels, against those of the export's own check", "left"
    return table if rows else None
