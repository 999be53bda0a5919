"""Differences and ratios of two estimates, made from the interval of each: the method of variance estimates recovery.

Zou & Donner, Statistics in Medicine 27:1693-1702 (2008), of whose method Newcombe's for paired proportions is a case.
"""

from __future__ import annotations

import math
from typing import Literal

from edgekd.errors import MeasurementError
from edgekd.stats._interval import Interval


def difference(one: Interval, two: Interval, phi: float, *, span: float = 1.0) -> Interval:
    """Bound one - two, where phi is the correlation of their estimates and span the length of what both lie in.

    >>> difference(Interval(estimate=0.5, low=0.2, high=0.8), Interval(estimate=0.5, low=0.1, high=0.9), 0.0)
    Interval(estimate=0.0, low=-0.5, high=0.5)
    """
    drop = one.estimate - two.estimate
    below1, above1 = one.estimate - one.low, one.high - one.estimate
    below2, above2 = two.estimate - two.low, two.high - two.estimate
    down = math.sqrt(max(below1**2 - 2 * phi * below1 * above2 + above2**2, 0.0))
    up = math.sqrt(max(above1**2 - 2 * phi * above1 * below2 + below2**2, 0.0))
    return Interval(estimate=drop, low=max(drop - down, -span), high=min(drop + up, span))


def relative_difference(one: Interval, two: Interval, phi: float) -> Interval:
    """Bound 1 - two / one: the ends are those of the ratio R at which the interval of two - R one just touches 0.

    Raises:
        MeasurementError: `one` is 0, or can't be told from it.
    """
    if not one.low > 0:
        raise MeasurementError(
            f"the reference, {one.estimate:g}, can't be told from 0, so nothing can be a share of it",
            next_step="take more samples, or write the limit in points",
        )
    low = _ratio_end(one, two, phi, side="low")
    high = _ratio_end(one, two, phi, side="high")
    estimate = two.estimate / one.estimate
    return Interval(estimate=1 - estimate, low=1 - max(high, estimate), high=1 - min(low, estimate))


def _ratio_end(one: Interval, two: Interval, phi: float, *, side: Literal["low", "high"]) -> float:
    """Solve (p2 - R p1)^2 = gap2^2 - 2 phi gap2 (R gap1) + (R gap1)^2 for R, below or above p2 / p1."""
    if side == "low":
        gap1, gap2 = one.high - one.estimate, two.estimate - two.low
    else:
        gap1, gap2 = one.estimate - one.low, two.high - two.estimate
    # a R^2 - 2 b R + c = 0
    a = one.estimate**2 - gap1**2
    b = one.estimate * two.estimate - phi * gap1 * gap2
    c = two.estimate**2 - gap2**2
    far = b + math.sqrt(max(b * b - a * c, 0.0))
    if side == "high":
        return far / a
    # The same root as (b - sqrt(...)) / a, which breaks where a poor reference makes a zero or negative.
    return max(c, 0.0) / far if far > 0 else 0.0
