"""The answer of the gate in words."""

from __future__ import annotations

from dataclasses import dataclass

from edgekd.records import Budget, Check, Run, Status
from edgekd.units import METRICS

_WORSE = ("fail", "unmeasured", "inconclusive")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer of the gate, in words.

    Attributes:
        why: One sentence.
        next_step: What would change it; empty on a pass.
    """

    status: Status
    why: str
    next_step: str


def verdict_of(run: Run) -> Verdict:
    """Say in one sentence why the release stands or falls, and what to do next.

    >>> from pathlib import Path
    >>> verdict_of(Run(name="empty", folder=Path(), recipe="")).status
    'unmeasured'
    """
    if run.release is None:
        if not run.models and not run.measurements:
            return Verdict(
                status="unmeasured",
                why="The run has not come as far as a model file, so nothing is proven.",
                next_step="run the same command again: it goes on where it was",
            )
        return Verdict(
            status="unmeasured",
            why="No budgets were checked, so nothing is proven.",
            next_step="write budgets into the recipe and run it again: what is done is not done twice",
        )
    checks = run.release.checks
    if not checks:
        return Verdict(
            status="unmeasured",
            why="There are no budgets, so nothing is proven.",
            next_step="write at least one budget, for instance a file_size",
        )
    total = f"{len(checks)} checks" if len(checks) > 1 else "one check"
    for status in _WORSE:
        found = [check for check in checks if check.status == status]
        if not found:
            continue
        first = found[0]
        count = f"{len(found)} of {total}" if len(checks) > 1 else "The only check"
        words = {"fail": "failed", "unmeasured": "has no measurement", "inconclusive": "is not proven yet"}[status]
        if len(found) > 1 and status != "fail":
            words = {"unmeasured": "have no measurement", "inconclusive": "are not proven yet"}[status]
        name = f", first {describe_budget(first.budget)}" if len(found) > 1 else f": {describe_budget(first.budget)}"
        return Verdict(status=first.status, why=f"{count} {words}{name}{_place(first)}.", next_step=first.reason)
    return Verdict(status="pass", why=f"All budgets hold ({total}).", next_step="")


def _place(check: Check) -> str:
    return (f" for {check.model}" if check.model else "") + (f" on {check.target}" if check.target else "")


def describe_budget(budget: Budget) -> str:
    """Write a budget as people say it.

    >>> describe_budget(Budget(metric="latency", statistic="p90", limit="10 ms"))
    'latency p90 at most 10 ms'
    """
    known = METRICS.get(budget.metric)
    words = [budget.metric.replace("_", " ")]
    if budget.statistic:
        words.append(budget.statistic)
    if budget.reference:
        words.append(f"against the {budget.reference}")
    words += [known.bound if known else "limit", budget.limit]
    return " ".join(words)
