"""Quantiles against SciPy and the exact coverage that the binomial distribution gives."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from edgekd import stats
from edgekd.errors import MeasurementError


@pytest.mark.parametrize(("q", "runs"), [(0.9, 46), (0.95, 93), (0.99, 473)])
def test_runs_needed_are_those_of_the_one_exceedance_rule(q: float, runs: int) -> None:
    assert stats.runs_needed(q) == runs
    assert scipy_stats.binom.cdf(1, runs, 1 - q) <= 0.05 < scipy_stats.binom.cdf(1, runs - 1, 1 - q)


@given(q=st.floats(0.01, 0.999), confidence=st.floats(0.5, 0.999))
def test_runs_needed_are_enough_for_an_interval(q: float, confidence: float) -> None:
    runs = stats.runs_needed(q, confidence)
    interval = stats.quantile_interval(np.arange(runs, dtype=float), q, confidence)
    assert interval.low <= interval.estimate <= interval.high


def test_supported_quantiles_grow_with_the_runs() -> None:
    assert [stats.supported_quantiles(n) for n in (7, 8, 45, 46, 472, 473)] == [
        (),
        ("p50",),
        ("p50",),
        ("p50", "p90"),
        ("p50", "p90"),
        ("p50", "p90", "p99"),
    ]


@pytest.mark.parametrize(
    ("n", "q", "confidence"),
    [
        (n, q, confidence)
        for n in (50, 93, 100, 473, 1000)
        for q in (0.5, 0.9, 0.95, 0.99)
        for confidence in (0.9, 0.95, 0.99)
        if n >= stats.runs_needed(q, confidence)
    ],
)
def test_quantile_interval_agrees_with_scipy(n: int, q: float, confidence: float) -> None:
    samples = np.random.default_rng(n).lognormal(size=n)
    # SciPy's one-sided intervals, at half the miss each, are the two ends of the two-sided one.
    level = 1 - (1 - confidence) / 2
    ends: list[Any] = [  # SciPy's type stubs say that these are floats
        scipy_stats.quantile_test(samples, p=q, alternative=each).confidence_interval(level)
        for each in ("greater", "less")
    ]
    interval = stats.quantile_interval(samples, q, confidence)
    assert (interval.low, interval.high) == (ends[0].low, ends[1].high)
    assert interval.estimate == np.percentile(samples, 100 * q)


@pytest.mark.parametrize(("q", "n"), [(0.5, 8), (0.5, 101), (0.9, 46), (0.9, 200), (0.99, 473), (0.99, 1000)])
def test_quantile_interval_covers_what_it_claims(q: float, n: int) -> None:
    interval = stats.quantile_interval(np.arange(1, n + 1, dtype=float), q)  # of ranks, so that it gives ranks
    below = scipy_stats.binom.cdf(interval.low - 1, n, q)  # the quantile lies below the lower end
    above = scipy_stats.binom.sf(interval.high - 1, n, q)
    assert below <= 0.025
    assert above <= 0.025
    assert scipy_stats.binom.cdf(interval.low, n, q) > 0.025, "a higher lower end would do"
    assert scipy_stats.binom.sf(interval.high - 2, n, q) > 0.025, "a lower upper end would do"


@given(st.lists(st.floats(-1e6, 1e6), min_size=46, max_size=80), st.floats(0.25, 0.9))
def test_quantile_interval_holds_its_estimate_and_two_samples(samples: list[float], q: float) -> None:
    interval = stats.quantile_interval(samples, q)
    assert interval.low <= interval.estimate <= interval.high
    assert {interval.low, interval.high} <= set(samples)
    assert interval == stats.quantile_interval(samples[::-1], q)


def test_too_few_samples_name_the_number_that_is_enough() -> None:
    with pytest.raises(MeasurementError, match=r"35 samples are too few.*take 46 or more"):
        stats.quantile_interval([1.0] * 35, 0.9)
    assert stats.quantile_interval([1.0] * 36, 0.9).high == 1.0  # 0.9^36 <= 0.025 < 0.9^35


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.quantile_interval([], 0.5), "no samples"),
        (lambda: stats.quantile_interval([1.0, math.nan, math.inf], 0.5), "2 of 3 samples are not finite"),
        (lambda: stats.quantile_interval(np.ones((2, 2)), 0.5), r"shape \(2, 2\)"),
        (lambda: stats.quantile_interval([1.0] * 99, 1.0), "quantile is 1.0"),
        (lambda: stats.quantile_interval([1.0] * 99, 0.5, 0.0), "confidence is 0.0"),
        (lambda: stats.runs_needed(0.0), "quantile is 0.0"),
        (lambda: stats.runs_needed(0.5, 1.0), "confidence is 1.0"),
    ],
)
def test_quantiles_of_nothing_are_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(MeasurementError, match=message):
        call()


# --- in the order in which they came ---------------------------------------------------------------


def _spells(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Runs of a machine that is now and then busy for some twenty of them, as a hidden chain of two states."""
    busy = np.empty(count, bool)
    state = rng.uniform() < 0.25
    for at in range(count):
        state = (rng.uniform() > 0.05) if state else (rng.uniform() < 0.05 / 3)
        busy[at] = state
    return np.where(busy, 2.0, 1.0) + rng.exponential(0.2, count)


def test_runs_that_come_in_spells_are_fewer_than_they_look() -> None:
    rng = np.random.default_rng(0)
    truth = float(np.quantile(np.concatenate([_spells(rng, 5000) for _ in range(40)]), 0.9))
    missed = {stats.quantile_interval: 0, stats.series_quantile_interval: 0}
    for _ in range(300):
        runs = _spells(rng, 1000)
        for bound in missed:
            found = bound(runs, 0.9)
            missed[bound] += not found.low <= truth <= found.high
    assert missed[stats.quantile_interval] > 75  # a quarter, where one in twenty is stated
    assert missed[stats.series_quantile_interval] <= 30


@given(st.integers(0, 2**32), st.integers(50, 2000), st.sampled_from([0.5, 0.9, 0.95]))
def test_the_order_never_makes_it_narrower(seed: int, count: int, q: float) -> None:
    runs = np.random.default_rng(seed).lognormal(size=count)
    if count < stats.runs_needed(q):
        return
    exact, series = stats.quantile_interval(runs, q), stats.series_quantile_interval(runs, q)
    assert series.low <= exact.low <= exact.estimate == series.estimate <= exact.high <= series.high


def test_a_handful_has_no_order_to_speak_of() -> None:
    runs = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
    assert stats.series_quantile_interval(runs, 0.5) == stats.quantile_interval(runs, 0.5)
