"""Means, and ratios of means, of samples that are no mere right or wrong."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edgekd.errors import MeasurementError
from edgekd.stats._interval import Interval, Samples, check_share, finite
from edgekd.stats.distributions import t_quantile


def mean_interval(samples: Samples, confidence: float = 0.95, *, bounds: tuple[float, float] | None = None) -> Interval:
    """Bound a mean of samples whose distribution may be skewed, as errors are.

    Hall, Journal of the Royal Statistical Society B 54:221-228 (1992), removes the skewness g of the studentized
    mean T = sqrt(n) (mean - mu) / s by a transformation that is monotone and inverted in closed form: the ends are
    mean - s q / sqrt(n), where with w = g / (3 sqrt(n)) and Student's quantile t of n - 1 degrees of freedom

        q = (cbrt(1 + 3 w (t - g / (6 sqrt(n)))) - 1) / w

    and q = t for g = 0. Student's own interval, which Hall's becomes without skewness, misses the upper end of a
    right-skewed mean too often; a bootstrap-t interval repairs that too, but with random numbers.

    Args:
        samples: Shape (n,), any unit, n >= 2.
        confidence: In (0, 1).
        bounds: Between which all samples must lie, where such bounds exist. The lower end is then that of the
            samples and one more at the lower bound, the upper end likewise: else samples that are all equal,
            however few, would prove the mean.

    Returns:
        In the unit of the samples.

    Raises:
        MeasurementError: Fewer than two samples, one that is not a finite number or lies outside of the bounds.

    >>> interval = mean_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    >>> print(f"{interval.estimate:.2f} {interval.low:.4f} {interval.high:.4f}")
    3.00 1.0368 4.9632
    """
    check_share("confidence", confidence)
    values = finite(samples)
    estimate = float(values.mean())
    if bounds is None:
        low, high = _hall(values, confidence)
    else:
        if values.min() < bounds[0] or values.max() > bounds[1]:
            raise MeasurementError(
                f"samples from {values.min():g} to {values.max():g}", allowed=f"{bounds[0]:g} to {bounds[1]:g}"
            )
        low = max(_hall(np.append(values, bounds[0]), confidence)[0], bounds[0])
        high = min(_hall(np.append(values, bounds[1]), confidence)[1], bounds[1])
    return Interval(estimate=estimate, low=min(low, estimate), high=max(high, estimate))


def mean_drop_interval(
    reference: Samples,
    candidate: Samples,
    confidence: float = 0.95,
    *,
    relative: bool = False,
    bounds: tuple[float, float] | None = None,
) -> Interval:
    """Bound how much lower a mean is for one model than for another on the same samples.

    Hall's interval of the differences (see `mean_interval`), or Fieller's of their mean over that of the reference
    (see `ratio_interval`).

    Args:
        reference: Shape (n,), n >= 2, any unit.
        candidate: Shape (n,), of the same samples in the same order.
        confidence: In (0, 1).
        relative: As a share of the reference's mean.
        bounds: Between which all samples must lie, where such bounds exist; each end then counts one sample more, the
            worst that could be: else two models that agree on every sample would differ by 0 with certainty.

    Returns:
        Mean of the reference minus mean of the candidate, in the unit of the samples; or as a share.

    Raises:
        MeasurementError: As `mean_interval` and `ratio_interval`.

    >>> interval = mean_drop_interval([0.9, 0.8, 1.0, 0.7], [0.8, 0.8, 0.9, 0.5])
    >>> print(f"{interval.estimate:.2f} {interval.low:.3f} {interval.high:.3f}")
    0.10 -0.030 0.230
    """
    first, second = paired(reference, candidate)
    lost = first - second
    if not relative:
        span = None if bounds is None else bounds[1] - bounds[0]
        return mean_interval(lost, confidence, bounds=None if span is None else (-span, span))
    found = ratio_interval(lost, first, confidence, what="the reference")
    if bounds is None:
        return found
    low, high = bounds
    least = ratio_interval(np.append(lost, low - high), np.append(first, low), confidence, what="the reference")
    most = ratio_interval(np.append(lost, high - low), np.append(first, high), confidence, what="the reference")
    return Interval(estimate=found.estimate, low=min(found.low, least.low), high=max(found.high, most.high))


def student_interval(samples: Samples, confidence: float) -> Interval:
    """Bound a mean by Student's t interval (1908), the one for a handful of samples such as seeds.

    Raises:
        MeasurementError: Fewer than two samples, or one that is not a finite number.

    >>> interval = student_interval([1.0, 2.0, 3.0], 0.95)
    >>> print(f"{interval.low:.4f} {interval.high:.4f}")
    -0.4841 4.4841
    """
    check_share("confidence", confidence)
    values = _several(finite(samples))
    half = t_quantile(values.size - 1, confidence) * float(values.std(ddof=1)) / math.sqrt(values.size)
    mean = float(values.mean())
    return Interval(estimate=mean, low=mean - half, high=mean + half)


def ratio_interval(
    numerators: Samples, denominators: Samples, confidence: float = 0.95, *, what: str = "the denominator"
) -> Interval:
    """Bound the ratio of two means over the same samples.

    Fieller, Journal of the Royal Statistical Society B 16:175-185 (1954): all ratios R for which 0 lies in Student's
    interval of the mean of u - R v, so the R with

        (mean_u - R mean_v)^2 <= t^2 (s_uu - 2 R s_uv + R^2 s_vv) / n

    with n - 1 degrees of freedom. That is an interval where the denominator surely is not 0.

    Args:
        numerators: u, shape (n,), n >= 2.
        denominators: v, shape (n,), of the same samples in the same order.
        confidence: In (0, 1).
        what: The denominator, as an error calls it.

    Returns:
        mean_u / mean_v, a share of one.

    Raises:
        MeasurementError: Other lengths, fewer than two samples, or a denominator whose own interval holds 0.

    >>> interval = ratio_interval([1.0, 2.0, 3.0, 2.0], [4.0, 4.0, 5.0, 3.0])
    >>> print(f"{interval.estimate:.2f} {interval.low:.4f} {interval.high:.4f}")
    0.50 0.2026 0.7974
    """
    check_share("confidence", confidence)
    u, v = paired(numerators, denominators)
    _several(u)
    mean_v = float(v.mean())
    ratio = float(u.mean()) / mean_v if mean_v else math.nan
    # With d = R - ratio and w = u - ratio v, whose mean is 0: a d^2 + 2 b d - c <= 0. In R itself digits would cancel.
    (s_ww, s_wv), (_, s_vv) = np.cov(u - ratio * v, v).tolist()
    scale = t_quantile(u.size - 1, confidence) ** 2 / u.size
    a, b, c = mean_v**2 - scale * s_vv, scale * s_wv, scale * s_ww
    if not a > 0:
        raise MeasurementError(
            f"{what}, {mean_v:.4g}, can't be told from 0 with {100 * confidence:g} % confidence",
            next_step="take more samples, or more seeds",
        )
    root = math.sqrt(b * b + a * c)
    return Interval(estimate=ratio, low=ratio - (b + root) / a, high=ratio + (root - b) / a)


def paired(one: Samples, two: Samples) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Check that samples can be paired.

    Raises:
        MeasurementError: Their lengths differ, there are none, or one is not a finite number.
    """
    first, second = finite(one), finite(two)
    if first.size != second.size:
        raise MeasurementError(
            f"{first.size} and {second.size} samples can't be paired",
            next_step="measure both models on the same samples",
        )
    return first, second


def _hall(values: npt.NDArray[np.float64], confidence: float) -> tuple[float, float]:
    n = _several(values).size
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    if spread == 0:
        return mean, mean
    skewness = float((((values - mean) / values.std()) ** 3).mean())
    t, root_n = t_quantile(n - 1, confidence), math.sqrt(n)
    low, high = (mean - spread / root_n * _remove_skewness(quantile, skewness / root_n) for quantile in (t, -t))
    return low, high


def _remove_skewness(t: float, g: float) -> float:
    """Hall's q of a quantile; g is the skewness over sqrt(n)."""
    w = g / 3
    inside = t - g / 6
    if abs(w * inside) < 1e-6:  # cbrt(1 + 3 w x) - 1 = w x - w^2 x^2 + ..., without the cancellation
        return inside - w * inside**2
    return (math.copysign(abs(1 + 3 * w * inside) ** (1 / 3), 1 + 3 * w * inside) - 1) / w


def _several(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if values.size < 2:
        raise MeasurementError("one sample says nothing of the spread", next_step="take 2 or more")
    return values
