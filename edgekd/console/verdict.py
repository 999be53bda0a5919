"""Budgets against what was observed, and the verdict."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from edgekd.records import Release
from edgekd.units import METRICS, human_as

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
