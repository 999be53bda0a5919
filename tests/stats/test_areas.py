"""Areas under ROC curves against a brute force over all pairs, scikit-learn, and DeLong's own example."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from scipy import stats as scipy_stats

from edgekd import stats
from edgekd.errors import MeasurementError
from edgekd.stats.areas import delong

Floats = npt.NDArray[np.float64]

# The 43 complete cases of the 49 patients of DeLong et al. (1988), as SAS/STAT's documentation of PROC LOGISTIC,
# "Comparing Receiver Operating Characteristic Curves", gives them: albumin, total protein, K-G score, outcome.
OVARIAN = np.array(
    [
        (3.0, 5.8, 10, 0), (3.2, 6.3, 5, 1), (3.9, 6.8, 3, 1), (2.8, 4.8, 6, 0), (3.2, 5.8, 3, 1),
        (0.9, 4.0, 5, 0), (2.5, 5.7, 8, 0), (1.6, 5.6, 5, 1), (3.8, 5.7, 5, 1), (3.7, 6.7, 6, 1),
        (3.2, 5.4, 4, 1), (3.8, 6.6, 6, 1), (4.1, 6.6, 5, 1), (3.6, 5.7, 5, 1), (4.3, 7.0, 4, 1),
        (3.6, 6.7, 4, 0), (2.3, 4.4, 6, 1), (4.2, 7.6, 4, 0), (4.0, 6.6, 6, 0), (3.5, 5.8, 6, 1),
        (3.8, 6.8, 7, 1), (3.0, 4.7, 8, 0), (4.5, 7.4, 5, 1), (3.7, 7.4, 5, 1), (3.1, 6.6, 6, 1),
        (4.1, 8.2, 6, 1), (4.3, 7.0, 5, 1), (4.3, 6.5, 4, 1), (3.2, 5.1, 5, 1), (2.6, 4.7, 6, 1),
        (3.3, 6.8, 6, 0), (1.7, 4.0, 7, 0), (3.7, 6.1, 5, 1), (3.3, 6.3, 7, 1), (4.2, 7.7, 6, 1),
        (3.5, 6.2, 5, 1), (2.9, 5.7, 9, 0), (2.1, 4.8, 7, 1), (2.8, 6.2, 8, 0), (4.0, 7.0, 7, 1),
        (3.3, 5.7, 6, 1), (3.7, 6.9, 5, 1), (3.6, 6.6, 5, 1),
    ]
)  # fmt: skip
OUTCOME = OVARIAN[:, 3]
TESTS = {"albumin": OVARIAN[:, 0], "K-G score": 10 - OVARIAN[:, 2], "total protein": OVARIAN[:, 1]}


@pytest.mark.parametrize(
    ("name", "area", "error", "low", "high"),
    [
        ("albumin", 0.7366, 0.0927, 0.5549, 0.9182),
        ("K-G score", 0.7258, 0.1028, 0.5243, 0.9273),
        ("total protein", 0.6478, 0.1000, 0.4518, 0.8439),
    ],
)
def test_areas_and_their_errors_are_the_published_ones(
    name: str, area: float, error: float, low: float, high: float
) -> None:
    areas, covariances = delong(TESTS[name][None], OUTCOME)
    assert areas[0] == pytest.approx(area, abs=5e-5)
    assert math.sqrt(covariances[0, 0]) == pytest.approx(error, abs=5e-5)
    interval = stats.auc_interval(TESTS[name], OUTCOME)
    assert interval.estimate == areas[0] == stats.auc(TESTS[name], OUTCOME)
    # SAS takes the normal quantile where edgekd takes Student's; Newcombe's end is a little farther for high areas.
    assert area - 2.3 * error < interval.low < low
    assert high < interval.high < min(area + 2.3 * error, 1)


@pytest.mark.parametrize(
    ("name", "difference", "error", "low", "high"),
    [("albumin", 0.0108, 0.0953, -0.1761, 0.1976), ("total protein", -0.0780, 0.1046, -0.2830, 0.1271)],
)
def test_a_difference_of_areas_is_the_published_one(
    name: str, difference: float, error: float, low: float, high: float
) -> None:
    areas, s = delong(np.stack([TESTS[name], TESTS["K-G score"]]), OUTCOME)
    assert areas[0] - areas[1] == pytest.approx(difference, abs=5e-5)
    assert math.sqrt(s[0, 0] + s[1, 1] - 2 * s[0, 1]) == pytest.approx(error, abs=5e-5)
    interval = stats.auc_drop_interval(TESTS[name], TESTS["K-G score"], OUTCOME)
    assert interval.estimate == pytest.approx(difference, abs=5e-5)
    assert difference - 2.3 * error < interval.low < low
    assert high < interval.high < difference + 2.3 * error


def test_the_area_of_a_published_table_of_ratings() -> None:
    # Hanley & McNeil (1982), table I: 58 normal and 51 abnormal images, rated 1 to 5. DeLong's error by Stata's roctab.
    ratings = np.repeat([1.0, 2, 3, 4, 5, 1, 2, 3, 4, 5], [33, 6, 6, 11, 2, 3, 2, 2, 11, 33])
    areas, covariances = delong(ratings[None], np.repeat([0.0, 1.0], [58, 51]))
    assert areas[0] == pytest.approx(0.8932, abs=5e-5)
    assert math.sqrt(covariances[0, 0]) == pytest.approx(0.0307, abs=5e-5)


def _brute_force(scores: Floats, labels: Floats) -> tuple[Floats, Floats]:
    """Equations 4 to 6 of DeLong et al. (1988), pair by pair."""
    anomalies, normals = scores[:, labels == 1], scores[:, labels == 0]
    models, m, n = len(scores), anomalies.shape[1], normals.shape[1]
    psi = np.zeros((models, m, n))
    for r in range(models):
        for i in range(m):
            for j in range(n):
                x, y = anomalies[r, i], normals[r, j]
                psi[r, i, j] = 1.0 if x > y else 0.5 if x == y else 0.0
    theta, v10, v01 = psi.mean(axis=(1, 2)), psi.mean(axis=2), psi.mean(axis=1)
    s = np.zeros((models, models))
    for r in range(models):
        for q in range(models):
            s10 = sum((v10[r, i] - theta[r]) * (v10[q, i] - theta[q]) for i in range(m)) / (m - 1)
            s01 = sum((v01[r, j] - theta[r]) * (v01[q, j] - theta[q]) for j in range(n)) / (n - 1)
            s[r, q] = s10 / m + s01 / n
    return theta, s


@given(st.integers(0, 10_000), st.integers(2, 9), st.integers(2, 9), st.integers(1, 3))
def test_ranks_give_what_all_pairs_give(seed: int, m: int, n: int, models: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, (models, m + n)).astype(float)  # with ties
    labels = rng.permutation(np.repeat([1.0, 0.0], [m, n]))
    for found, expected in zip(delong(scores, labels), _brute_force(scores, labels), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_area_agrees_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300).astype(float)
    scores = (rng.normal(labels, 1) * 3).round()
    assert stats.auc(scores, labels) == pytest.approx(metrics.roc_auc_score(labels, scores), rel=1e-12)


@pytest.mark.parametrize(("m", "n"), [(5, 5), (10, 200), (40, 40)])
def test_full_separation_proves_as_much_as_newcombe_s_method_allows(m: int, n: int) -> None:
    labels = np.repeat([0.0, 1.0], [n, m])
    interval = stats.auc_interval(np.arange(m + n, dtype=float), labels)
    k, z = (m + n) / 2 - 1, scipy_stats.norm.ppf(0.975)

    def gap(area: float) -> float:
        v = area * (1 - area) / (m * n) * (1 + k * (1 - area) / (2 - area) + k * area / (1 + area))
        return float((1 - area) - z * math.sqrt(v))

    assert (interval.estimate, interval.high) == (1.0, 1.0)
    assert interval.low == pytest.approx(optimize.brentq(gap, 0.01, 1 - 1e-6), abs=1e-9)
    mirrored = stats.auc_interval(-np.arange(m + n, dtype=float), labels)
    assert (mirrored.low, mirrored.estimate) == (0.0, 0.0)
    assert mirrored.high == pytest.approx(1 - interval.low)


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("spread", [1.0, 3.0])
def test_intervals_of_areas_cover_in_simulation(shift: float, spread: float) -> None:
    rng = np.random.default_rng(0)
    truth = float(scipy_stats.norm.cdf(shift / math.hypot(1, spread)))
    labels = np.repeat([0.0, 1.0], [60, 25])
    draws = [np.concatenate([rng.normal(0, 1, 60), rng.normal(shift, spread, 25)]) for _ in range(1500)]
    intervals = [stats.auc_interval(each, labels) for each in draws]
    assert (
        np.mean([each.low <= truth <= each.high for each in intervals]) > 0.925
    )  # 25 anomalies, far wider than the rest


def _two_models(rng: np.random.Generator, labels: Floats) -> tuple[Floats, Floats]:
    """Scores that share most of their noise: areas of 0.92 and 0.84 (binormal, shifts 2 and 1.4)."""
    shared = rng.normal(0, 0.8, labels.size)
    one = labels * 2.0 + shared + rng.normal(0, 0.6, labels.size)
    return one, labels * 1.4 + shared + rng.normal(0, 0.6, labels.size)


@pytest.mark.parametrize("relative", [False, True])
def test_drops_of_areas_cover_in_simulation(relative: bool) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0.0, 1.0], [60, 40])
    one, two = (float(scipy_stats.norm.cdf(shift / math.sqrt(2))) for shift in (2.0, 1.4))
    truth = (one - two) / one if relative else one - two
    intervals = [stats.auc_drop_interval(*_two_models(rng, labels), labels, relative=relative) for _ in range(1500)]
    assert np.mean([each.low <= truth <= each.high for each in intervals]) > 0.935
    widths = [each.high - each.low for each in intervals]
    unpaired = stats.auc_interval(_two_models(rng, labels)[0], labels)
    assert np.mean(widths) < 1.4 * (unpaired.high - unpaired.low), "pairing should narrow it"


@given(st.integers(0, 1000), st.floats(0.5, 0.99))
def test_intervals_hold_their_estimates(seed: int, confidence: float) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat([1.0, 0.0], [4, 7]))
    one, two = rng.integers(0, 5, (2, 11)).astype(float)
    area = stats.auc_interval(one, labels, confidence)
    drop = stats.auc_drop_interval(one, two, labels, confidence)
    assert 0 <= area.low <= area.estimate <= area.high <= 1
    assert -1 <= drop.low <= drop.estimate <= drop.high <= 1
    assert stats.auc_drop_interval(one, one, labels, confidence).estimate == 0
    back = stats.auc_drop_interval(two, one, labels, confidence)
    np.testing.assert_allclose([back.low, back.high], [-drop.high, -drop.low], atol=1e-12)


LABELS = [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.auc([1, 2, 3], LABELS), "3 scores but 4 labels"),
        (lambda: stats.auc([1, 2, 3, math.nan], LABELS), "not finite"),
        (lambda: stats.auc([1, 2, 3, 4], [0, 0, 1, 2]), "labels hold other values; allowed: 0 for normal"),
        (lambda: stats.auc([1, 2], [0, 0]), "0 anomalies and 2 normal samples are too few; allowed: 1 of each"),
        (lambda: stats.auc_interval([1, 2, 3], [0, 0, 1]), "1 anomalies and 2 normal samples are too few"),
        (lambda: stats.auc_interval([1, 2, 3, 4], LABELS, 1.5), "confidence is 1.5"),
        (lambda: stats.auc_drop_interval([1, 2, 3], [1, 2, 3, 4], LABELS), "3 and 4 samples can't be paired"),
        (
            lambda: stats.auc_drop_interval([4, 3, 2, 1], [1, 2, 3, 4], LABELS, relative=True),
            "the reference, 0, can't be told from 0",
        ),
    ],
)
def test_areas_of_what_has_none_are_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(MeasurementError, match=message):
        call()
