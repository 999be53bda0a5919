"""Means that may be looked at after every sample, until they say enough."""

from __future__ import annotations

import math

from edgekd.stats._interval import Interval, Samples, check_share, finite
from edgekd.stats.quantiles import smallest

# Variance of the effects (mean - mu) / sigma that the interval is narrowest for; its error rate holds for all.
_EFFECT_VARIANCE = 10.0
_MANY = 10**6


def mean_sequence(samples: Samples, confidence: float = 0.99) -> Interval | None:
    """Bound a mean by an interval that still holds where sampling stopped because of what it said.

    For a mean mu, the right-Haar likelihood ratio weighs Student's t = sqrt(n) (mean - mu) / s under effects drawn
    from N(0, g) against t under none; with k = 1 + n g

        B_n = k^(-1/2) [(n - 1 + t^2) / (n - 1 + t^2 / k)]^(n / 2)

    It is a martingale of mean 1 where mu is right (Lai, Annals of Statistics 4:265-280, 1976; Wang & Ramdas,
    Anytime-valid t-tests, arXiv:2310.03722, 2023), so that with a = 1 - confidence it ever reaches 1 / a with a
    probability of at most a (Ville). The mus with B_n < 1 / a are, with c = (sqrt(k) / a)^(2 / n),

        mean +- s / sqrt(n) sqrt((n - 1) (c - 1) / (1 - c / k))

    Args:
        samples: Shape (n,), any unit, of a nearly normal distribution; the tests try it on heavy tails.
        confidence: In (0, 1), for all n together.

    Returns:
        In the unit of the samples; nothing where n is so small that every mean is possible.

    Raises:
        MeasurementError: No samples, or one that is not a finite number.

    >>> found = mean_sequence([1.0, 2.0, 3.0, 2.0, 1.0, 3.0])
    >>> print(f"{found.low:.3f} {found.high:.3f}")
    -0.539 4.539
    >>> mean_sequence([1.0, 2.0, 3.0]) is None
    True
    """
    values = finite(samples)
    reach = _reach(values.size, confidence)
    if reach is None:
        return None
    mean, half = float(values.mean()), reach * float(values.std(ddof=1))
    return Interval(estimate=mean, low=mean - half, high=mean + half)


def samples_to_clear(samples: Samples, limit: float, confidence: float = 0.99) -> int | None:
    """Say how many samples `mean_sequence` needs to leave a limit out, if mean and deviation stay as they are.

    Args:
        samples: Shape (n,), n >= 2.
        limit: In the unit of the samples.
        confidence: In (0, 1).

    Returns:
        Altogether, these included; nothing where a million would not do.

    Raises:
        MeasurementError: No samples, or one that is not a finite number.

    >>> samples_to_clear([1.0, 2.0, 3.0, 2.0, 1.0, 3.0], 3.0)
    18
    """
    values = finite(samples)
    distance, spread = abs(float(values.mean()) - limit), float(values.std(ddof=1))

    def enough(n: int) -> bool:
        reach = _reach(n, confidence)
        return reach is not None and reach * spread < distance

    return max(smallest(enough), values.size) if enough(_MANY) else None


def _reach(n: int, confidence: float) -> float | None:
    """Half the interval's width, in standard deviations."""
    check_share("confidence", confidence)
    k = 1 + n * _EFFECT_VARIANCE
    c = (math.sqrt(k) / (1 - confidence)) ** (2 / n)
    return math.sqrt((n - 1) / n * (c - 1) / (1 - c / k)) if c < k else None
