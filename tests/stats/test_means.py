"""Means and ratios against SciPy, a numerical inversion of Hall's formula, and coverage in simulation."""

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
from edgekd.stats.means import student_interval

Floats = npt.NDArray[np.float64]
skewed = st.lists(st.floats(0, 1e3), min_size=3, max_size=40).filter(lambda each: np.std(each) > 1e-3)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20).filter(lambda each: np.std(each) > 1e-3))
def test_student_s_interval_agrees_with_scipy(samples: list[float]) -> None:
    interval = student_interval(samples, 0.9)
    expected = scipy_stats.ttest_1samp(samples, 0).confidence_interval(0.9)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-9)


@given(skewed)
def test_mean_interval_ends_where_hall_s_transformation_is_at_student_s_quantiles(samples: list[float]) -> None:
    values, n = np.array(samples), len(samples)
    skewness = float(scipy_stats.skew(values))

    def transformed(mu: float) -> float:
        t = math.sqrt(n) * (values.mean() - mu) / values.std(ddof=1)
        a, b = 1 / 3, 1 / 6  # of a studentized mean
        return float(t + skewness * (a * t**2 + b) / math.sqrt(n) + (a * skewness) ** 2 * t**3 / (3 * n))

    interval, quantile = stats.mean_interval(samples), scipy_stats.t.ppf(0.975, n - 1)
    wide = 1e4 * values.std()
    for end, at in ((interval.low, quantile), (interval.high, -quantile)):
        found = optimize.brentq(lambda mu, at=at: transformed(mu) - at, values.mean() - wide, values.mean() + wide)
        # The cube root is steep near 0, where the transformation is flat.
        assert end == pytest.approx(found, abs=2e-4 * wide / 1e3, rel=1e-6)


def test_without_skewness_it_is_student_s_interval() -> None:
    samples = np.array([-3.0, -1, -0.5, 0.5, 1, 3]) + 7
    hall, student = stats.mean_interval(samples), student_interval(samples, 0.95)
    np.testing.assert_allclose([hall.low, hall.high], [student.low, student.high], rtol=1e-12)


def _missed(
    draw: Callable[[np.random.Generator], Floats], truth: float, bounds: tuple[float, float] | None = None
) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    intervals = [stats.mean_interval(draw(rng), bounds=bounds) for _ in range(3000)]
    return (
        float(np.mean([each.low > truth for each in intervals])),
        float(np.mean([each.high < truth for each in intervals])),
    )


@pytest.mark.parametrize(
    ("draw", "truth"),
    [
        (lambda rng: rng.chisquare(1, 50), 1.0),  # squared errors of a good fit
        (lambda rng: rng.exponential(1, 50), 1.0),
        (lambda rng: rng.lognormal(0, 1, 100), math.exp(0.5)),
        (lambda rng: rng.normal(0, 1, 20), 0.0),
    ],
)
def test_means_of_errors_are_covered_and_their_upper_end_better_than_by_student(
    draw: Callable[[np.random.Generator], Floats], truth: float
) -> None:
    low, high = _missed(draw, truth)
    assert low < 0.045
    assert high < 0.045 if truth < 1.5 else high < 0.075  # heavy tails leave every method short
    rng = np.random.default_rng(0)
    student = np.mean([student_interval(draw(rng), 0.95).high < truth for _ in range(3000)])
    assert high <= student + 0.003


@pytest.mark.parametrize(
    ("draw", "truth"),
    [
        (lambda rng: rng.binomial(1, 0.98, 100).astype(float), 0.98),
        (lambda rng: np.where(rng.random(60) < 0.9, 1.0, rng.random(60)), 0.95),
        (lambda rng: rng.beta(8, 2, 60), 0.8),
        (lambda rng: rng.random(30), 0.5),
    ],
)
def test_means_between_bounds_are_covered(draw: Callable[[np.random.Generator], Floats], truth: float) -> None:
    low, high = _missed(draw, truth, bounds=(0, 1))
    assert low < 0.032  # 0.025, and two standard errors of 3000 draws
    assert high < 0.032


def test_equal_samples_prove_a_bounded_mean_only_so_far() -> None:
    for n in (3, 30, 300):
        interval = stats.mean_interval([1.0] * n, bounds=(0, 1))
        exact = scipy_stats.binomtest(n, n).proportion_ci(method="exact")
        assert (interval.estimate, interval.high) == (1.0, 1.0)
        assert interval.low <= exact.low


@given(st.lists(st.floats(0, 1), min_size=2, max_size=40), st.floats(0.1, 0.99))
def test_bounded_means_stay_within_their_bounds(samples: list[float], confidence: float) -> None:
    interval = stats.mean_interval(samples, confidence, bounds=(0, 1))
    assert 0 <= interval.low <= interval.estimate <= interval.high <= 1
    assert interval.low < interval.high


# --- ratios ----------------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.integers(8, 60), st.floats(0.5, 0.99))
def test_ratio_ends_are_what_a_t_test_just_rejects(seed: int, n: int, confidence: float) -> None:
    rng = np.random.default_rng(seed)
    v = rng.normal(10, 1, n)
    u = 0.4 * v + rng.normal(0, 2, n)
    interval = stats.ratio_interval(u, v, confidence)
    assert interval.estimate == pytest.approx(u.mean() / v.mean())
    for end in (interval.low, interval.high):
        assert scipy_stats.ttest_1samp(u - end * v, 0).pvalue == pytest.approx(1 - confidence, rel=1e-6)
    inside = (interval.low + interval.high) / 2
    assert scipy_stats.ttest_1samp(u - inside * v, 0).pvalue > 1 - confidence


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.mean_interval([]), "no samples"),
        (lambda: stats.mean_interval([1.0]), "one sample says nothing of the spread; take 2 or more"),
        (lambda: stats.mean_interval([1.0, math.nan]), "not finite"),
        (lambda: stats.mean_interval([1.0, 2.0], 1.0), "confidence is 1.0"),
        (lambda: stats.mean_interval([0.5, 2.0], bounds=(0, 1)), "samples from 0.5 to 2; allowed: 0 to 1"),
        (lambda: stats.ratio_interval([1.0, 2.0], [1.0]), "2 and 1 samples can't be paired"),
        (lambda: stats.ratio_interval([1.0], [1.0]), "one sample"),
        (lambda: stats.ratio_interval([1.0, 2.0], [-1.0, 1.5]), r"the denominator, 0\.25, can't be told from 0"),
        (lambda: stats.ratio_interval([0.0, 0.0], [0.0, 0.0]), "can't be told from 0"),
    ],
)
def test_means_of_what_has_none_are_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(MeasurementError, match=message):
        call()


# --- drops of means --------------------------------------------------------------------------------


def test_a_drop_of_means_is_the_mean_of_the_differences() -> None:
    rng = np.random.default_rng(0)
    reference = rng.exponential(1, 80)
    candidate = reference + rng.normal(0.1, 0.05, 80)
    drop = stats.mean_drop_interval(reference, candidate)
    assert drop == stats.mean_interval(reference - candidate)
    share = stats.mean_drop_interval(reference, candidate, relative=True)
    assert share == stats.ratio_interval(reference - candidate, reference)
    assert share.estimate == pytest.approx(1 - candidate.mean() / reference.mean())


@pytest.mark.parametrize("relative", [False, True])
def test_bounded_models_that_agree_differ_by_0_only_so_far(relative: bool) -> None:
    few, many = (
        stats.mean_drop_interval([0.5, 1.0] * n, [0.5, 1.0] * n, relative=relative, bounds=(0, 1)) for n in (10, 1000)
    )
    for interval in (few, many):
        assert interval.estimate == 0
        assert interval.low < 0 < interval.high
    assert many.high - many.low < (few.high - few.low) / 10


@pytest.mark.parametrize("relative", [False, True])
def test_drops_of_bounded_means_cover_in_simulation(relative: bool) -> None:
    rng = np.random.default_rng(0)
    truth = 0.05 / 0.95 if relative else 0.05

    def draw() -> tuple[Floats, Floats]:
        same = rng.random(80) < 0.9
        return np.where(same, 1.0, 0.5), np.where(same, np.where(rng.random(80) < 1 / 9, 0.5, 1.0), 0.5)

    intervals = [stats.mean_drop_interval(*draw(), relative=relative, bounds=(0, 1)) for _ in range(1500)]
    assert np.mean([each.low <= truth <= each.high for each in intervals]) > 0.94
