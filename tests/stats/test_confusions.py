"""Matthews' correlation and macro F1 against scikit-learn, and how often their intervals miss."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from edgekd import stats
from edgekd.errors import MeasurementError

KINDS = {
    "mcc": (stats.mcc, stats.mcc_interval, stats.mcc_drop_interval, metrics.matthews_corrcoef),
    "macro_f1": (
        stats.macro_f1,
        stats.macro_f1_interval,
        stats.macro_f1_drop_interval,
        lambda true, predicted: metrics.f1_score(true, predicted, average="macro"),
    ),
}


def draw(rng: np.random.Generator, n: int, right: float, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    true = rng.choice(classes, n, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    guess = rng.integers(0, classes, n)
    return np.where(rng.uniform(size=n) < right, true, guess).astype(float), true.astype(float)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("classes", [2, 3, 9])
def test_a_score_is_scikit_learn_s_and_so_is_that_of_a_drop(name: str, classes: int) -> None:
    score, interval, drop, reference = KINDS[name]
    rng = np.random.default_rng(classes)
    one, true = draw(rng, 400, 0.8, classes)
    two = np.where(rng.uniform(size=400) < 0.9, one, rng.integers(0, classes, 400)).astype(float)
    assert score(one, true) == pytest.approx(reference(true, one), rel=1e-12)
    assert interval(one, true).estimate == score(one, true)
    lost = reference(true, one) - reference(true, two)
    assert drop(one, two, true).estimate == pytest.approx(lost)
    assert drop(one, two, true, relative=True).estimate == pytest.approx(lost / reference(true, one))


@pytest.mark.parametrize("name", KINDS)
def test_the_error_is_that_of_leaving_out_each_sample(name: str) -> None:
    """The jackknife by its definition, sample by sample, with scikit-learn's scores."""
    _, interval, _, reference = KINDS[name]
    one, true = draw(np.random.default_rng(5), 60, 0.7)
    without = np.array([reference(np.delete(true, i), np.delete(one, i)) for i in range(60)])
    error = np.sqrt(59 / 60 * ((without - without.mean()) ** 2).sum())
    found = interval(one, true)
    scale = 1 if name == "mcc" else 2
    value = found.estimate if name == "mcc" else 2 * found.estimate - 1
    low, high = (np.tanh(np.arctanh(value) + sign * 1.959964 * scale * error / (1 - value**2)) for sign in (-1, 1))
    low, high = (low, high) if name == "mcc" else ((low + 1) / 2, (high + 1) / 2)
    # Each end counts one sample more, the worst there could be: here that moves it by little, and never inwards.
    assert low - 0.08 < found.low <= low + 1e-6
    assert high - 1e-6 <= found.high < high + 0.04


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("right", [0.0, 0.6, 0.95])
def test_intervals_miss_no_more_often_than_they_say(name: str, right: float) -> None:
    score, interval, drop, _ = KINDS[name]
    rng = np.random.default_rng(8)

    def two_models(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        one, true = draw(rng, n, right)
        return one, np.where(rng.uniform(size=n) < 0.9, one, rng.integers(0, 3, n)).astype(float), true

    one, two, true = two_models(200_000)
    truth, lost = score(one, true), score(one, true) - score(two, true)
    missed = {"alone": 0, "drop": 0}
    for _ in range(200):
        one, two, true = two_models(150)
        alone, found = interval(one, true), drop(one, two, true)
        missed["alone"] += not alone.low <= truth <= alone.high
        missed["drop"] += not found.low <= lost <= found.high
    # 5 % of 200; 21 or more would be seen once in a thousand times.
    assert max(missed.values()) <= 20, missed


@pytest.mark.parametrize("name", KINDS)
def test_a_few_answers_that_are_all_right_prove_no_perfect_model(name: str) -> None:
    _, interval, drop, _ = KINDS[name]
    true = np.array([0.0, 1.0] * 5)
    found = interval(true, true)
    assert found.estimate == found.high == 1
    assert found.low < 0.9
    assert drop(true, true, true).low < 0 < drop(true, true, true).high


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=40), st.sampled_from([*KINDS]))
def test_ends_lie_around_the_estimate_whatever_there_is(pairs: list[tuple[int, int]], name: str) -> None:
    score, interval, _, _ = KINDS[name]
    one, true = (np.array(each, dtype=float) for each in zip(*pairs, strict=True))
    found = interval(one, true)
    assert (-1 if name == "mcc" else 0) <= found.low <= found.estimate <= found.high <= 1
    assert found.estimate == score(one, true)
    wider = interval(one, true, 0.99)
    assert wider.low <= found.low + 1e-12
    assert wider.high >= found.high - 1e-12


def test_what_are_no_classes_is_refused() -> None:
    with pytest.raises(MeasurementError, match="2 and 1 samples can't be paired"):
        stats.mcc([0, 1], [0])
    with pytest.raises(MeasurementError, match="allowed: whole numbers from 0 on"):
        stats.macro_f1([0.5, 1], [0, 1])
    with pytest.raises(MeasurementError, match="one sample says nothing"):
        stats.mcc_interval([1], [1])
