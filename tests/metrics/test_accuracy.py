from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgekd.errors import DataError
from edgekd.metrics.accuracy import score


@given(
    outputs=arrays.arrays(
        np.float32, st.tuples(st.integers(1, 20), st.integers(2, 6)), elements=st.floats(-9, 9, width=32)
    ),
    seed=st.integers(0, 99),
)
def test_counts_what_a_loop_counts(outputs: np.ndarray[tuple[int, int], np.dtype[np.float32]], seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, outputs.shape[1], len(outputs))
    expected = [float(list(row).index(max(row)) == label) for row, label in zip(outputs, labels, strict=True)]
    assert score(outputs=outputs, labels=labels).tolist() == expected


def test_agrees_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    outputs, labels = rng.random((500, 10)), rng.integers(0, 10, 500)
    assert score(outputs=outputs, labels=labels).mean() == metrics.accuracy_score(labels, outputs.argmax(1))


def test_an_output_that_is_no_number_is_wrong() -> None:
    outputs = np.array([[np.nan, 0.0], [1.0, 0.0]])
    assert score(outputs=outputs, labels=np.array([0, 0])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(("outputs", "labels"), [((3, 2), (2,)), ((3,), (3,)), ((3, 2), (3, 1))])
def test_shapes_must_belong_together(outputs: tuple[int, ...], labels: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="belong together"):
        score(outputs=np.zeros(outputs), labels=np.zeros(labels, int))


def test_samples_without_a_label_are_refused() -> None:
    with pytest.raises(DataError, match="1 of 2 samples have no label"):
        score(outputs=np.zeros((2, 2)), labels=np.array([0, -1]))
