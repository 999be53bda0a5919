"""The calibration error against its formula in plain NumPy, and how often its interval misses."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from edgekd.errors import MeasurementError
from edgekd.stats import calibration_bins, calibration_interval


def _plain(confidences: np.ndarray, right: np.ndarray) -> float:
    """The definition, sample by sample."""
    order = np.argsort(confidences, kind="stable")
    edges = np.linspace(0, len(order), 16).astype(int)
    total = 0.0
    for start, end in pairwise(edges):
        chosen = order[start:end]
        total += len(chosen) / len(order) * abs(right[chosen].mean() - confidences[chosen].mean())
    return float(total)


@pytest.mark.parametrize("count", [15, 16, 100, 1001])
def test_the_estimate_is_the_definition(count: int) -> None:
    rng = np.random.default_rng(count)
    confidences = rng.uniform(0.3, 1, count)
    right = (rng.uniform(size=count) < confidences**2).astype(float)
    found = calibration_interval(confidences, right)
    assert found.estimate == pytest.approx(_plain(confidences, right), abs=1e-12)
    assert 0 <= found.low <= found.estimate <= found.high <= 1


@pytest.mark.parametrize("bend", [1.0, 1.3, 2.0])
@pytest.mark.parametrize("count", [150, 2000])
def test_the_true_error_is_missed_no_more_often_than_said(bend: float, count: int) -> None:
    """Given the confidences, the truth is the error of the bins' expected shares: it is known here."""
    rng = np.random.default_rng(0)
    confidences = np.sort(rng.uniform(0.2, 1, count))
    truth = confidences**bend
    edges = np.linspace(0, count, 16).astype(int)
    bins = pairwise(edges)
    error = sum(abs((truth - confidences)[start:end].sum()) for start, end in bins) / count
    above = below = 0
    for _ in range(400):
        found = calibration_interval(confidences, (rng.uniform(size=count) < truth).astype(float))
        above += error > found.high
        below += error < found.low
    # 2.5 % a side; 400 draws of which 22 or more would miss by chance once in a thousand times.
    assert above <= 21, above
    assert below <= 21, below


def test_many_samples_leave_little_doubt() -> None:
    rng = np.random.default_rng(1)
    confidences = rng.uniform(0.5, 1, 100_000)
    found = calibration_interval(confidences, (rng.uniform(size=100_000) < confidences - 0.1).astype(float))
    assert found.low > 0.085
    assert found.high < 0.11


@pytest.mark.parametrize(
    ("confidences", "right"),
    [([0.5] * 14, [1.0] * 14), ([0.5] * 20, [1.0] * 19), ([1.5] * 20, [1.0] * 20), ([0.5] * 20, [0.5] * 20)],
)
def test_what_can_not_be_is_refused(confidences: list[float], right: list[float]) -> None:
    with pytest.raises(MeasurementError):
        calibration_interval(confidences, right)


def test_bins_are_those_of_scikit_learn_s_reliability_diagram() -> None:
    sklearn = pytest.importorskip("sklearn.calibration", reason="no scikit-learn: install the extra 'train'")
    rng = np.random.default_rng(3)
    confidences = rng.permutation(np.linspace(0.2, 0.999, 1500))  # no ties, and 100 in each bin
    right = (rng.uniform(size=1500) < confidences).astype(float)
    shares, means = sklearn.calibration_curve(right, confidences, n_bins=15, strategy="quantile")
    bins = calibration_bins(confidences, right)
    assert [each.samples for each in bins] == [100] * 15
    np.testing.assert_allclose([each.right / each.samples for each in bins], shares)
    np.testing.assert_allclose([each.confidence for each in bins], means)
    error = sum(abs(each.right / each.samples - each.confidence) for each in bins) / 15
    assert calibration_interval(confidences, right).estimate == pytest.approx(error)
