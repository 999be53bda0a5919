"""Text of a check, safe in any format: names of files may hold anything."""

from __future__ import annotations

from edgekd.records import Check, Release, Status
from edgekd.units import human_as

NO_BUDGETS = "there are no budgets, so nothing is proven"
# The worst first.
ORDER: tuple[Status, ...] = ("fail", "unmeasured", "inconclusive", "pass")


def worst_first(release: Release) -> list[Check]:
    """Sort checks: those that keep the release back by status, then those that are not passed either, then passes."""
    return sorted(release.checks, key=lambda check: (not release.is_held_back_by(check), ORDER.index(check.status)))


def amounts(check: Check) -> tuple[str, str]:
    """Write what was observed, and its interval unless it is exact."""
    observed, low, high = (
        "" if value is None else human_as(check.budget.limit, value, check.unit)
        for value in (check.observed, check.low, check.high)
    )
    return observed, f"{low} to {high}" if low != high else ""
