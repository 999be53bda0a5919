"""Budgets held against two runs, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from edgekd.records import Budget, Check, Run
from edgekd.verdict import describe_budget, metric_text, status_text


@dataclass(frozen=True, kw_only=True)
class CheckPair:
    """A budget held against both runs; a status is empty where a run was not held against it."""

    what: str
    model: str
    target: str
    before: str
    before_limit: str
    after: str
    after_limit: str

    @property
    def is_changed(self) -> bool:
        """Whether the answer, or the limit, is another."""
        return (self.before, self.before_limit) != (self.after, self.after_limit)


_CheckKey = tuple[object, ...]


def check_pairs(before: Run, after: Run, now: Mapping[str, str]) -> Iterator[CheckPair]:
    """Put the checks of two releases beside each other; none where a run has none.

    Args:
        before: The earlier run.
        after: The later one.
        now: Names of the later files, by those of the earlier ones whose place they take.
    """
    if before.release is None or after.release is None:
        return
    old = _by_budget(before.release.checks, now)
    new = _by_budget(after.release.checks, {})
    for key in dict.fromkeys((*new, *old)):
        mine, theirs = new.get(key), old.get(key)
        there = mine or theirs
        if there is None:
            continue
        yield CheckPair(
            what=metric_text(there.budget) + _against(there.budget),
            model=there.model,
            target=there.target,
            before=status_text(theirs) if theirs else "",
            before_limit=theirs.budget.limit if theirs else "",
            after=status_text(mine) if mine else "",
            after_limit=mine.budget.limit if mine else "",
        )


def _against(budget: Budget) -> str:
    words = describe_budget(budget)
    return " against the" + words.partition(" against the")[2].partition(" at ")[0] if budget.reference else ""


def _by_budget(checks: Sequence[Check], now: Mapping[str, str]) -> dict[_CheckKey, Check]:
    """By what is limited, of which file and where; the number tells budgets apart that differ in their limit only."""
    found: dict[_CheckKey, Check] = {}
    for check in checks:
        budget = check.budget
        about = (budget.metric, budget.statistic, budget.part, budget.reference, now.get(check.model, check.model))
        number = 0
        while (*about, check.target, number) in found:
            number += 1
        found[*about, check.target, number] = check
    return found
