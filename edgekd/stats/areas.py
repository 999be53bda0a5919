"""Areas under ROC curves: how well scores tell anomalies from normal samples."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edgekd.errors import MeasurementError
from edgekd.stats._interval import Interval, Samples, check_share, finite
from edgekd.stats._recovery import difference, relative_difference
from edgekd.stats.distributions import normal_quantile

_HALVINGS = 100


def auc(scores: Samples, labels: Samples) -> float:
    """Compute the area under the ROC curve.

    It is the chance that an anomaly scores higher than a normal sample, ties counting half (Mann & Whitney 1947):
    mean over all pairs of psi(x, y) = 1 for x > y, 1/2 for x = y, 0 for x < y.

    Args:
        scores: Shape (n,), higher for anomalies.
        labels: Shape (n,), 1 for anomalies and 0 for normal samples.

    Returns:
        In [0, 1]; 1/2 where scores say nothing.

    Raises:
        MeasurementError: Scores that don't fit labels, other labels, or one kind of samples missing.

    >>> auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.75
    """
    anomalies, normals = _part(scores, labels, least=1)
    return float(_shares_below(anomalies, normals).mean())


def delong(scores: npt.NDArray[np.float64], labels: Samples) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Estimate areas of several models on the same samples, and the covariances of these estimates.

    DeLong, DeLong & Clarke-Pearson, Biometrics 44:837-845 (1988): with V10 of an anomaly the share of normal samples
    that it scores above, and V01 of a normal sample the share of anomalies that score above it (ties count half), and
    S10, S01 their sample covariances between models over m anomalies and n normal samples (equations 4 to 6),

        S = S10 / m + S01 / n

    Args:
        scores: Shape (models, n).
        labels: Shape (n,), 1 for anomalies and 0 for normal samples.

    Returns:
        Areas, shape (models,), and S, shape (models, models).

    Raises:
        MeasurementError: As `auc`; or fewer than two samples of a kind.

    >>> areas, covariances = delong(np.array([[0.1, 0.4, 0.35, 0.8]]), [0, 0, 1, 1])
    >>> areas.tolist(), covariances.tolist()
    ([0.75], [[0.125]])
    """
    areas, of_anomalies, of_normals = _estimate(scores, labels)
    return areas, of_anomalies + of_normals


def auc_interval(scores: Samples, labels: Samples, confidence: float = 0.95) -> Interval:
    """Bound an area under the ROC curve.

    Each end is the farther of two. One is estimate -+ t s with DeLong's variance s^2 (see `delong`) and Student's t of
    Satterthwaite's degrees of freedom, as Brunner & Munzel, Biometrical Journal 42:17-25 (2000): it assumes nothing
    on the distributions, but s is 0 where scores part the samples fully, however few they are. The other is method 5
    of Newcombe, Statistics in Medicine 25:559-573 (2006), the areas A with |estimate - A| = z sqrt(V(A)), where

        V(A) = A (1 - A) / (m n) (1 + k (1 - A) / (2 - A) + k A / (1 + A)),   k = (m + n) / 2 - 1

    is the variance of Hanley & McNeil (1982) for m anomalies and n normal samples.

    Args:
        scores: Shape (n,), higher for anomalies.
        labels: Shape (n,), 1 for anomalies and 0 for normal samples.
        confidence: In (0, 1).

    Returns:
        Areas, in [0, 1].

    Raises:
        MeasurementError: As `delong`.

    >>> interval = auc_interval([1, 2, 3, 4, 5, 6], [0, 0, 0, 1, 1, 1])
    >>> print(f"{interval.estimate:.2f} {interval.low:.4f} {interval.high:.4f}")
    1.00 0.5010 1.0000
    """
    check_share("confidence", confidence)
    return _bound(np.asarray(finite(scores))[None], labels, confidence)[0][0]


def auc_drop_interval(
    reference: Samples, candidate: Samples, labels: Samples, confidence: float = 0.95, *, relative: bool = False
) -> Interval:
    """Bound the area lost from one model to another that scored the same samples.

    The method of variance estimates recovery, as `paired_drop_interval` and `relative_drop_interval`, with the
    intervals of `auc_interval` and the correlation that DeLong's covariances give (see `delong`). Away from 0 and 1
    it agrees with DeLong's test of two correlated curves. Two models that rank all samples alike lose 0 for certain.

    Args:
        reference: Shape (n,), scores, higher for anomalies.
        candidate: Shape (n,), of the same samples in the same order.
        labels: Shape (n,), 1 for anomalies and 0 for normal samples.
        confidence: In (0, 1).
        relative: As a share of the reference's area.

    Returns:
        Area of the reference minus area of the candidate, or that as a share.

    Raises:
        MeasurementError: As `delong`.

    >>> interval = auc_drop_interval([1, 2, 3, 4, 5, 6], [1, 2, 4, 3, 5, 6], [0, 0, 0, 1, 1, 1])
    >>> print(f"{interval.estimate:.3f}")
    0.111
    """
    check_share("confidence", confidence)
    first, second = finite(reference), finite(candidate)
    if first.size != second.size:
        raise MeasurementError(
            f"{first.size} and {second.size} samples can't be paired",
            next_step="measure both models on the same samples",
        )
    (one, two), phi = _bound(np.stack([first, second]), labels, confidence)
    return (relative_difference if relative else difference)(one, two, phi)


def _bound(scores: npt.NDArray[np.float64], labels: Samples, confidence: float) -> tuple[list[Interval], float]:
    """Intervals of one area or two, and the correlation between the two."""
    areas, of_anomalies, of_normals = _estimate(scores, labels)
    z = normal_quantile(confidence)
    m = int(finite(labels).sum())
    n = scores.shape[1] - m
    intervals = []
    for index, area in enumerate(areas.tolist()):
        low, high = _newcombe(area, m, n, z)
        one, two = float(of_anomalies[index, index]), float(of_normals[index, index])
        if one + two > 0:
            degrees = (one + two) ** 2 / (one**2 / (m - 1) + two**2 / (n - 1))
            from scipy import special  # of no other statistic: it takes longer than all else here

            half = float(special.stdtrit(degrees, (1 + confidence) / 2)) * math.sqrt(one + two)
            low, high = max(min(low, area - half), 0.0), min(max(high, area + half), 1.0)
        intervals.append(Interval(estimate=area, low=low, high=high))
    covariances = of_anomalies + of_normals
    product = float(np.prod(np.diag(covariances)))
    return intervals, float(covariances[0, -1]) / math.sqrt(product) if len(areas) > 1 and product > 0 else 0.0


def _estimate(
    scores: npt.NDArray[np.float64], labels: Samples
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Areas, and the two parts of DeLong's covariances, S10 / m and S01 / n."""
    parts = [_part(each, labels, least=2) for each in scores]
    above = np.stack([_shares_below(anomalies, normals) for anomalies, normals in parts])
    below = np.stack([1 - _shares_below(normals, anomalies) for anomalies, normals in parts])
    of_anomalies, of_normals = (np.atleast_2d(np.cov(each)) / each.shape[1] for each in (above, below))
    return above.mean(axis=1), of_anomalies, of_normals


def _newcombe(area: float, m: int, n: int, z: float) -> tuple[float, float]:
    k = (m + n) / 2 - 1

    def is_outside(a: float) -> bool:
        variance = a * (1 - a) / (m * n) * (1 + k * (1 - a) / (2 - a) + k * a / (1 + a))
        return (area - a) ** 2 > z * z * variance

    def search(outside: float) -> float:
        inside = area
        for _ in range(_HALVINGS):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if is_outside(middle) else (middle, outside)
        return inside

    # At an area of 0 or 1 that end is exact.
    return (search(0.0) if area > 0 else 0.0), (search(1.0) if area < 1 else 1.0)


def _part(scores: Samples, labels: Samples, least: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    values, kinds = finite(scores), finite(labels)
    if values.size != kinds.size:
        raise MeasurementError(f"{values.size} scores but {kinds.size} labels")
    if not np.isin(kinds, (0.0, 1.0)).all():
        raise MeasurementError("labels hold other values", allowed="0 for normal samples, 1 for anomalies")
    anomalies, normals = values[kinds == 1], values[kinds == 0]
    if min(anomalies.size, normals.size) < least:
        raise MeasurementError(
            f"{anomalies.size} anomalies and {normals.size} normal samples are too few", allowed=f"{least} of each"
        )
    return anomalies, normals


def _shares_below(values: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Which share of the others each value lies above, ties counting half."""
    ordered = np.sort(others)
    counts = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return np.asarray(counts / (2 * others.size), dtype=np.float64)
