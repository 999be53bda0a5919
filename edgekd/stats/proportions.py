"""Proportions, and what is lost of them between two models that answered the same samples."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edgekd.errors import MeasurementError
from edgekd.stats._interval import Interval, Samples, check_share, finite
from edgekd.stats._recovery import difference, relative_difference
from edgekd.stats.distributions import least_share, normal_quantile


def proportion_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Bound a proportion by the exact method, which never covers less than it claims.

    Clopper & Pearson, Biometrika 26 (1934): low and high are the a and 1 - a quantiles of
    Beta(k, n - k + 1) and Beta(k + 1, n - k), a = (1 - confidence) / 2. A gate needs the guarantee more than
    it needs the narrower interval of Wilson (1927), which covers too little for some proportions.

    Args:
        successes: k, 0 to n.
        n: Number of trials, at least 1.
        confidence: In (0, 1).

    Returns:
        Shares, in [0, 1].

    Raises:
        MeasurementError: No trials, or not 0 <= successes <= n.

    >>> interval = proportion_interval(8766, 10000)
    >>> print(f"{interval.low:.4f} {interval.high:.4f}")
    0.8700 0.8830
    """
    check_share("confidence", confidence)
    if n < 1 or not 0 <= successes <= n:
        raise MeasurementError(f"{successes} of {n} is no proportion", allowed="0 to n of n >= 1")
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else least_share(successes, n, tail)
    high = 1.0 if successes == n else 1 - least_share(n - successes, n, tail)
    return Interval(estimate=successes / n, low=low, high=high)


def paired_drop_interval(reference: Samples, candidate: Samples, confidence: float = 0.95) -> Interval:
    """Bound the accuracy lost from one model to another that answered the same samples.

    Newcombe, Statistics in Medicine 17:2635-2650 (1998), method 10, the hybrid score interval. With e samples
    right in both, f in the reference only, g in the candidate only and h in neither, p1 = (e + f) / n,
    p2 = (e + g) / n and Wilson's limits l and u of each:

        low  = p1 - p2 - sqrt((p1 - l1)^2 - 2 phi (p1 - l1)(u2 - p2) + (u2 - p2)^2)
        high = p1 - p2 + sqrt((u1 - p1)^2 - 2 phi (u1 - p1)(p2 - l2) + (p2 - l2)^2)

    phi = (eh - fg) / sqrt((e + f)(g + h)(e + g)(f + h)), where a numerator above 0 is max(eh - fg - n/2, 0),
    and phi = 0 where the denominator is.

    Args:
        reference: Shape (n,), 1 where it was right and 0 where it was wrong.
        candidate: Shape (n,), of the same samples in the same order.
        confidence: In (0, 1).

    Returns:
        Accuracy of the reference minus accuracy of the candidate, a share in [-1, 1].

    Raises:
        MeasurementError: No samples, other values than 0 and 1, or lengths that differ.

    >>> interval = paired_drop_interval([1] * 36 + [1] * 12 + [0] * 2, [1] * 36 + [0] * 12 + [1] * 2)
    >>> print(f"{interval.estimate:.2f} {interval.low:.4f} {interval.high:.4f}")
    0.20 0.0569 0.3404
    """
    one, two, phi = _pair(reference, candidate, confidence)
    return difference(one, two, phi)


def relative_drop_interval(reference: Samples, candidate: Samples, confidence: float = 0.95) -> Interval:
    """Bound the accuracy lost from one model to another as a share of the reference's accuracy.

    1 - p2 / p1, with the ratio bounded by the method of variance estimates recovery from Wilson's limits and
    Newcombe's phi (see `paired_drop_interval`): its ends are the R at which the hybrid interval of p2 - R p1
    just touches 0; Donner & Zou, Statistical Methods in Medical Research 21:347-359 (2012); for pairs Fagerland,
    Lydersen & Laake, Statistical Analysis of Contingency Tables (2017), chapter 8, who leave phi uncorrected:
    two models that agree on every sample would then differ by 0 with certainty, however few samples there are.

    Args:
        reference: Shape (n,), 1 where it was right and 0 where it was wrong.
        candidate: Shape (n,), of the same samples in the same order.
        confidence: In (0, 1).

    Returns:
        A share of the reference's accuracy, at most 1; negative where the candidate is better.

    Raises:
        MeasurementError: As `paired_drop_interval`; or the reference is never right.

    >>> interval = relative_drop_interval([1] * 36 + [1] * 12 + [0] * 2, [1] * 36 + [0] * 12 + [1] * 2)
    >>> print(f"{interval.estimate:.4f} {interval.low:.4f} {interval.high:.4f}")
    0.2083 0.0639 0.3516
    """
    one, two, phi = _pair(reference, candidate, confidence)
    if one.estimate == 0:
        raise MeasurementError("the reference is never right, so nothing can be a share of its accuracy")
    return relative_difference(one, two, phi)


def _pair(reference: Samples, candidate: Samples, confidence: float) -> tuple[Interval, Interval, float]:
    """Wilson's intervals of both accuracies, and Newcombe's corrected phi between them."""
    check_share("confidence", confidence)
    first, second = _right_or_wrong(reference), _right_or_wrong(candidate)
    if first.size != second.size:
        raise MeasurementError(
            f"{first.size} and {second.size} samples can't be paired",
            next_step="measure both models on the same samples",
        )
    n = first.size
    e, f, g, h = (
        int(np.count_nonzero(mask)) for mask in (first & second, first & ~second, ~first & second, ~first & ~second)
    )
    product = (e + f) * (g + h) * (e + g) * (f + h)
    numerator = float(e * h - f * g)
    if numerator > 0:
        numerator = max(numerator - n / 2, 0.0)
    phi = numerator / math.sqrt(product) if product else 0.0
    return _wilson(e + f, n, confidence), _wilson(e + g, n, confidence), phi


def _wilson(successes: int, n: int, confidence: float) -> Interval:
    """Wilson's score interval without continuity correction (1927), which Newcombe's method is made of."""
    z = normal_quantile(confidence)
    centre = successes + z * z / 2
    spread = z * math.sqrt(z * z / 4 + successes * (n - successes) / n)
    estimate = successes / n
    # At 0 and n the ends are 0 and 1 exactly; rounding would leave 1e-17 and give a wrong side to the estimate.
    return Interval(
        estimate=estimate,
        low=min((centre - spread) / (n + z * z), estimate) if successes else 0.0,
        high=max((centre + spread) / (n + z * z), estimate) if successes < n else 1.0,
    )


def _right_or_wrong(samples: Samples) -> npt.NDArray[np.bool_]:
    values = finite(samples)
    if not np.isin(values, (0.0, 1.0)).all():
        raise MeasurementError("samples of right and wrong hold other values", allowed="0 and 1")
    return values.astype(np.bool_)
