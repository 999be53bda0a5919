"""Markdown for GitHub's step summary and for comments on pull requests, within their limits."""

from __future__ import annotations

import re
from dataclasses import replace

from edgekd.announcers._text import amounts, printable, worst_first
from edgekd.records import Check, Release, Run
from edgekd.verdict import describe_budget, limit_text, metric_text, status_text, verdict_of

# The longest comment that GitHub takes; a step summary takes `STEP_SUMMARY_BYTES`.
COMMENT_BYTES, STEP_SUMMARY_BYTES = 65_536, 1_048_576
_MARKS = {
    "pass": "✅ pass",
    "fail": "❌ fail",
    "unmeasured": "❔ unmeasured",
    "inconclusive": "⚠️ inconclusive",
    "waived": "🕓 waived",
}
_HEAD = "| | budget | file | target | observed | interval | limit |\n|---|---|---|---|---:|---:|---:|\n"
# A name or a reason that is longer is no name and no reason.
_NAME_LENGTH, _REASON_LENGTH = 120, 600
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
    top = (
        f"<!-- edgekd gate -->\n## edgekd gate: {_MARKS[verdict.status]}\n\n{_name(run.name)}: {_plain(verdict.why)}\n"
    )
    if verdict.next_step:
        top += f"\n**Next:** {_plain(verdict.next_step)}\n"
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
    lines = [f"- {_plain(each.what)}: {_plain(each.before)} → {_plain(each.after)}\n" for each in release.changes]
    more = f"- and {len(lines) - _CHANGES_SHOWN} more\n" if len(lines) > _CHANGES_SHOWN else ""
    head = "Changed since" if lines else "Nothing is known to have changed since"
    return f"\n{head} {_name(release.baseline)}{':' if lines else '.'}\n\n" + "".join(lines[:_CHANGES_SHOWN]) + more


def _reason(check: Check) -> str:
    what = _plain(describe_budget(check.budget))
    what += f" {_name(check.model)}" if check.model else ""
    what += f" on {_plain(check.target)}" if check.target else ""
    return f"- {_MARKS[status_text(check)]} {what}: {_plain(check.reason)}\n"


def _row(check: Check) -> str:
    cells = (
        _MARKS[status_text(check)],
        _plain(metric_text(check.budget)),
        _name(check.model) if check.model else "",
        _plain(check.target),
        *(_plain(each) for each in amounts(check)),
        _plain(limit_text(check.budget)),
    )
    return f"| {' | '.join(cells)} |\n"


def _name(text: str) -> str:
    """A name as code, where GitHub looks for no mentions; by tags, because a `|` ends a cell in backticks, too."""
    return f"<code>{_escape(text, _NAME_LENGTH)}</code>"


def _plain(text: str) -> str:
    # A zero-width space keeps names of files from calling people.
    return _escape(text, _REASON_LENGTH).replace("@", "@\u200b")


def _escape(text: str, length: int) -> str:
    r"""Make text mean itself in a cell of a table: no markup, HTML, link or end of the cell.

    >>> print(_escape("a|b<i>_c_", 100))
    a&#124;b&lt;i&gt;\_c\_
    """
    text = printable(text)
    text = text if len(text) <= length else f"{text[: length - 1]}…"
    text = re.sub(r"[\\`*_{}\[\]()#+!~:$^]", r"\\\g<0>", text)
    text = re.sub(r"(?i)www\.", r"www\\.", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("|", "&#124;")


def _bytes(text: str) -> int:
    return len(text.encode())
