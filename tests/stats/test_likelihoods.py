"""Perplexity and bits per byte against their formulas in NumPy, and how often their intervals miss."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd import stats
from edgekd.errors import MeasurementError

RNG = np.random.default_rng(7)
NATS, COUNTS = RNG.gamma(9.0, 0.3, 60), RNG.integers(3, 90, 60).astype(float)
WORSE = NATS + RNG.normal(0.05, 0.04, 60)


def test_a_perplexity_is_that_of_all_tokens_together() -> None:
    tokens = np.concatenate([np.full(int(n), x) for x, n in zip(NATS, COUNTS, strict=True)])
    assert stats.perplexity(NATS, COUNTS) == pytest.approx(np.exp(tokens.mean()), rel=1e-12)
    assert stats.bits_per_byte(NATS, COUNTS) == pytest.approx(tokens.mean() / np.log(2), rel=1e-12)
    for interval, value in (
        (stats.perplexity_interval(NATS, COUNTS), stats.perplexity(NATS, COUNTS)),
        (stats.bits_interval(NATS, COUNTS), stats.bits_per_byte(NATS, COUNTS)),
    ):
        assert interval.low < interval.estimate < interval.high
        assert interval.estimate == pytest.approx(value, rel=1e-12)


def test_a_uniform_guess_is_as_perplexed_as_its_vocabulary_is_large() -> None:
    assert stats.perplexity([math.log(512)] * 3, [7, 1, 40]) == pytest.approx(512)


def test_drops_are_differences_and_shares_of_the_reference() -> None:
    before, after = stats.perplexity(NATS, COUNTS), stats.perplexity(WORSE, COUNTS)
    found = stats.perplexity_drop_interval(NATS, WORSE, COUNTS)
    share = stats.perplexity_drop_interval(NATS, WORSE, COUNTS, relative=True)
    assert found.estimate == pytest.approx(before - after)
    assert share.estimate == pytest.approx(1 - after / before)
    bits = stats.bits_drop_interval(NATS, WORSE, COUNTS)
    of_bits = stats.bits_drop_interval(NATS, WORSE, COUNTS, relative=True)
    assert bits.estimate == pytest.approx(stats.bits_per_byte(NATS, COUNTS) - stats.bits_per_byte(WORSE, COUNTS))
    assert of_bits.estimate == pytest.approx(1 - stats.bits_per_byte(WORSE, COUNTS) / stats.bits_per_byte(NATS, COUNTS))
    for each in (found, share, bits, of_bits):
        assert each.low < each.estimate < each.high < 0, "pairing shows so small a loss"
    # Without pairing the two could not be told apart.
    assert stats.perplexity_interval(NATS, COUNTS).high > after


@pytest.mark.parametrize("relative", [False, True])
def test_intervals_miss_no_more_often_than_they_say(relative: bool) -> None:
    """Windows of other lengths, whose likelihood depends on their length: the truth is that of very many of them."""
    rng = np.random.default_rng(3)

    def draw(windows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        counts = rng.integers(5, 200, windows).astype(float)
        nats = rng.gamma(16.0, 0.12, windows) + 10 / counts
        return nats, nats + rng.normal(0.04, 0.1, windows) + 1 / counts, counts

    one, two, counts = draw(1_000_000)
    truth, other = stats.perplexity(one, counts), stats.perplexity(two, counts)
    drop = 1 - other / truth if relative else truth - other
    missed = {"alone": 0, "drop": 0}
    for _ in range(1000):
        one, two, counts = draw(100)
        alone = stats.perplexity_interval(one, counts)
        lost = stats.perplexity_drop_interval(one, two, counts, relative=relative)
        missed["alone"] += not alone.low <= truth <= alone.high
        missed["drop"] += not lost.low <= drop <= lost.high
    # 5 % of 1000; 74 or more would be seen once in a thousand times.
    assert max(missed.values()) <= 73, missed


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0, 20), st.floats(0, 20), st.integers(1, 4000)), min_size=2, max_size=30),
    st.sampled_from([0.5, 0.9, 0.95, 0.99]),
)
def test_more_confidence_is_never_narrower_and_what_is_lost_one_way_is_won_the_other(
    windows: list[tuple[float, float, int]], confidence: float
) -> None:
    one, two, counts = (np.array(each, dtype=np.float64) for each in zip(*windows, strict=True))
    try:
        found = stats.perplexity_interval(one, counts, confidence)
        wider = stats.perplexity_interval(one, counts, 1 - (1 - confidence) / 2)
        there = stats.perplexity_drop_interval(one, two, counts, confidence)
        back = stats.perplexity_drop_interval(two, one, counts, confidence)
    except MeasurementError:
        return  # windows of such lengths that their mean length is unsure, or nats past all numbers
    assert 1 <= found.low <= found.estimate <= found.high
    assert wider.low <= found.low * (1 + 1e-9)
    assert wider.high >= found.high * (1 - 1e-9)
    assert there.low == pytest.approx(-back.high, rel=1e-6, abs=1e-6)
    assert there.low <= there.estimate <= there.high


@pytest.mark.parametrize(
    ("nats", "counts", "words"),
    [
        ([1.0, 2.0], [1.0], "2 and 1 samples can't be paired"),
        ([1.0, 2.0], [1.0, 0.0], "a window of 0 tokens or bytes; allowed: 1 or more"),
        ([1.0], [5.0], "one sample says nothing of the spread"),
        ([1.0, math.nan], [5.0, 5.0], "1 of 2 samples are not finite"),
        ([900.0, 900.0], [5.0, 5.0], "e to the power of 900 nats is no number"),
    ],
)
def test_what_can_not_be_is_refused(nats: list[float], counts: list[float], words: str) -> None:
    with pytest.raises(MeasurementError, match=words):
        stats.perplexity_interval(nats, counts)
