"""Means looked at again and again: against the likelihood ratio by integration, and how often they are ever wrong."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import integrate
from scipy import stats as scipy_stats

from edgekd import stats
from edgekd.errors import MeasurementError
from edgekd.stats.sequences import _EFFECT_VARIANCE


@pytest.mark.parametrize("n", [5, 8, 20])
@pytest.mark.parametrize("confidence", [0.95, 0.99])
def test_its_ends_are_where_the_likelihood_ratio_reaches_its_limit(n: int, confidence: float) -> None:
    samples = [float(each) for each in np.random.default_rng(n).normal(3, 2, n)]
    interval = stats.mean_sequence(samples, confidence)
    assert interval is not None

    def likelihood_ratio(mean: float) -> float:
        """Student's t under effects from N(0, g), by the noncentral t distribution, over t under none."""
        t = float(scipy_stats.ttest_1samp(samples, mean).statistic)

        def weighed(effect: float) -> float:
            prior = scipy_stats.norm.pdf(effect, scale=math.sqrt(_EFFECT_VARIANCE))
            return float(scipy_stats.nct.pdf(t, n - 1, effect * math.sqrt(n)) * prior)

        mixed, _ = integrate.quad(weighed, -20, 20, points=[t / math.sqrt(n)], limit=200)
        return mixed / float(scipy_stats.t.pdf(t, n - 1))

    for end in (interval.low, interval.high):
        assert likelihood_ratio(end) == pytest.approx(1 / (1 - confidence), rel=1e-3)
    assert likelihood_ratio(interval.estimate) < 1


def ever_missed(samples: NDArray[np.float64], least: int) -> float:
    """Share of rows whose interval leaves the mean, 0, out at any length from `least` on."""
    rows, longest = samples.shape
    n = np.arange(1, longest + 1)
    means = np.cumsum(samples, axis=1) / n
    squares = np.cumsum(samples**2, axis=1) - n * means**2
    missed = np.zeros(rows, bool)
    for count in range(max(least, 2), longest + 1):
        unit = stats.mean_sequence([float(k % 2) for k in range(count)])
        if unit is None:
            continue
        reach = (unit.high - unit.estimate) / np.std(np.arange(count) % 2, ddof=1)
        deviation = np.sqrt(np.maximum(squares[:, count - 1], 0) / (count - 1))
        missed |= np.abs(means[:, count - 1]) > reach * deviation
    return float(missed.mean())


@pytest.mark.parametrize(
    ("law", "least", "at_most"),
    [
        ("normal", 2, 0.01),
        ("heavy tails", 2, 0.01),
        ("some disturbed", 2, 0.01),
        ("two places in memory", 8, 0.02),  # 2 * 2^-8 of the rows begin with eight equal ones
    ],
)
def test_it_is_seldom_ever_wrong_however_long_one_looks(law: str, least: int, at_most: float) -> None:
    rng = np.random.default_rng(0)
    shape = (10_000, 150)
    drawn: dict[str, Any] = {
        "normal": lambda: rng.normal(size=shape),
        "heavy tails": lambda: rng.standard_t(2, size=shape),
        "some disturbed": lambda: rng.normal(size=shape) * np.where(rng.random(shape) < 0.1, 20, 1),
        "two places in memory": lambda: rng.choice([-1.0, 1.0], size=shape) + 0.05 * rng.normal(size=shape),
    }
    assert ever_missed(drawn[law](), least) <= at_most


def test_student_s_interval_would_be_wrong_far_more_often() -> None:
    """That is what the sequence is for."""
    samples = np.random.default_rng(0).normal(size=(2_000, 100))
    wrong = np.zeros(len(samples), bool)
    for count in range(8, 101):
        wrong |= scipy_stats.ttest_1samp(samples[:, :count], 0, axis=1).pvalue < 0.01
    assert wrong.mean() > 0.03 > 3 * ever_missed(samples, 8)


@given(st.lists(st.floats(-1e3, 1e3), min_size=5, max_size=40))
def test_it_holds_its_mean_and_is_wider_than_student_s(samples: list[float]) -> None:
    interval = stats.mean_sequence(samples)
    assert interval is not None
    assert interval.low <= interval.estimate <= interval.high
    half = scipy_stats.t.ppf(0.995, len(samples) - 1) * np.std(samples, ddof=1) / math.sqrt(len(samples))
    assert interval.high - interval.estimate >= half * (1 - 1e-9)


def test_few_samples_bound_nothing() -> None:
    assert [stats.mean_sequence([0.0] * n) is None for n in (1, 2, 3, 4)] == [True, True, True, False]


@given(st.floats(0.05, 3), st.integers(5, 30))
def test_samples_to_clear_is_the_first_number_that_does(distance: float, n: int) -> None:
    samples = np.resize([-1.0, 1.0], n)
    limit = float(samples.mean()) + distance * float(samples.std(ddof=1))
    needed = stats.samples_to_clear(samples, limit)
    assert needed is not None
    scale = float(samples.std(ddof=1))

    def clears(count: int) -> bool:
        """So many samples of the same mean and deviation."""
        again = np.resize([-1.0, 1.0], count)
        again = (again - again.mean()) / again.std(ddof=1) * scale + samples.mean()
        interval = stats.mean_sequence(again)
        return interval is not None and interval.high < limit

    assert clears(needed + 1)
    assert needed == n or not clears(needed - 1)


def test_a_limit_at_the_mean_is_never_cleared() -> None:
    assert stats.samples_to_clear([1.0, 3.0], 2.0) is None


def test_what_can_not_be_bounded_is_refused() -> None:
    with pytest.raises(MeasurementError, match="no samples"):
        stats.mean_sequence([])
    with pytest.raises(MeasurementError, match="not finite"):
        stats.samples_to_clear([1.0, math.nan], 0.0)
    with pytest.raises(MeasurementError, match="confidence is 1"):
        stats.mean_sequence([1.0, 2.0], 1.0)
