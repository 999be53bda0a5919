"""Held against SciPy, which computes all of these another way: by continued fractions and rational approximations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import special

from edgekd.stats.distributions import binomial, least_share, normal_quantile, t_quantile

# From what one asks of an interval to what Holm's procedure asks of the surest of a thousand.
CONFIDENCES = (0.5, 0.9, 0.95, 0.99, 0.999, 1 - 1e-5)


@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_quantile_of_the_normal_distribution(confidence: float) -> None:
    assert normal_quantile(confidence) == pytest.approx(special.ndtri((1 + confidence) / 2), rel=1e-12)


@pytest.mark.parametrize("confidence", CONFIDENCES)
@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 9, 10, 29, 30, 999, 9999, 10_000])
def test_students_quantile(degrees: int, confidence: float) -> None:
    assert t_quantile(degrees, confidence) == pytest.approx(special.stdtrit(degrees, (1 + confidence) / 2), rel=1e-9)


@pytest.mark.parametrize("p", [0.001, 0.1, 0.5, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("n", [1, 2, 7, 100, 10_000, 100_000])
def test_both_tails_of_the_binomial_distribution(n: int, p: float) -> None:
    found, counts = binomial(n, p), np.arange(n + 1)
    for ours, wanted in (
        (np.cumsum(found), special.bdtr(counts, n, p)),
        (np.cumsum(found[:0:-1])[::-1], special.bdtrc(counts[:-1], n, p)),
    ):
        seen = wanted > 1e-12
        np.testing.assert_allclose(ours[seen], wanted[seen], rtol=1e-8)


@given(
    n=st.integers(1, 20_000),
    share=st.floats(0, 1),
    tail=st.floats(1e-9, 0.5),
)
@example(n=8219, share=0.609375, tail=0.5)  # of which too large a p overflows
@settings(deadline=None, max_examples=300)
def test_the_share_that_makes_so_many_just_likely_enough(n: int, share: float, tail: float) -> None:
    successes = max(1, round(share * n))
    found = least_share(successes, n, tail)
    assert found == pytest.approx(special.betaincinv(successes, n - successes + 1, tail), rel=1e-8)
