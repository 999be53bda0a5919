"""How far a model's confidence is from how often it is right."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekd.errors import MeasurementError
from edgekd.stats._interval import Interval, Samples, check_share, finite
from edgekd.stats.distributions import normal_quantile

BINS = 15
_Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CalibrationBin:
    """Samples of neighbouring confidences: their mean confidence, and how many of them are right."""

    confidence: float
    right: int
    samples: int


def calibration_bins(confidences: Samples, right: Samples) -> tuple[CalibrationBin, ...]:
    """Part samples into the bins that `calibration_interval` looks at, for a reliability diagram.

    Args:
        confidences: Shape (n,), the probability of the predicted class, in [0, 1].
        right: Shape (n,), 1 where the prediction is right and 0 where it is wrong.

    Returns:
        From the least sure to the surest; of as many samples each, give or take one.

    Raises:
        MeasurementError: As `calibration_interval`.

    >>> calibration_bins([0.75] * 3000, [1, 1, 1, 0] * 750)[0]
    CalibrationBin(confidence=0.75, right=150, samples=200)
    """
    counts, sums, hits = _binned(confidences, right)
    return tuple(
        CalibrationBin(confidence=total / count, right=round(hit), samples=count)
        for count, total, hit in zip(counts.tolist(), sums.tolist(), hits.tolist(), strict=True)
    )


def calibration_interval(confidences: Samples, right: Samples, confidence: float = 0.95) -> Interval:
    """Bound the expected calibration error over bins of as many samples each.

    Naeini, Cooper & Hauskrecht, AAAI (2015), in bins of equal mass (Nguyen & O'Connor, EMNLP 2015): with the share
    right a_b, mean confidence c_b and share of samples w_b of bin b

        ECE = sum_b w_b |a_b - c_b|

    The estimate is too high on average, because chance alone takes a_b from c_b (Kumar, Liang & Ma, NeurIPS 2019).
    Given the confidences, the a_b are means of independent samples with standard errors s_b; |x| is convex and grows no
    faster than x, so that the estimate exceeds the truth by 0 to sqrt(2 / pi) sum_b w_b s_b on average, and has a
    variance of at most sum_b w_b^2 s_b^2 = v. With the normal quantile z

        low = ECE - sqrt(2 / pi) sum_b w_b s_b - z sqrt(v),    high = ECE + z sqrt(v)

    where s_b is that of Agresti & Coull (1998), so that a bin that is all right has one, too.

    Args:
        confidences: Shape (n,), the probability of the predicted class, in [0, 1].
        right: Shape (n,), 1 where the prediction is right and 0 where it is wrong.
        confidence: In (0, 1).

    Returns:
        Shares, in [0, 1]; of the calibration error over these bins.

    Raises:
        MeasurementError: Fewer samples than bins, or values that are no shares.

    >>> interval = calibration_interval([0.75] * 3000, [1, 1, 1, 0] * 750)
    >>> print(f"{interval.low:.3f} {interval.estimate:.3f} {interval.high:.3f}")
    0.000 0.000 0.015
    """
    check_share("confidence", confidence)
    counts, sums, hits = _binned(confidences, right)
    weights, shares = counts / counts.sum(), hits / counts
    gaps = np.abs(shares - sums / counts)
    z = normal_quantile(confidence)
    smoothed = (shares * counts + z * z / 2) / (counts + z * z)
    errors = np.sqrt(smoothed * (1 - smoothed) / (counts + z * z))
    estimate, half = float(weights @ gaps), z * math.sqrt(float(weights**2 @ errors**2))
    low = estimate - math.sqrt(2 / math.pi) * float(weights @ errors) - half
    return Interval(estimate=estimate, low=max(low, 0.0), high=min(estimate + half, 1.0))


def _binned(confidences: Samples, right: Samples) -> tuple[npt.NDArray[np.int64], _Numbers, _Numbers]:
    """Number of samples, sum of confidences and number of right answers of each bin."""
    values, answers = finite(confidences), finite(right)
    if values.size != answers.size or values.size < BINS:
        what = f"{values.size} confidences and {answers.size} answers"
        raise MeasurementError(what, allowed=f"{BINS} or more of each")
    if values.min() < 0 or values.max() > 1 or not np.isin(answers, (0.0, 1.0)).all():
        raise MeasurementError("confidences or answers that are none", allowed="0 to 1, and 0 or 1")
    # Equal confidences may lie in two bins: their order, which is that of the samples, has nothing to do with answers.
    order = np.argsort(values, kind="stable")
    starts = np.linspace(0, values.size, BINS + 1).astype(int)[:-1]
    counts = np.diff([*starts, values.size])
    return counts, np.add.reduceat(values[order], starts), np.add.reduceat(answers[order], starts)
