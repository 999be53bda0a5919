"""What people see: progress with time left, tables, one-line errors; all of it also goes to the run's log."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from edgekd import store
from edgekd.errors import EdgekdError, write_error
from edgekd.progress import Silent
from edgekd.records import Measurement, Release, Run
from edgekd.units import METRICS, human, human_as

if TYPE_CHECKING:
    from rich.console import ConsoleOptions

    from edgekd import progress
    from edgekd.inspection import Anatomy
    from edgekd.stages.report.comparison import TargetFigures
    from edgekd.stages.report.summary import Figure

_log = logging.getLogger("edgekd")
_MARKS = {
    "pass": "[green]pass[/]",
    "fail": "[red]FAIL[/]",
    "inconclusive": "[yellow]open[/]",
    "unmeasured": "[red]NONE[/]",
}
_VERDICTS = {
    "pass": "[bold green]PASS[/]: every budget is met",
    "fail": "[bold red]FAIL[/]: a budget is broken",
    "inconclusive": "[bold yellow]INCONCLUSIVE[/]: not proven yet",
    "unmeasured": "[bold red]UNMEASURED[/]: no evidence for a budget, or no budget at all",
}
# Where files were trained, checked and weighed, not run.
_NOT_PLACES = {"training", "export", "file"}
_PLAIN_INTERVAL_S = 10.0
# Off a terminal a row is a line, for grep and for logs; on one, rich asks the terminal.
_WIDE = 400
# How what was not measured is told.
_BASES = {"measured": "", "emulated": "~", "estimated": "≈"}
# Columns of what a file did on a target, and what `TargetFigures` calls them.
_TIMES = {"p50": "p50", "p90": "p90", "load": "load", "first": "first_inference"}
_SIZES = {"arena": "arena", "memory": "peak_memory", "SRAM": "sram", "DRAM": "dram", "flash": "flash"}


class Terminal:
    """Prints to people, keeps what it prints in a log, and stays out of the way of `--json`.

    Args:
        as_json: Print nothing but the result, as JSON.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        off_terminal = not sys.stdout.isatty()
        self.out = Console(soft_wrap=off_terminal, width=_WIDE if off_terminal else None, emoji=False)
        self.err = Console(stderr=True, emoji=False)
        self._log: Console | None = None

    @contextlib.contextmanager
    def logging_to(self, folder: Path) -> Iterator[None]:
        """Keep everything that is printed or logged in the folder's `log.txt`.

        Raises:
            StoreError: The folder can't be made or written to.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = _LogFile(folder / "log.txt")
        except OSError as error:
            raise write_error(folder, error) from error
        handler = logging.StreamHandler(file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._log = Console(file=file, width=_WIDE, no_color=True, emoji=False)
        _log.addHandler(handler)
        try:
            yield
        except EdgekdError as error:
            _log.debug("error: %s", error)  # to the log; the command prints it when all is closed
            raise
        finally:
            _log.removeHandler(handler)
            self._log = None
            file.close()

    def print(self, *renderables: RenderableType) -> None:
        """Print for people; strings may hold markup."""
        for console in (None if self.as_json else self.out, self._log):
            if console:
                for renderable in renderables:
                    console.print(renderable)

    def say(self, text: str) -> None:
        """Print a line for people as it is: paths may hold what looks like markup."""
        self.print(Text(text))

    def result(self, value: object) -> None:
        """Print for machines, if they asked."""
        if self.as_json:
            sys.stdout.write(json.dumps(store.to_json(value), indent=1) + "\n")
            sys.stdout.flush()

    def show_log(self) -> None:
        """Show what the library logs, without the per-epoch detail that goes to the log file."""
        _log.setLevel(logging.DEBUG)
        _log.addHandler(_LogToConsole(self.err))

    @contextlib.contextmanager
    def progress(self) -> Iterator[progress.Progress]:
        """Show long work: a bar with time left on a terminal, a line now and then elsewhere."""
        if self.as_json:
            yield Silent()
        elif self.err.is_terminal:
            columns = (
                TextColumn("[cyan]{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f} %"),
                TimeRemainingColumn(elapsed_when_finished=True),
            )
            with Progress(*columns, console=self.err, transient=True) as bars:
                yield _Bars(bars)
        else:
            yield _Lines(self.err)


class _LogFile(io.TextIOWrapper):
    """A log that stops when it can't be written; a full disk is for those to tell whose work is lost by it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.open("ab", buffering=0), encoding="utf-8", write_through=True)

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


class _LogToConsole(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        style = "yellow" if record.levelno >= logging.WARNING else "dim"
        self.console.print(escape(record.getMessage()), style=style, highlight=False, soft_wrap=True)


class _Bars:
    """Draws one bar a task."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.task: TaskID | None = None

    def start(self, task: str, total: int) -> None:
        self.task = self.bars.add_task(task, total=total)

    def advance(self, count: int = 1) -> None:
        if self.task is not None:
            self.bars.advance(self.task, count)

    def end(self) -> None:
        if self.task is not None:
            self.bars.remove_task(self.task)
            self.task = None

    def beside(self) -> _Bars:
        return _Bars(self.bars)


class _Lines:
    """Writes a line every ten seconds, for logs of CI and cron."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.task, self.total, self.done, self.resumed = "", 1, 0, 0
        self.started = self.written = time.monotonic()

    def start(self, task: str, total: int) -> None:
        self.task, self.total, self.done, self.resumed = task, max(total, 1), 0, 0
        self.started = self.written = time.monotonic()

    def advance(self, count: int = 1) -> None:
        if self.done == 0 and count > 1:
            self.resumed = count
        self.done += count
        now = time.monotonic()
        fresh = self.done - self.resumed
        if now - self.written >= _PLAIN_INTERVAL_S and fresh:
            self.written = now
            left = (now - self.started) / fresh * (self.total - self.done)
            self.console.print(
                f"{self.task}: {self.done / self.total:.0%}, {left:.0f} s left", style="dim", highlight=False
            )

    def end(self) -> None:
        self.done = 0

    def beside(self) -> _Lines:
        return _Lines(self.console)


def checks_table(release: Release) -> Table:
    """Budgets against what was observed."""
    table = Table(title="Budgets", title_justify="left", box=None, pad_edge=False)
    for column in ("", "budget", "file", "target"):
        table.add_column(column)
    for column in ("observed", "interval", "limit"):
        table.add_column(column, justify="right")
    for check in release.checks:
        budget = check.budget
        name = f"{budget.metric} {budget.statistic}" if budget.statistic else budget.metric
        sign = "≤" if METRICS[budget.metric].bound == "at most" else "≥"
        observed, low, high = (
            "" if value is None else human_as(budget.limit, value, check.unit)
            for value in (check.observed, check.low, check.high)
        )
        table.add_row(
            _MARKS[check.status],
            name,
            escape(check.model),
            check.target,
            observed,
            f"{low} to {high}" if low != high else "",
            f"{sign} {budget.limit}",
        )
    return table


def verdict_lines(release: Release) -> str:
    """The verdict, and why, when it is not a pass."""
    lines = [_VERDICTS[release.status]]
    lines += [
        f"  {escape(check.budget.metric)} {escape(check.model)}: {escape(check.reason)}"
        for check in release.checks
        if check.status != "pass"
    ]
    return "\n".join(lines)


def comparison_table(run: Run) -> RenderableType:
    """Teacher against student against every file, and what distilling was worth.

    On a narrow terminal the table is without the columns that tell least.
    """
    from edgekd.stages.report import label_of, lower_is_better, points_text, score_text, summary_rows, worth_lines

    rows = summary_rows(run)
    name = label_of(rows[0].metric) if rows else "accuracy"
    lines: list[dict[str, str]] = []
    for row in rows:
        places: list[TargetFigures | None] = [each for each in row.targets if each.target not in _NOT_PLACES]
        for index, place in enumerate(places or [None]):
            first = index == 0
            score = place.score if place and place.score else (row.score if first else None)
            drop = place.drop if place and place.drop else (row.drop if first else None)
            seeds = f" ({row.seeds} seeds)" if row.seeds > 1 else ""
            lines.append(
                {
                    "file": escape(row.model) + seeds if first else "",
                    "size": _number(row.size, "B") if first else "",
                    "gzip": _number(row.compressed, "B") if first else "",
                    "parameters": f"{row.parameters:,}" if first and row.parameters else "",
                    name: score_text(score.value, row.metric) if score else "",
                    "drop": points_text(drop.value, row.metric, sign="+") if drop else "",
                    "target": escape(place.target) if place else "",
                    **{column: _marked(getattr(place, figure, None), "s") for column, figure in _TIMES.items()},
                    **{column: _marked(getattr(place, figure, None), "B") for column, figure in _SIZES.items()},
                    "on NPU": _marked(getattr(place, "npu", None), "1"),
                }
            )
    error = bool(rows) and lower_is_better(rows[0].metric)
    meaning = f"{name} above the teacher's" if error else f"{name} lost against the teacher"
    return Group(_Comparison(lines, meaning), *map(Text, worth_lines(run)))


class _Comparison:
    """Leaves out columns, those that tell least first, until no cell is cut on the console it is printed to."""

    LEAST = (("load", "first"), ("p90",), ("gzip",), ("parameters",), ("DRAM", "flash"), ("memory",), ("arena",))
    # Of accelerators: only where there is one.
    SELDOM = ("SRAM", "DRAM", "flash", "on NPU")

    def __init__(self, lines: Sequence[Mapping[str, str]], drop: str) -> None:
        self.lines, self.drop = lines, drop

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        kept = list(self.lines[0]) if self.lines else ["file"]
        kept = [column for column in kept if column not in self.SELDOM or any(line[column] for line in self.lines)]
        for least in self.LEAST:
            if console.measure(self.table(kept), options=options.update(width=_WIDE)).maximum <= options.max_width:
                break
            kept = [column for column in kept if column not in least]
        yield self.table(kept)

    def table(self, columns: Sequence[str]) -> Table:
        notes = [f"drop: {self.drop}", "~: emulated, not measured"]
        if "on NPU" in columns:
            notes.append("≈: estimated by Vela")
        if "load" in columns:
            notes.append("load, first: the largest of the few that were timed")
        table = Table(
            title="Files",
            title_justify="left",
            caption="   ".join(notes),
            caption_justify="left",
            box=None,
            pad_edge=False,
        )
        for column in columns:
            # What is still too long breaks, instead of ending in an ellipsis.
            table.add_column(column, justify="left" if column == "file" else "right", overflow="fold")
        for line in self.lines:
            table.add_row(*(line[column] for column in columns))
        return table


def measurements_table(measurements: Sequence[Measurement]) -> RenderableType:
    """What a bare benchmark gave."""
    return comparison_table(Run(name="bench", folder=Path(), recipe="", measurements=tuple(measurements)))


def anatomy_tables(anatomy: Anatomy, *, layers: bool) -> list[Table]:
    """What is in a model file."""
    facts = Table(box=None, pad_edge=False, show_header=False)
    for key, value in {
        "format": anatomy.format,
        "size": human(anatomy.size_bytes, "B"),
        "parameters": f"{anatomy.parameters:,}",
        "MACs": f"{anatomy.macs:,}",
        "layout": anatomy.layout,
        "inputs": ", ".join(f"{each.name} {_shape(each.shape)} {each.dtype}" for each in anatomy.inputs),
        "outputs": ", ".join(f"{each.name} {_shape(each.shape)} {each.dtype}" for each in anatomy.outputs),
        "operators": ", ".join(f"{name} x{count}" for name, count in anatomy.operators),
        "tensors": ", ".join(
            f"{each.dtype} x{each.tensors} ({human(each.size_bytes, 'B')})" for each in anatomy.dtypes
        ),
    }.items():
        facts.add_row(f"[cyan]{key}[/]", escape(value))
    if not layers:
        return [facts]
    by_layer = Table(title="Layers", title_justify="left", box=None, pad_edge=False)
    for column in ("layer", "operator", "output"):
        by_layer.add_column(column)
    for column in ("parameters", "MACs", "weights", "bytes"):
        by_layer.add_column(column, justify="right")
    for layer in anatomy.layers:
        by_layer.add_row(
            escape(layer.name[-60:]),
            layer.operator,
            _shape(layer.output_shape),
            f"{layer.parameters:,}",
            f"{layer.macs:,}",
            layer.weight_dtype or "",
            f"{layer.size_bytes:,}",
        )
    return [facts, by_layer]


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of text."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    return table


def facts_table(facts: Mapping[str, Any]) -> Table:
    """Keys and values."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for key, value in facts.items():
        table.add_row(f"[cyan]{escape(key)}[/]", escape(str(value)))
    return table


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else human(value, unit)


def _marked(figure: Figure | None, unit: str) -> str:
    return "" if figure is None else _BASES[figure.basis] + human(figure.value, unit)


def _shape(shape: Sequence[int | None]) -> str:
    return "x".join("?" if each is None else str(each) for each in shape)
