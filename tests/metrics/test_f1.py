from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.errors import DataError
from edgekd.metrics.f1 import score


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 6))
def test_is_the_harmonic_mean_of_precision_and_recall(seed: int, n: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    outputs, labels = rng.normal(size=(n, classes)), rng.integers(0, 2, (n, classes))
    expected = []
    for row, wanted in zip(outputs > 0, labels == 1, strict=True):
        hits = float(np.count_nonzero(row & wanted))
        if not row.any() and not wanted.any():
            expected.append(1.0)
        elif hits == 0:
            expected.append(0.0)
        else:
            precision, recall = hits / np.count_nonzero(row), hits / np.count_nonzero(wanted)
            expected.append(2 / (1 / precision + 1 / recall))
    np.testing.assert_allclose(score(outputs=outputs, labels=labels), expected, rtol=1e-12)


def test_agrees_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    outputs, labels = rng.normal(-0.5, 1, (400, 5)), rng.random((400, 5)) < 0.2
    expected = metrics.f1_score(labels, outputs > 0, average="samples", zero_division=1.0)
    assert not labels.any(axis=1).all(), "some samples have no label"
    assert score(outputs=outputs, labels=labels.astype(int)).mean() == pytest.approx(expected, rel=1e-12)


def test_outputs_that_are_no_numbers_are_wrong() -> None:
    outputs = np.array([[np.nan, -1.0], [-1.0, -1.0]])
    assert score(outputs=outputs, labels=np.zeros((2, 2), int)).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(("outputs", "labels"), [((3, 2), (3,)), ((3, 2), (3, 1)), ((3,), (3,))])
def test_shapes_must_belong_together(outputs: tuple[int, ...], labels: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="belong together"):
        score(outputs=np.zeros(outputs), labels=np.zeros(labels, int))
