"""The first screen: budgets, those that hold the release back first."""

from __future__ import annotations

from dataclasses import dataclass

from edgekd.records import Check, Release, Status
from edgekd.units import METRICS
from edgekd.verdict import describe_budget

SHOWN = 12
_ORDER: tuple[Status, ...] = ("fail", "unmeasured", "inconclusive", "pass")


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Where observed value, interval and limit stand on a line, in percent of its width.

    Attributes:
        at_most: Whether what is left of the limit keeps it, or what is right of it.
    """

    observed: float
    low: float
    high: float
    limit: float
    at_most: bool = True

    @property
    def start(self) -> float:
        """Left end of the stretch between observed value and limit."""
        return min(self.observed, self.limit)

    @property
    def width(self) -> float:
        """Length of that stretch."""
        return round(abs(self.observed - self.limit), 2)

    @property
    def range_width(self) -> float:
        """Length of the interval."""
        return round(self.high - self.low, 2)

    @property
    def kept_start(self) -> float:
        """Left end of where the limit is kept."""
        return 0.0 if self.at_most else self.limit

    @property
    def kept_width(self) -> float:
        """Length of that stretch."""
        return self.limit if self.at_most else round(100 - self.limit, 2)


def bar_of(check: Check) -> Bar | None:
    """Place observed value, interval and limit on one line; `None` where nothing was observed.

    Sizes and times start at zero; shares don't, because 97 and 98 % would fall together.
    """
    if check.observed is None:
        return None
    low = check.observed if check.low is None else check.low
    high = check.observed if check.high is None else check.high
    smallest, largest = min(low, check.observed, check.limit), max(high, check.observed, check.limit)
    metric = METRICS.get(check.budget.metric)
    if metric and metric.dimension == "share":
        margin = max((largest - smallest) * 0.25, 1e-4)
        start, end = smallest - margin, largest + margin
    else:
        start, end = min(0.0, smallest * 1.1), max(largest * 1.1, 1e-12)

    def place(value: float) -> float:
        return round((value - start) / (end - start) * 100, 2)

    bound = check.budget.bound or (metric.bound if metric else "at most")
    return Bar(
        observed=place(check.observed),
        low=place(low),
        high=place(high),
        limit=place(check.limit),
        at_most=bound == "at most",
    )


@dataclass(frozen=True, kw_only=True)
class Line:
    """One check as the page shows it: `words` say its budget."""

    check: Check
    words: str
    bar: Bar | None


@dataclass(frozen=True, kw_only=True)
class Board:
    """All checks of a release.

    Attributes:
        first: As many as people look at: those that hold the release back, failed ones before those without a verdict;
            where none does, those that are kept with the least room.
        more: The others that hold it back.
        waived: That don't, by a waiver.
        passed: The others that are kept.
        counts: How many of each status, those that are there, waived ones apart.
    """

    first: tuple[Line, ...]
    more: tuple[Line, ...]
    waived: tuple[Line, ...]
    passed: tuple[Line, ...]
    counts: tuple[tuple[Status, int], ...]


def lines_of(release: Release) -> list[Line]:
    """Write every check of a release, in the gate's order."""
    return [Line(check=each, words=describe_budget(each.budget), bar=bar_of(each)) for each in release.checks]


def board_of(release: Release | None) -> Board:
    """Put what holds a release back before what does not.

    >>> board_of(None).counts
    ()
    """
    lines = lines_of(release) if release else []
    by_status = {
        status: [each for each in lines if each.check.status == status and not each.check.waiver] for status in _ORDER
    }
    held = [each for status in _ORDER if status != "pass" for each in by_status[status]]
    passed = by_status["pass"]
    tight = [] if held else sorted(passed, key=_room)[:SHOWN]
    return Board(
        first=tuple(held[:SHOWN] or tight),
        more=tuple(held[SHOWN:]),
        waived=tuple(each for each in lines if each.check.waiver),
        passed=tuple(each for each in passed if each not in tight) if tight else tuple(passed),
        counts=tuple((status, len(found)) for status, found in by_status.items() if found),
    )


def _room(line: Line) -> float:
    """How far the nearer end of the interval is from the limit, as a share of it."""
    check = line.check
    ends = [end for end in (check.low, check.high, check.observed) if end is not None]
    return min((abs(end - check.limit) for end in ends), default=0.0) / (abs(check.limit) or 1.0)
