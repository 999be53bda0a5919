"""The subcommand that shows what gates saw before, and the part of `edgekd gate` that keeps it."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgekd.cli.group import command, json_option

if TYPE_CHECKING:
    from edgekd.history import Trend
    from edgekd.records import PastGate, Release, Run

F = TypeVar("F", bound=Callable[..., Any])
_LAST = 20


def history_options(function: F) -> F:
    """Add the options `--history` and `--no-history`."""
    file = click.option(
        "--history",
        "history_file",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Add the verdict to this history [default: $EDGEKD_HISTORY, else history.sqlite beside RUN].",
    )
    none = click.option("--no-history", is_flag=True, help="Add the verdict to no history.")
    return file(none(function))


def keep(release: Release, run: Run, *, file: Path | None, wanted: bool) -> None:
    """Add a gate to its history, or say why it is not there; the verdict stands either way."""
    if not wanted:
        return
    from edgekd import pipeline

    if error := pipeline.remember(release, run, file=file):
        click.echo(f"warning: this gate is not in the history: {error}", err=True)


@command("""
    edgekd history
    edgekd history runs/digits --metric latency --target host
    edgekd history ci/history.sqlite --last 50 --json
    edgekd history runs --csv > history.csv
    edgekd history runs --export mlflow=http://localhost:5000
""")
@click.argument("place", metavar="[RUN|FOLDER|FILE]", required=False, type=click.Path(path_type=Path))
@click.option("--metric", metavar="PATTERN", help="Only trends of these metrics, e.g. 'latency' or '*_size'.")
@click.option("--target", metavar="PATTERN", help="Only trends on these targets.")
@click.option("--model", metavar="PATTERN", help="Only trends of these files.")
@click.option(
    "--last", type=click.IntRange(1), help=f"Gates of each recipe, at most [default: {_LAST}; with --export all]."
)
@click.option("--csv", "as_csv", is_flag=True, help="Print a line for each number that a gate observed.")
@click.option("--export", "wish", metavar="mlflow=URI|FOLDER", help="Write each gate as a run of MLflow.")
@json_option
def history(
    place: Path | None,
    metric: str | None,
    target: str | None,
    model: str | None,
    last: int | None,
    as_csv: bool,
    wish: str | None,
    as_json: bool,
) -> int:
    """Show what gates saw, and how each metric of each file changed from one to the next.

    Of a RUN only the gates of its recipe are shown; of a FOLDER with a history, or of a history FILE, all. By default
    it is $EDGEKD_HISTORY, else that in runs/.
    """
    if as_csv and (as_json or wish):
        raise click.UsageError("--csv goes with neither --json nor --export")
    if wish and (metric or target or model):
        raise click.UsageError("--export writes whole gates: it goes with none of --metric, --target and --model")
    from edgekd import pipeline
    from edgekd.console import Terminal, history_tables
    from edgekd.history import trends_of

    terminal = Terminal(as_json=as_json or as_csv)
    past = pipeline.recall(place, last=last or (None if wish else _LAST))
    if wish is not None:
        exported = pipeline.export_history(past, wish)
        terminal.say(f"{exported.made} gates written to {exported.place}, {exported.there} were there already")
        terminal.result(exported)
        return 0
    trends = _chosen(trends_of(past.gates), metric=metric, target=target, model=model)
    if as_csv:
        _write_csv(trends)
        return 0
    count = "one gate" if len(past.gates) == 1 else f"{len(past.gates)} gates"
    terminal.say(f"{past.file}: {count}" + (f" of {past.recipe}" if past.recipe else ""))
    for table in history_tables(past.gates, trends) if past.gates else ():
        terminal.print("", table)
    terminal.result(
        {
            "history": past.file,
            "gates": [_plain(gate) for gate in past.gates],
            "trends": [_trend(trend) for trend in trends],
        }
    )
    return 0


def _chosen(trends: Sequence[Trend], *, metric: str | None, target: str | None, model: str | None) -> Sequence[Trend]:
    """Those that are asked for.

    Raises:
        ConfigError: There are none.
    """
    from edgekd.errors import ConfigError, did_you_mean

    for field, pattern in {"metric": metric, "target": target, "model": model}.items():
        if pattern is None:
            continue
        known = {getattr(trend.latest, field) for trend in trends}
        trends = [trend for trend in trends if fnmatchcase(getattr(trend.latest, field), pattern)]
        if not trends:
            raise ConfigError(
                f"no trend of '{pattern}'",
                where=f"--{field}",
                allowed=", ".join(sorted(known)) or "nothing: no gate saw any number",
                next_step=did_you_mean(pattern, known),
            )
    return trends


_GATE_COLUMNS = ("gated_at", "recipe", "run", "commit", "version", "status")
_FIGURE_COLUMNS = (
    *("metric", "statistic", "reference", "part", "model", "format", "precision", "target", "unit"),
    *("observed", "low", "high", "bound", "limit"),
)


def _write_csv(trends: Sequence[Trend]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*_GATE_COLUMNS[:-1], "verdict", *_FIGURE_COLUMNS, "check"])
    for trend in trends:
        for point in trend.points:
            writer.writerow(
                [
                    *(getattr(point.gate, column) for column in _GATE_COLUMNS),
                    *(getattr(point.figure, column) for column in _FIGURE_COLUMNS),
                    point.figure.status,
                ]
            )


def _plain(gate: PastGate) -> dict[str, Any]:
    from edgekd import store

    return {key: value for key, value in store.to_json(gate).items() if key != "figures"}


def _trend(trend: Trend) -> dict[str, Any]:
    latest = trend.latest
    return {
        "recipe": trend.recipe,
        **{name: getattr(latest, name) for name in _FIGURE_COLUMNS[:9]},
        "is_current": trend.is_current,
        "change_since_before": trend.change(-2),
        "change_since_first": trend.change(0),
        "points": [
            {
                "gated_at": point.gate.gated_at,
                "run": point.gate.run,
                "commit": point.gate.commit,
                **{name: getattr(point.figure, name) for name in _FIGURE_COLUMNS[9:]},
                "status": point.figure.status,
            }
            for point in trend.points
        ],
    }
