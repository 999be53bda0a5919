"""Rank correlations against SciPy and formulas in float64, and how often their intervals miss."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from edgekd import stats
from edgekd.errors import MeasurementError


@pytest.mark.parametrize("digits", [None, 1, 0])
def test_a_correlation_is_scipy_s_with_and_without_ties(digits: int | None) -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=300)
    one, two = true + rng.normal(size=300), true + 2 * rng.normal(size=300)
    if digits is not None:
        true, one, two = (each.round(digits) for each in (true, one, two))
    r, s = (scipy_stats.spearmanr(each, true).statistic for each in (one, two))
    assert stats.spearman(one, true) == pytest.approx(r, rel=1e-12)
    assert stats.spearman_interval(one, true).estimate == stats.spearman(one, true)
    assert stats.spearman_drop_interval(one, two, true).estimate == pytest.approx(r - s)
    assert stats.spearman_drop_interval(one, two, true, relative=True).estimate == pytest.approx(1 - s / r)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_ends_are_those_of_bonett_and_wright(confidence: float) -> None:
    rng = np.random.default_rng(1)
    true = rng.normal(size=80)
    predicted = true + rng.normal(size=80)
    r = scipy_stats.spearmanr(predicted, true).statistic
    half = scipy_stats.norm.ppf((1 + confidence) / 2) * math.sqrt((1 + r**2 / 2) / 77)
    found = stats.spearman_interval(predicted, true, confidence)
    np.testing.assert_allclose((found.low, found.high), np.tanh(np.arctanh(r) + half * np.array([-1, 1])), rtol=1e-9)


def test_a_drop_is_bounded_as_zou_has_it() -> None:
    """Of Zou 2007: both ends from those of each correlation, and how far the two go together."""
    rng = np.random.default_rng(2)
    true = rng.normal(size=66)
    one = true + 0.7 * rng.normal(size=66)
    two = one + 0.9 * rng.normal(size=66)
    r, s, t = (scipy_stats.spearmanr(*each).statistic for each in ((one, true), (two, true), (one, two)))
    c = ((t - r * s / 2) * (1 - r**2 - s**2 - t**2) + t**3) / ((1 - r**2) * (1 - s**2))
    a, b = (stats.spearman_interval(each, true) for each in (one, two))
    low = r - s - math.sqrt((r - a.low) ** 2 + (b.high - s) ** 2 - 2 * c * (r - a.low) * (b.high - s))
    high = r - s + math.sqrt((a.high - r) ** 2 + (s - b.low) ** 2 - 2 * c * (a.high - r) * (s - b.low))
    found = stats.spearman_drop_interval(one, two, true)
    np.testing.assert_allclose((found.low, found.high), (low, high), rtol=1e-9)


@pytest.mark.parametrize(("noise", "n"), [(0.3, 20), (1.0, 100), (5.0, 20)])
def test_intervals_miss_no_more_often_than_they_say(noise: float, n: int) -> None:
    rng = np.random.default_rng(3)

    def two_models(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        true = rng.normal(size=count)
        one = true + noise * rng.normal(size=count)
        return one, one + 0.5 * noise * rng.normal(size=count), true

    one, two, true = two_models(100_000)
    truth, lost = stats.spearman(one, true), stats.spearman_drop_interval(one, two, true).estimate
    missed = {"alone": 0, "drop": 0}
    for _ in range(200):
        one, two, true = two_models(n)
        alone, found = stats.spearman_interval(one, true), stats.spearman_drop_interval(one, two, true)
        missed["alone"] += not alone.low <= truth <= alone.high
        missed["drop"] += not found.low <= lost <= found.high
    # 5 % of 200; 21 or more would be seen once in a thousand times.
    assert max(missed.values()) <= 20, missed


@pytest.mark.parametrize("sign", [1, -1])
def test_a_few_in_the_right_order_prove_no_perfect_one(sign: int) -> None:
    true = np.arange(8.0)
    found = stats.spearman_interval(sign * true, true)
    assert found.estimate == sign
    assert {found.low, found.high} & {float(sign)}
    assert min(abs(found.low), abs(found.high)) < 0.85
    drop = stats.spearman_drop_interval(sign * true, sign * true, true)
    assert drop.low < drop.estimate == 0 < drop.high


def test_a_model_that_says_always_the_same_ranks_nothing() -> None:
    found = stats.spearman_interval([2.0] * 30, np.arange(30.0))
    assert found.estimate == 0
    assert found.low < 0 < found.high


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=4, max_size=30), st.integers(-3, 3))
def test_ends_lie_around_the_estimate_whatever_there_is(pairs: list[tuple[int, int]], moved: int) -> None:
    predicted, true = (np.array(each, dtype=float) for each in zip(*pairs, strict=True))
    if true.min() == true.max():
        with pytest.raises(MeasurementError, match="all equal"):
            stats.spearman_interval(predicted, true)
        return
    found = stats.spearman_interval(predicted, true)
    assert -1 <= found.low <= found.estimate <= found.high <= 1
    assert found == stats.spearman_interval(np.exp(predicted) + moved, 3 * true), "only the order counts"
    wider = stats.spearman_interval(predicted, true, 0.99)
    assert wider.low <= found.low
    assert wider.high >= found.high
    drop = stats.spearman_drop_interval(predicted, predicted[::-1].copy(), true)
    assert -2 <= drop.low <= drop.estimate <= drop.high <= 2


def test_what_has_no_order_is_refused() -> None:
    with pytest.raises(MeasurementError, match="2 and 1 samples can't be paired"):
        stats.spearman([0, 1], [0])
    with pytest.raises(MeasurementError, match="3 samples say nothing of the spread; take 4 or more"):
        stats.spearman_interval([1, 2, 3], [1, 2, 3])
    with pytest.raises(MeasurementError, match="finite"):
        stats.spearman([math.nan, 1], [0, 1])
