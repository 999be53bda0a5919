"""Quantiles with intervals that assume nothing on the distribution, and how many samples they need."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from edgekd.errors import MeasurementError
from edgekd.stats._interval import Interval, Samples, check_share, finite
from edgekd.stats.distributions import binomial, t_quantile

_BATCHES = 10
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def quantile_interval(samples: Samples, q: float, confidence: float = 0.95) -> Interval:
    """Bound a quantile without any assumption on the distribution, by two of the samples.

    [X_(r), X_(s)] with the largest r for which P(Bin(n, q) <= r - 1) <= a and the smallest s for which
    P(Bin(n, q) >= s) <= a, where a = (1 - confidence) / 2; David & Nagaraja, Order Statistics, 3rd ed.
    (2003), section 7.1. The estimate interpolates linearly between samples, as NumPy does.

    Args:
        samples: Shape (n,), any unit, in any order.
        q: Which quantile, in (0, 1).
        confidence: In (0, 1).

    Returns:
        In the unit of the samples; both ends are samples.

    Raises:
        MeasurementError: No samples, one that is not a finite number, or too few for both ends to exist.

    >>> interval = quantile_interval(range(1, 101), 0.9)
    >>> interval.low, interval.high
    (84.0, 96.0)
    """
    return _of_sorted(np.sort(finite(samples)), q, confidence)


def _of_sorted(values: npt.NDArray[np.float64], q: float, confidence: float) -> Interval:
    check_share("quantile", q)
    check_share("confidence", confidence)
    ends = _ends(values.size, q, confidence)
    if ends is None:
        raise MeasurementError(
            f"{values.size} samples are too few to bound the {100 * q:g} % quantile with {100 * confidence:g} % "
            "confidence",
            next_step=f"take {runs_needed(q, confidence)} or more",
        )
    return Interval(estimate=quantile_of_sorted(values, q), low=float(values[ends[0]]), high=float(values[ends[1]]))


def quantile_of_sorted(values: npt.NDArray[np.float64], q: float) -> float:
    """Interpolate linearly between samples, as `np.quantile` does, in a tenth of its time.

    Args:
        values: Shape (n,), n >= 1, in ascending order.
        q: Which quantile, in [0, 1].

    >>> quantile_of_sorted(np.array([1.0, 2.0, 4.0]), 0.75)
    3.0
    """
    below, share = divmod(q * (values.size - 1), 1)
    low, high = values[int(below)], values[min(int(below) + 1, values.size - 1)]
    return float(low + (high - low) * share)


def series_quantile_interval(samples: Samples, q: float, confidence: float = 0.95) -> Interval:
    """Bound a quantile of samples that came one after another, and need not be independent.

    A machine that is busy for a while is slow for many inferences in a row: these are fewer samples than they look. The
    share of samples up to the estimate is q by definition; how much that share differs between B = 10 batches of
    samples in a row says how well it is known (batch means: Schmeiser, Operations Research 30:556-568, 1982). With the
    standard deviation s of the batches' shares and Student's quantile t of B - 1 degrees of freedom, the ends are the
    samples at the shares

        q -+ t s / sqrt(B)

    or those of `quantile_interval`, whichever are further out. Spells that are longer than a batch are still missed;
    `benchmarks/gate_error_rates` counts how often.

    Args:
        samples: Shape (n,), any unit, in the order in which they were taken.
        q: Which quantile, in (0, 1).
        confidence: In (0, 1).

    Returns:
        In the unit of the samples; both ends are samples.

    Raises:
        MeasurementError: As `quantile_interval`.

    >>> found = series_quantile_interval(range(1, 101), 0.9)  # slower and slower; if in any order, 84 and 96
    >>> found.low, found.high
    (67.0, 100.0)
    """
    in_order = finite(samples)
    values = np.sort(in_order)
    exact = _of_sorted(values, q, confidence)
    length = values.size // _BATCHES
    if not length:
        return exact
    below = (in_order <= exact.estimate)[: length * _BATCHES].reshape(_BATCHES, length).mean(axis=1)
    half = t_quantile(_BATCHES - 1, confidence) * float(below.std(ddof=1)) / math.sqrt(_BATCHES)
    low = values[max(math.floor((q - half) * values.size) - 1, 0)]
    high = values[min(math.ceil((q + half) * values.size), values.size - 1)]
    return Interval(estimate=exact.estimate, low=min(float(low), exact.low), high=max(float(high), exact.high))


@lru_cache(maxsize=256)  # runs have many measurements of the same number of samples
def _ends(n: int, q: float, confidence: float) -> tuple[int, int] | None:
    """Places of both ends among n sorted samples, from 0; `None` where there are too few for both."""
    tail = (1 - confidence) / 2
    below = binomial(n, q)
    lower = np.flatnonzero(np.cumsum(below[:-1]) <= tail)
    upper = np.flatnonzero(np.cumsum(below[:0:-1])[::-1] <= tail)
    return (int(lower[-1]), int(upper[0])) if lower.size and upper.size else None


@lru_cache(maxsize=256)
def runs_needed(q: float, confidence: float = 0.95) -> int:
    """Say how many samples a quantile needs before a statement about it means anything.

    The rule: one sample may exceed the upper bound by mishap, so the second largest of n samples must bound
    the quantile from above, P(Bin(n, 1 - q) <= 1) <= 1 - confidence; and the two-sided interval must exist,
    max(q, 1 - q)^n <= (1 - confidence) / 2.

    Args:
        q: Which quantile, in (0, 1).
        confidence: In (0, 1).

    Returns:
        The smallest such n, at least 2.

    Raises:
        MeasurementError: `q` or `confidence` is outside (0, 1).

    >>> [runs_needed(q) for q in (0.5, 0.9, 0.95, 0.99)]
    [8, 46, 93, 473]
    """
    check_share("quantile", q)
    check_share("confidence", confidence)

    def enough(n: int) -> bool:
        return bool(
            q ** (n - 1) * (q + n * (1 - q)) <= 1 - confidence and max(q, 1 - q) ** n <= (1 - confidence) / 2,
        )

    return smallest(enough)


def supported_quantiles(n: int, confidence: float = 0.95) -> tuple[str, ...]:
    """Name those of p50, p90 and p99 that `n` samples support, by the rule of `runs_needed`.

    Raises:
        MeasurementError: `confidence` is outside (0, 1).

    >>> supported_quantiles(50), supported_quantiles(5)
    (('p50', 'p90'), ())
    """
    return tuple(name for name, q in QUANTILES.items() if n >= runs_needed(q, confidence))


def smallest(enough: Callable[[int], bool]) -> int:
    """Smallest n >= 2 that is enough, where every larger one is."""
    high = 2
    while not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
