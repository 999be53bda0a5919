"""Markdown for GitHub's step summary and for comments on pull requests, within their limits."""

from __future__ import annotations

from dataclasses import replace

from edgekd.announcers._text import amounts, worst_first
from edgekd.records import Check, Release, Run
from edgekd.text import COMMENT_BYTES, markdown_name, markdown_text
from edgekd.verdict import describe_budget, limit_text, metric_text, status_text, verdict_of

_MARKS = {
    "pass": "✅ pass",
    "fail": "❌ fail",
    "unmeasured": "❔ unmeasured",
    "inconclusive": "⚠️ inconclusive",
    "waived": "🕓 waived",
}
_HEAD = "| | budget | file | target | observed | interval | limit |\n|---|---|---|---|---:|---:|---:|\n"
_CHANGES_SHOWN = 20


def write(*, release: Release, run: Run, limit_bytes: int = COMMENT_BYTES) -> str:
    """Write the verdict, the one next step, why checks did not pass, and a table of all checks, the worst first.

    Args:
        release: Of the gate.
        run: What was gated.
        limit_bytes: What is longer loses checks, passes first; a line says how many.

    Returns:
        Markdown of at most so many bytes of UTF-8, unless the verdict alone is longer.
    """
    verdict = verdict_of(replace(run, release=release))
    # Scripts find the comment that they wrote by it.
    why = f"{markdown_name(run.name)}: {markdown_text(verdict.why)}"
    top = f"<!-- edgekd gate -->\n## edgekd gate: {_MARKS[verdict.status]}\n\n{why}\n"
    if verdict.next_step:
        top += f"\n**Next:** {markdown_text(verdict.next_step)}\n"
    if not release.checks:
        return top
    checks, changes = worst_first(release), _changes(release)
    kept = _fitting(checks, limit_bytes - _bytes(top + _page([], []) + _left_out(checks) + changes))
    return (
        top
        + _page([_reason(each) for each in kept if each.status != "pass"], [_row(each) for each in kept])
        + (_left_out(checks[len(kept) :]) if len(kept) < len(checks) else "")
        + changes
    )


def _fitting(checks: list[Check], room: int) -> list[Check]:
    """As many of the first checks as there is room for."""
    for count, check in enumerate(checks):
        room -= _bytes(_row(check) + ("" if check.status == "pass" else _reason(check)))
        if room < 0:
            return checks[:count]
    return checks


def _page(reasons: list[str], rows: list[str]) -> str:
    return "\n" + "".join(reasons) + "\n" + _HEAD + "".join(rows)


def _left_out(checks: list[Check]) -> str:
    refused = sum(check.status != "pass" for check in checks)
    which = f"{refused} of them did not pass" if refused else "all of them pass"
    return f"\n{len(checks)} more checks are left out here, because the text would be too long; {which}.\n"


def _changes(release: Release) -> str:
    """What has changed since the last release, where it was held against one."""
    if not release.baseline:
        return ""
    lines = [
        f"- {markdown_text(each.what)}: {markdown_text(each.before)} → {markdown_text(each.after)}\n"
        for each in release.changes
    ]
    more = f"- and {len(lines) - _CHANGES_SHOWN} more\n" if len(lines) > _CHANGES_SHOWN else ""
    head = "Changed since" if lines else "Nothing is known to have changed since"
    return (
        f"\n{head} {markdown_name(release.baseline)}{':' if lines else '.'}\n\n"
        + "".join(lines[:_CHANGES_SHOWN])
        + more
    )


def _reason(check: Check) -> str:
    what = markdown_text(describe_budget(check.budget))
    what += f" {markdown_name(check.model)}" if check.model else ""
    what += f" on {markdown_text(check.target)}" if check.target else ""
    return f"- {_MARKS[status_text(check)]} {what}: {markdown_text(check.reason)}\n"


def _row(check: Check) -> str:
    cells = (
        _MARKS[status_text(check)],
        markdown_text(metric_text(check.budget)),
        markdown_name(check.model) if check.model else "",
        markdown_text(check.target),
        *(markdown_text(each) for each in amounts(check)),
        markdown_text(limit_text(check.budget)),
    )
    return f"| {' | '.join(cells)} |\n"


def _bytes(text: str) -> int:
    return len(text.encode())
