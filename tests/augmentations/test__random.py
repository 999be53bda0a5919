"""The draws of augmentations: uniform, independent, and a function of their arguments alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import special, stats

from edgekd.augmentations._random import beta, uniform

COUNT = 200_000
MASK = 2**64 - 1


def splitmix(seed: int, view: int, index: int, stream: int) -> float:
    """SplitMix64's finalizer in Python's own unbounded integers."""

    def mix(state: int) -> int:
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
        return state ^ (state >> 31)

    key = 0
    for part in (seed, view, stream):
        key = mix(((key ^ part) + 0x9E3779B97F4A7C15) & MASK)
    return (mix((key + index * 0x9E3779B97F4A7C15) & MASK) >> 40) / 2**24


def draw(seed: int = 0, view: int = 0, stream: int = 0, count: int = COUNT) -> NDArray[np.float64]:
    drawn: NDArray[np.float64] = uniform(seed, view, torch.arange(count), stream).double().numpy()
    return drawn


@settings(deadline=None)
@given(st.integers(0, 2**63 - 1), st.integers(0, 10**6), st.integers(0, 2**40), st.integers(0, 9))
def test_equals_splitmix64_in_unbounded_integers(seed: int, view: int, index: int, stream: int) -> None:
    found = uniform(seed, view, torch.tensor([index]), stream)
    assert float(found) == splitmix(seed, view, index, stream)
    assert 0 <= float(found) < 1


def test_mixing_gives_the_published_sequence() -> None:
    # First outputs of SplitMix64 with seed 0, as in the reference C code's test vectors (Vigna, prng.di.unimi.it).
    from edgekd.augmentations._random import _GAMMA, _mix, _signed

    states = torch.tensor([_signed(_GAMMA * step) for step in (1, 2, 3)])
    assert [int(each) & MASK for each in _mix(states)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


@pytest.mark.parametrize(("seed", "view", "stream"), [(0, 0, 0), (0, 1, 0), (1, 0, 2), (2**62, 999, 1)])
def test_is_uniform_on_the_unit_interval(seed: int, view: int, stream: int) -> None:
    draws = draw(seed, view, stream)
    assert stats.kstest(draws, "uniform").pvalue > 1e-4
    assert draws.mean() == pytest.approx(1 / 2, abs=5 / np.sqrt(12 * COUNT))
    assert draws.var() == pytest.approx(1 / 12, rel=0.02)


def test_streams_views_seeds_and_neighbours_are_not_correlated() -> None:
    many = [draw(seed, view, stream) for seed, view, stream in itertools.product((0, 1), (0, 1), (0, 1, 2))]
    many.append(np.roll(many[0], 1))
    correlations = np.asarray(np.corrcoef(many))[np.triu_indices(len(many), 1)]
    # 78 correlations of standard deviation 1 / sqrt(n) each.
    assert np.abs(correlations).max() < 5 / np.sqrt(COUNT)


def test_differences_of_streams_are_those_of_independent_draws() -> None:
    # Correlation sees linear dependence only: the cells of a square must fill evenly.
    cells, *_ = np.histogram2d(draw(stream=0), draw(stream=1), bins=20, range=[[0, 1], [0, 1]])
    assert stats.chisquare(cells.ravel()).pvalue > 1e-4


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 3.0])
def test_beta_is_the_quantile_of_the_uniform_draw(alpha: float) -> None:
    indices = torch.arange(5000)
    level = uniform(7, 3, indices, 11).double().numpy()
    found = beta(7, 3, indices, stream=11, alpha=alpha).double().numpy()
    # To a 4096th of probability: between the quantiles of the cell's two ends.
    low, high = np.floor(level * 4096) / 4096, np.ceil(level * 4096 + 1e-9) / 4096
    assert (found >= special.betaincinv(alpha, alpha, low) - 1e-6).all()
    assert (found <= special.betaincinv(alpha, alpha, np.minimum(high, 1)) + 1e-6).all()


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 3.0])
def test_beta_has_the_moments_of_the_distribution(alpha: float) -> None:
    drawn = beta(0, 0, torch.arange(COUNT), stream=0, alpha=alpha).double().numpy()
    expected = stats.beta(alpha, alpha)
    for order in (1, 2, 4):
        spread = np.sqrt((expected.moment(2 * order) - expected.moment(order) ** 2) / COUNT)
        assert (drawn**order).mean() == pytest.approx(expected.moment(order), abs=5 * spread)
