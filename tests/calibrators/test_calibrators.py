"""Calibrators against NumPy on the numbers themselves, not on a histogram."""

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd import registry
from edgekd.errors import ConfigError
from edgekd.stats import Stream

RANDOM = np.random.default_rng(0)
NORMAL = RANDOM.normal(size=200_000).astype(np.float32)
RELU = np.maximum(NORMAL, 0)
OUTLIER = np.append(NORMAL, np.float32(60))


def limits(name: str, values: NDArray[np.float32], bits: int = 8, **options: float) -> tuple[float, float]:
    stream = Stream()
    for part in np.array_split(values, 50):
        stream.add(part)
    low, high = registry.function("calibrators", name)(stream=stream, bits=bits, **options)
    return low, high


def error(values: NDArray[np.float32], low: float, high: float, bits: int) -> float:
    """Mean squared error of asymmetric integers (Jacob et al. 2018, eq. 1), in float64."""
    exact = values.astype(np.float64)
    scale = (high - low) / (2**bits - 1)
    zero = np.round(-low / scale)
    quantized = np.clip(np.round(exact / scale) + zero, 0, 2**bits - 1)
    return float((((quantized - zero) * scale - exact) ** 2).mean())


def test_minmax_is_numpys() -> None:
    assert limits("minmax", OUTLIER) == (OUTLIER.min(), 60)


def test_moving_average_is_the_recurrence() -> None:
    expected = None
    for part in np.array_split(NORMAL, 50):
        ends = np.array([part.min(), part.max()], np.float64)
        expected = ends if expected is None else 0.9 * expected + 0.1 * ends
    assert expected is not None
    np.testing.assert_allclose(limits("moving_average", NORMAL), expected, rtol=1e-6)


@pytest.mark.parametrize("percentile", [90.0, 99.0, 99.9])
def test_percentile_is_numpys_to_within_a_bin(percentile: float) -> None:
    outside = (100 - percentile) / 2
    expected = np.percentile(NORMAL.astype(np.float64), [outside, 100 - outside])
    # Extremes of one batch decide the first width, so a bin is no wider than this.
    np.testing.assert_allclose(limits("percentile", NORMAL, percentile=percentile), expected, atol=16 / 2048)


def test_percentile_keeps_the_zeros_of_a_relu() -> None:
    assert limits("percentile", RELU, percentile=99.0)[0] == 0


@pytest.mark.parametrize("percentile", [50.0, 100.1])
def test_percentile_out_of_range_is_refused(percentile: float) -> None:
    with pytest.raises(ConfigError, match="above 50, 100 at most"):
        limits("percentile", NORMAL, percentile=percentile)


@pytest.mark.parametrize("values", [NORMAL, RELU, OUTLIER])
@pytest.mark.parametrize("bits", [4, 8])
def test_mse_is_near_the_best_of_a_grid(values: NDArray[np.float32], bits: int) -> None:
    low, high = limits("mse", values, bits)
    shares = np.linspace(0.02, 1, 50)
    best = min(
        error(values, float(values.min()) * lower, float(values.max()) * upper, bits)
        for lower in (shares if values.min() < 0 else [0.0])
        for upper in shares[::2]
    )
    assert error(values, low, high, bits) <= 1.1 * best
    assert error(values, low, high, bits) <= error(values, float(values.min()), float(values.max()), bits)


def test_entropy_clips_an_outlier_and_keeps_the_rest() -> None:
    low, high = limits("entropy", OUTLIER)
    assert 3 < high < 30
    assert low == pytest.approx(max(-high, float(OUTLIER.min())))
    assert error(OUTLIER, low, high, 8) != error(OUTLIER, float(OUTLIER.min()), 60, 8)


def test_entropy_keeps_a_uniform_distribution_whole() -> None:
    uniform = RANDOM.uniform(0, 1, 100_000).astype(np.float32)
    low, high = limits("entropy", uniform)
    assert low == pytest.approx(0, abs=1e-3)
    assert high > 0.9


@pytest.mark.parametrize("name", registry.names("calibrators"))
def test_all_zeros_have_a_range(name: str) -> None:
    assert limits(name, np.zeros(1000, np.float32)) == (0, 0)
