"""The page that holds a run against an earlier one: what got better, what got worse, and what nobody knows."""

from __future__ import annotations

from edgekd.records import Status
from edgekd.stages.report.differences import TWO_SESSIONS, Differences, Outcome
from edgekd.stages.report.page import write_page
from edgekd.stages.report.section import Section

# How the page marks an outcome: as it marks the status of a check.
_MARKS: dict[Outcome, Status] = {
    "worse": "fail",
    "better": "pass",
    "seems worse": "inconclusive",
    "seems better": "inconclusive",
    "unknown": "unmeasured",
    "equal": "unmeasured",
}
_FIRST: tuple[Outcome, ...] = ("worse", "better", "seems worse", "seems better")
_SHOWN = 12  # of each outcome on the first screen


def render_two(found: Differences) -> str:
    """Write the page of two runs as HTML."""
    return write_page(
        "two_runs.html.j2",
        _sections(found),
        title=f"{found.before} → {found.after}",
        heading=f"{found.before} → {found.after}",
        found=found,
        verdict=_verdict(found),
        answer=answer_of(found),
        first=[(outcome, found.of(outcome)) for outcome in _FIRST if found.of(outcome)],
        marks=_MARKS,
        shown=_SHOWN,
        note=TWO_SESSIONS,
    )


def answer_of(found: Differences) -> str:
    """Say in one sentence how the second run compares.

    >>> answer_of(Differences(before="a", after="b", before_status="pass", after_status="pass", pairs=(),
    ...                       only_before=(), only_after=(), checks=(), changes=()))
    'The runs have no file in common.'
    """
    if not found.pairs:
        return "The runs have no file in common."
    counts = [f"{count} {_WORDS[outcome]}" for outcome, count in found.counts.items() if count]
    return f"Of what both runs measured, {', '.join(counts)}." if counts else "The runs measured nothing in common."


_WORDS: dict[Outcome, str] = {
    "worse": "got worse",
    "better": "got better",
    "seems worse": "only seem worse",
    "seems better": "only seem better",
    "unknown": "can't be told apart",
    "equal": "are the same",
}


def _verdict(found: Differences) -> tuple[Status, str]:
    counts = found.counts
    if counts["worse"]:
        return "fail", "Something got worse" + (", something better" if counts["better"] else "")
    if counts["better"]:
        return "pass", "Something got better, nothing is known to be worse"
    return "inconclusive", "Nothing is known to be better or worse"


def _sections(found: Differences) -> list[Section]:
    facts = {"found": found, "marks": _MARKS}
    sections = [Section(name="two_files", title="File by file", facts=facts)]
    if found.checks:
        sections.append(Section(name="two_checks", title="Budgets", facts=facts))
    sections.append(Section(name="two_changes", title="What else differs", facts=facts))
    return sections
