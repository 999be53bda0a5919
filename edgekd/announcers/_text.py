"""Text of a check, safe in any format: names of files may hold anything."""

from __future__ import annotations

from collections.abc import Sequence

from edgekd.records import Check, Status
from edgekd.units import human_as

NO_BUDGETS = "there are no budgets, so nothing is proven"
# The worst first. All but a pass keep a release back.
ORDER: tuple[Status, ...] = ("fail", "unmeasured", "inconclusive", "pass")


def printable(text: str) -> str:
    r"""Replace what no terminal, page or XML should be given: line breaks, control characters, halves of characters.

    >>> printable("a" + chr(10) + "b.tflite").encode("ascii", "namereplace").decode()
    'a\\N{REPLACEMENT CHARACTER}b.tflite'
    """
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def worst_first(checks: Sequence[Check]) -> list[Check]:
    """Sort by status, and leave the order of budgets otherwise."""
    return sorted(checks, key=lambda check: ORDER.index(check.status))


def not_passed(checks: Sequence[Check]) -> list[Check]:
    """Those that keep a release back, the worst first."""
    return [check for check in worst_first(checks) if check.status != "pass"]


def amounts(check: Check) -> tuple[str, str]:
    """Write what was observed, and its interval unless it is exact."""
    observed, low, high = (
        "" if value is None else human_as(check.budget.limit, value, check.unit)
        for value in (check.observed, check.low, check.high)
    )
    return observed, f"{low} to {high}" if low != high else ""
