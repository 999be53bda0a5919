"""What each file did on each target, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from edgekd.console.terminal import WIDE
from edgekd.records import Measurement, Run
from edgekd.units import human

if TYPE_CHECKING:
    from rich.console import ConsoleOptions

    from edgekd.stages.report.comparison import TargetFigures
    from edgekd.stages.report.summary import Figure

# Where files were trained, checked and weighed, not run.
_NOT_PLACES = {"training", "export", "file"}
# How what was not measured is told.
_BASES = {"measured": "", "emulated": "~", "estimated": "≈"}
_TAINTED = "!"
# Columns of what a file did on a target, and what `TargetFigures` calls them.
_TIMES = {"p50": "p50", "p90": "p90", "load": "load", "first": "first_inference"}
_SIZES = {"arena": "arena", "memory": "peak_memory", "SRAM": "sram", "DRAM": "dram", "flash": "flash"}


def comparison_table(run: Run) -> RenderableType:
    """Teacher against student against every file, and what distilling was worth.

    On a narrow terminal the table is without the columns that tell least.
    """
    from edgekd.stages.report import (
        label_of,
        lower_is_better,
        points_text,
        score_text,
        summary_rows,
        taint_lines,
        worth_lines,
    )

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
                    "energy": _marked(getattr(place, "energy", None), "J"),
                    **{column: _marked(getattr(place, figure, None), "B") for column, figure in _SIZES.items()},
                    "on NPU": _marked(getattr(place, "npu", None), "1"),
                }
            )
    error = bool(rows) and lower_is_better(rows[0].metric)
    meaning = f"{name} above the teacher's" if error else f"{name} lost against the teacher"
    tainted = bool(taint_lines(run.measurements))
    return Group(_Comparison(lines, meaning, tainted=tainted), *map(Text, worth_lines(run)))


class _Comparison:
    """Leaves out columns, those that tell least first, until no cell is cut on the console it is printed to."""

    LEAST = (
        ("load", "first"),
        ("p90",),
        ("gzip",),
        ("parameters",),
        ("DRAM", "flash"),
        ("memory",),
        ("energy",),
        ("arena",),
    )
    # Of accelerators, and of targets that tell it: only where there is one.
    SELDOM = ("energy", "SRAM", "DRAM", "flash", "on NPU")

    def __init__(self, lines: Sequence[Mapping[str, str]], drop: str, *, tainted: bool) -> None:
        self.lines, self.drop, self.tainted = lines, drop, tainted

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        kept = list(self.lines[0]) if self.lines else ["file"]
        kept = [column for column in kept if column not in self.SELDOM or any(line[column] for line in self.lines)]
        for least in self.LEAST:
            if console.measure(self.table(kept), options=options.update(width=WIDE)).maximum <= options.max_width:
                break
            kept = [column for column in kept if column not in least]
        yield self.table(kept)

    def table(self, columns: Sequence[str]) -> Table:
        notes = [f"drop: {self.drop}", "~: emulated, not measured"]
        if self.tainted:
            notes.append(f"{_TAINTED}: tainted, see below")
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


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else human(value, unit)


def _marked(figure: Figure | None, unit: str) -> str:
    if figure is None:
        return ""
    text = _BASES[figure.basis] + human(figure.value, unit)
    return f"[yellow]{_TAINTED}{text}[/]" if figure.tainted else text
