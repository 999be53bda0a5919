"""Rank correlation of predicted and true values, and what one model lost of it against another."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edgekd.errors import MeasurementError
from edgekd.stats._interval import Interval, Samples, check_share
from edgekd.stats._recovery import difference, relative_difference
from edgekd.stats.distributions import normal_quantile
from edgekd.stats.means import paired

# Fisher's z has a variance from this number of samples on.
_LEAST = 4


def spearman(predicted: Samples, true: Samples) -> float:
    """Compute Spearman's rank correlation: Pearson's correlation of ranks, equal values at the mean of their ranks.

    Spearman, American Journal of Psychology 15:72-101 (1904); Kendall, Rank Correlation Methods (1948), for ties.

    Args:
        predicted: Shape (n,), any unit.
        true: Shape (n,), any unit.

    Returns:
        In [-1, 1]; 0 where the same is predicted of all samples, which ranks nothing.

    Raises:
        MeasurementError: Other lengths, fewer than two samples, one that is not a finite number, or true values that
            are all equal.

    >>> print(f"{spearman([1, 2, 3, 4, 5], [5, 6, 7, 8, 7]):.4f}")
    0.8208
    """
    ours, theirs = paired(predicted, true)
    if theirs.min() == theirs.max():
        raise MeasurementError(f"{theirs.size} true values, all equal: there is no order to find")
    return _correlation(_ranks(ours), _ranks(theirs))


def spearman_interval(predicted: Samples, true: Samples, confidence: float = 0.95) -> Interval:
    """Bound a rank correlation over samples like these.

    Fisher's z = artanh r with the standard error of Bonett & Wright, Psychometrika 65:23-28 (2000),

        sqrt((1 + r^2 / 2) / (n - 3))

    A few samples in the right order would else prove a perfect one: of r = 1 the lower end is that of the next
    possible value, 1 - 12 / (n (n^2 - 1)), of which two neighbours have changed places; of r = -1 likewise.

    Args:
        predicted: Shape (n,), any unit, n >= 4.
        true: Shape (n,), any unit.
        confidence: In (0, 1).

    Returns:
        In [-1, 1].

    Raises:
        MeasurementError: As `spearman`; or fewer than four samples.

    >>> interval = spearman_interval([1, 2, 3, 4, 5, 6, 7, 8], [2, 1, 4, 3, 6, 5, 8, 7])
    >>> print(f"{interval.estimate:.3f} {interval.low:.3f} {interval.high:.3f}")
    0.905 0.428 0.988
    """
    check_share("confidence", confidence)
    estimate, n = spearman(predicted, true), len(predicted)
    if n < _LEAST:
        raise MeasurementError(f"{n} samples say nothing of the spread", next_step=f"take {_LEAST} or more")
    z, almost = normal_quantile(confidence), _almost_one(n)
    ends = [
        math.tanh(math.atanh(r) + sign * z * math.sqrt((1 + r * r / 2) / (n - 3)))
        for sign, r in ((-1, min(estimate, almost)), (1, max(estimate, -almost)))
        if abs(r) < 1
    ]
    return Interval(estimate=estimate, low=min(estimate, *ends), high=max(estimate, *ends))


def spearman_drop_interval(
    reference: Samples, candidate: Samples, true: Samples, confidence: float = 0.95, *, relative: bool = False
) -> Interval:
    """Bound how much of a rank correlation one model has lost against another on the same samples.

    The method of variance estimates recovery for correlations that share a variable: Zou, Psychological Methods
    12:399-413 (2007), equation 11 with the intervals of `spearman_interval`. With the correlations r of the
    reference and s of the candidate with what is true, and t of the two with each other, r and s are correlated by

        ((t - r s / 2) (1 - r^2 - s^2 - t^2) + t^3) / ((1 - r^2) (1 - s^2))

    Args:
        reference: Shape (n,), predicted values, n >= 4.
        candidate: Shape (n,), of the same samples in the same order.
        true: Shape (n,), true values.
        confidence: In (0, 1).
        relative: As a share of the reference's.

    Returns:
        That of the reference minus that of the candidate, or that as a share.

    Raises:
        MeasurementError: As `spearman_interval`, or samples that can't be paired.

    >>> true = [1, 2, 3, 4, 5, 6, 7, 8]
    >>> print(f"{spearman_drop_interval(true, [2, 1, 4, 3, 6, 5, 8, 7], true).estimate:.3f}")
    0.095
    """
    first, second = paired(reference, candidate)
    one, two = (spearman_interval(each, true, confidence) for each in (first, second))
    almost = _almost_one(first.size)
    r, s = (min(max(each.estimate, -almost), almost) for each in (one, two))
    t = _correlation(_ranks(first), _ranks(second))
    shared = ((t - r * s / 2) * (1 - r * r - s * s - t * t) + t**3) / ((1 - r * r) * (1 - s * s))
    phi = min(max(shared, -1.0), 1.0)
    if relative:
        return relative_difference(one, two, phi)
    return difference(one, two, phi, span=2.0)


def _almost_one(n: int) -> float:
    return 1 - 12 / (n * (n * n - 1))


def _correlation(one: npt.NDArray[np.float64], two: npt.NDArray[np.float64]) -> float:
    """Of ranks around 0; 0 where one does not vary."""
    norms = math.sqrt(float(one @ one) * float(two @ two))
    return min(max(float(one @ two) / norms, -1.0), 1.0) if norms > 0 else 0.0


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Ranks less their mean; twice, so that they are whole numbers and equal ones are computed alike."""
    ordered = np.sort(values)
    twice = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return np.asarray(twice - values.size, dtype=np.float64)
