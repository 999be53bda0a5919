"""Budgets against what was observed, and the verdict."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from edgekd.console.terminal import Terminal
from edgekd.records import Check, Release
from edgekd.units import human_as
from edgekd.verdict import limit_text, metric_text, status_text

_MARKS = {
    "pass": "[green]pass[/]",
    "fail": "[red]FAIL[/]",
    "inconclusive": "[yellow]open[/]",
    "unmeasured": "[red]NONE[/]",
    "waived": "[cyan]waived[/]",
}
_VERDICTS = {
    "pass": "[bold green]PASS[/]: every budget is met",
    "fail": "[bold red]FAIL[/]: a budget is broken",
    "inconclusive": "[bold yellow]INCONCLUSIVE[/]: not proven yet",
    "unmeasured": "[bold red]UNMEASURED[/]: no evidence for a budget, or no budget at all",
}
_CHANGES_SHOWN = 20


# So many are read: of more passes none, of more others those that keep the release back first.
_SHOWN = 40


def _shown(release: Release) -> tuple[list[Check], list[Check]]:
    """The checks to print, in their order, and those of them that are no pass."""
    passes = [check for check in release.checks if check.status == "pass"]
    others = [check for check in release.checks if check.status != "pass"]
    if len(others) > _SHOWN:
        first = sorted(others, key=lambda check: not release.is_held_back_by(check))[:_SHOWN]
        kept = {id(check) for check in first}
        others = [check for check in others if id(check) in kept]
    shown = {id(check) for check in (*others, *(passes if len(passes) <= _SHOWN else ()))}
    return [check for check in release.checks if id(check) in shown], others


def checks_table(release: Release) -> Table:
    """Budgets against what was observed; where there are very many, those that people have to look at."""
    shown, _ = _shown(release)
    table = Table(title="Budgets", title_justify="left", box=None, pad_edge=False, caption_justify="left")
    if left := len(release.checks) - len(shown):
        passes = sum(check.status == "pass" for check in release.checks)
        table.caption = f"{left} of {len(release.checks)} checks are not shown; {passes} pass; --json has all"
    for column in ("", "budget", "file", "target"):
        table.add_column(column)
    for column in ("observed", "interval", "limit"):
        table.add_column(column, justify="right")
    for check in shown:
        observed, low, high = (
            "" if value is None else human_as(check.budget.limit, value, check.unit)
            for value in (check.observed, check.low, check.high)
        )
        table.add_row(
            _MARKS[status_text(check)],
            escape(metric_text(check.budget)),
            escape(check.model),
            check.target,
            observed,
            f"{low} to {high}" if low != high else "",
            limit_text(check.budget),
        )
    return table


def print_release(terminal: Terminal, release: Release) -> None:
    """Print the budgets and the verdict."""
    terminal.print(checks_table(release), "", verdict_lines(release))


def verdict_lines(release: Release) -> str:
    """The verdict, and why, when it is not a pass."""
    lines = [_VERDICTS[release.status]]
    waived = sum(check.waiver is not None for check in release.checks)
    if waived and release.status == "pass":
        lines[0] += f", but for {waived} that {'are' if waived > 1 else 'is'} waived"
    if release.status == "inconclusive" and not release.is_refused:
        lines[0] += "; that keeps no release back (--lenient)"
    _, shown = _shown(release)
    lines += [f"  {escape(check.budget.metric)} {escape(check.model)}: {escape(check.reason)}" for check in shown]
    used = {check.waiver for check in release.checks}
    lines += [
        f"  the waiver of {escape(each.metric)} by {escape(each.owner)} is not needed: take it out"
        for each in release.waivers
        if each not in used and not any(f"{each.owner}'s waiver" in check.reason for check in release.checks)
    ]
    return "\n".join([*lines, *_change_lines(release)])


def _change_lines(release: Release) -> list[str]:
    """What is not as it was when the last release was made, where it was held against one."""
    if not release.baseline:
        return []
    name = escape(release.baseline)
    if not release.changes:
        return [f"nothing is known to have changed since {name}"]
    shown = [f"  {escape(each.what)}: {escape(each.before)} → {escape(each.after)}" for each in release.changes]
    more = [f"  and {len(shown) - _CHANGES_SHOWN} more"] if len(shown) > _CHANGES_SHOWN else []
    return [f"changed since {name}:", *shown[:_CHANGES_SHOWN], *more]
