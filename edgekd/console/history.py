"""Gates of a history, and what became of each metric."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from edgekd.history import Trend
from edgekd.records import PastFigure, PastGate

_BARS = "▁▂▃▄▅▆▇█"
_MARKS = {
    "pass": "[green]pass[/]",
    "fail": "[red]FAIL[/]",
    "unmeasured": "[red]unmeasured[/]",
    "inconclusive": "[yellow]inconclusive[/]",
    "waived": "[yellow]waived[/]",
}
_GONE = "[dim]not in the last gate[/]"
_COMMIT_DIGITS = 9
_SIGNS = {"at most": "≤", "at least": "≥"}


def history_tables(gates: Sequence[PastGate], trends: Sequence[Trend]) -> list[Table]:
    """One table of gates, the newest first, and one of trends a recipe."""
    tables = [_gates_table(gates)]
    for recipe, group in itertools.groupby(trends, lambda trend: trend.recipe):
        table = _titled(f"Trends of {recipe}")
        for column in ("metric", "file", "target"):
            table.add_column(column)
        table.add_column("trend", no_wrap=True)
        for column in ("latest", "before", "first", "limit"):
            table.add_column(column, justify="right")
        table.add_column("")
        for trend in group:
            latest = trend.latest
            table.add_row(
                escape(trend.name),
                escape(latest.model),
                escape(latest.target),
                sparkline(trend.values),
                escape(trend.latest_text),
                trend.change(-2),
                trend.change(0),
                escape(_limit(latest)),
                _MARKS.get(latest.status, escape(latest.status)) if trend.is_current else _GONE,
            )
        tables.append(table)
    return tables


def sparkline(values: Sequence[float]) -> str:
    """Draw values as bars, from the smallest to the largest; values that are all the same are in the middle.

    >>> sparkline([1, 2, 8]), sparkline([5, 5])
    ('▁▂█', '▄▄')
    """
    if not values:
        return ""
    low, high = min(values), max(values)
    if low == high:
        return "▄" * len(values)
    return "".join(_BARS[round((value - low) / (high - low) * (len(_BARS) - 1))] for value in values)


def _gates_table(gates: Sequence[PastGate]) -> Table:
    table = _titled("Gates")
    for column in ("time (UTC)", "recipe", "run", "commit", "edgekd", "", "checks"):
        table.add_column(column)
    for gate in reversed(gates):
        table.add_row(
            escape(gate.gated_at.replace("T", " ").removesuffix("Z")),
            escape(gate.recipe),
            escape(gate.run),
            escape(gate.commit[:_COMMIT_DIGITS]),
            escape(gate.version),
            _MARKS.get(gate.status, escape(gate.status)),
            _counted(gate.figures),
        )
    return table


def _counted(figures: Sequence[PastFigure]) -> str:
    found = [figure.status for figure in figures if figure.status]
    return ", ".join(f"{found.count(status)} {escape(status)}" for status in dict.fromkeys(sorted(found)))


def _limit(figure: PastFigure) -> str:
    return f"{_SIGNS.get(figure.bound, '')} {figure.written}".strip()


def _titled(title: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.title, table.title_justify = Text(title), "left"
    return table
