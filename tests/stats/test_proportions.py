"""Proportions and drops against SciPy, published tables and the exact coverage that enumeration gives."""

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

Floats = npt.NDArray[np.float64]
Paired = Callable[[Floats, Floats, float], stats.Interval]


def _pairs(both: int, reference: int, candidate: int, neither: int) -> tuple[Floats, Floats]:
    counts = [both, reference, candidate, neither]
    return np.repeat([1.0, 1, 0, 0], counts), np.repeat([1.0, 0, 1, 0], counts)


# --- proportions -----------------------------------------------------------------------------------


@given(st.integers(1, 3000), st.floats(0, 1), st.floats(0.5, 0.999))
def test_proportion_interval_agrees_with_scipy(n: int, share: float, confidence: float) -> None:
    successes = round(share * n)
    expected = scipy_stats.binomtest(successes, n).proportion_ci(confidence, method="exact")
    interval = stats.proportion_interval(successes, n, confidence)
    assert interval.estimate == successes / n
    np.testing.assert_allclose([interval.low, interval.high], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n", [5, 30, 200])
def test_proportion_interval_never_covers_less_than_it_claims(n: int) -> None:
    successes = np.arange(n + 1)
    intervals = [stats.proportion_interval(int(k), n) for k in successes]
    low, high = np.array([each.low for each in intervals]), np.array([each.high for each in intervals])
    for p in np.linspace(0.005, 0.995, 199):
        missed = scipy_stats.binom.pmf(successes, n, p)
        assert missed[low > p].sum() <= 0.025 + 1e-12
        assert missed[high < p].sum() <= 0.025 + 1e-12


# --- paired differences ----------------------------------------------------------------------------

# Newcombe (1998), Statistics in Medicine 17:2635-2650, table III, method 10: e, f, g, h, low, high.
NEWCOMBE = [
    (36, 12, 2, 0, 0.0569, 0.3404),
    (20, 12, 2, 16, 0.0562, 0.3292),
    (18, 12, 2, 18, 0.0562, 0.3290),
    (36, 14, 0, 0, 0.1528, 0.4167),
    (35, 14, 0, 1, 0.1461, 0.4175),
    (18, 14, 0, 18, 0.1441, 0.3963),
    (2, 97, 1, 0, 0.8721, 0.9854),
    (1, 97, 1, 1, 0.8736, 0.9850),
    (0, 29, 1, 0, 0.6666, 0.9882),
    (2, 98, 0, 0, 0.9178, 0.9945),
    (1, 98, 0, 1, 0.9171, 0.9916),
    (0, 30, 0, 0, 0.8395, 1.0),
    (54, 0, 0, 0, -0.0664, 0.0664),
    (53, 0, 0, 1, -0.0729, 0.0729),
    (30, 0, 0, 24, -0.0358, 0.0358),
    (29, 0, 0, 25, -0.0354, 0.0354),
    (28, 0, 0, 26, -0.0352, 0.0352),
    (27, 0, 0, 27, -0.0351, 0.0351),
]


@pytest.mark.parametrize("row", NEWCOMBE)
def test_paired_drop_reproduces_the_published_table(row: tuple[int, int, int, int, float, float]) -> None:
    both, reference, candidate, neither, low, high = row
    interval = stats.paired_drop_interval(*_pairs(both, reference, candidate, neither))
    assert interval.estimate == pytest.approx((reference - candidate) / (both + reference + candidate + neither))
    # One figure differs by one in its last digit: 0.8736 in the table, 0.8737 by the formula.
    np.testing.assert_allclose([interval.low, interval.high], [low, high], atol=1e-4)


def test_drops_agree_with_a_published_clinical_example() -> None:
    # Cavo et al. (2012) in Fagerland, Lydersen & Laake (2017), chapter 8: 59, 6, 16, 80.
    absolute = stats.paired_drop_interval(*_pairs(59, 6, 16, 80))
    np.testing.assert_allclose([absolute.estimate, absolute.low, absolute.high], [-0.0621, -0.1186, -0.0046], atol=5e-5)
    relative = stats.relative_drop_interval(*_pairs(59, 16, 6, 80))
    ratio = 1 - np.array([relative.high, relative.estimate, relative.low])
    # Theirs, 0.7592 to 0.9866, leaves phi uncorrected and so is a little narrower.
    assert 0.7592 - 0.005 < ratio[0] < 0.7592
    assert ratio[1] == pytest.approx(0.8667, abs=5e-5)
    assert 0.9866 < ratio[2] < 0.9866 + 0.005


@pytest.mark.parametrize("cells", [(36, 12, 2, 0), (59, 16, 6, 80), (3, 5, 1, 4), (1, 0, 1, 9), (900, 60, 20, 20)])
def test_relative_drop_ends_where_the_hybrid_interval_touches_zero(cells: tuple[int, int, int, int]) -> None:
    e, f, g, h = cells
    n = sum(cells)
    ends = [scipy_stats.binomtest(k, n).proportion_ci(method="wilson") for k in (e + f, e + g)]
    (low1, high1), (low2, high2) = [(end.low, end.high) for end in ends]
    p1, p2 = (e + f) / n, (e + g) / n
    covariance = e * h - f * g
    phi = (max(covariance - n / 2, 0) if covariance > 0 else covariance) / math.sqrt(
        (e + f) * (g + h) * (e + g) * (f + h)
    )

    def touching(gap1: float, gap2: float) -> Callable[[float], float]:
        return lambda r: (p2 - r * p1) ** 2 - (gap2**2 - 2 * phi * gap2 * r * gap1 + (r * gap1) ** 2)

    lowest = optimize.brentq(touching(high1 - p1, p2 - low2), 0, p2 / p1, xtol=1e-14)
    highest = optimize.brentq(touching(p1 - low1, high2 - p2), p2 / p1, 1e6, xtol=1e-12)
    interval = stats.relative_drop_interval(*_pairs(*cells))
    np.testing.assert_allclose([interval.low, interval.high], [1 - highest, 1 - lowest], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("measure", "truth"),
    [
        (stats.paired_drop_interval, lambda p: p[1] - p[2]),
        (stats.relative_drop_interval, lambda p: (p[1] - p[2]) / (p[0] + p[1])),
    ],
)
@pytest.mark.parametrize(
    "shares", [(0.85, 0.06, 0.03, 0.06), (0.9, 0.02, 0.02, 0.06), (0.5, 0.2, 0.1, 0.2), (0.6, 0.15, 0.0, 0.25)]
)
def test_drop_intervals_cover_in_simulation(
    measure: Paired, truth: Callable[[tuple[float, ...]], float], shares: tuple[float, float, float, float]
) -> None:
    draws = np.random.default_rng(0).multinomial(200, shares, size=4000)
    tables, counts = np.unique(draws, axis=0, return_counts=True)
    intervals = [measure(*_pairs(*map(int, table)), 0.95) for table in tables]
    hit = np.array([each.low <= truth(shares) <= each.high for each in intervals])
    # The method is approximate; 4000 draws have a standard error of 0.0035.
    assert counts[hit].sum() / counts.sum() > 0.935


cells = st.tuples(*[st.integers(0, 60)] * 4).filter(lambda each: each[0] + each[1] > 0)


@given(cells)
def test_drop_intervals_hold_their_estimate_and_stay_in_range(counts: tuple[int, int, int, int]) -> None:
    absolute = stats.paired_drop_interval(*_pairs(*counts))
    relative = stats.relative_drop_interval(*_pairs(*counts))
    assert -1 <= absolute.low <= absolute.estimate <= absolute.high <= 1
    assert relative.low <= relative.estimate <= relative.high <= 1
    assert absolute.low < absolute.high
    assert relative.low < relative.high
    assert math.copysign(1, relative.estimate) == math.copysign(1, absolute.estimate) or absolute.estimate == 0


@given(cells, st.floats(0.5, 0.98))
def test_more_confidence_is_a_wider_interval(counts: tuple[int, int, int, int], confidence: float) -> None:
    narrow = stats.paired_drop_interval(*_pairs(*counts), confidence)
    wide = stats.paired_drop_interval(*_pairs(*counts), confidence + 0.01)
    assert wide.low <= narrow.low <= narrow.high <= wide.high


@given(cells)
def test_drop_changes_sign_when_the_models_swap(counts: tuple[int, int, int, int]) -> None:
    one, two = _pairs(*counts)
    forth, back = stats.paired_drop_interval(one, two), stats.paired_drop_interval(two, one)
    np.testing.assert_allclose(
        [back.estimate, back.low, back.high], [-forth.estimate, -forth.high, -forth.low], atol=1e-12
    )


# --- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.proportion_interval(0, 0), "0 of 0 is no proportion"),
        (lambda: stats.proportion_interval(3, 2), "3 of 2 is no proportion"),
        (lambda: stats.proportion_interval(-1, 2), "-1 of 2 is no proportion"),
        (lambda: stats.proportion_interval(1, 2, math.nan), "confidence is nan"),
        (lambda: stats.paired_drop_interval([], []), "no samples"),
        (lambda: stats.paired_drop_interval([1, 0], [1]), "2 and 1 samples can't be paired"),
        (lambda: stats.paired_drop_interval([1, 0], [1, 0.5]), "other values"),
        (lambda: stats.paired_drop_interval([1, 0], [1, math.nan]), "not finite"),
        (lambda: stats.relative_drop_interval([0, 0], [1, 0]), "the reference is never right"),
    ],
)
def test_proportions_of_nothing_are_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(MeasurementError, match=message):
        call()
