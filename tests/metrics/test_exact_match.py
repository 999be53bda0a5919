from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.errors import DataError
from edgekd.metrics.exact_match import score


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 4))
def test_counts_what_a_loop_counts(seed: int, n: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    outputs, labels = rng.integers(-1, 2, (n, classes)).astype(float), rng.integers(0, 2, (n, classes))
    expected = [
        float(all((value > 0) == bool(label) for value, label in zip(row, wanted, strict=True)))
        for row, wanted in zip(outputs, labels, strict=True)
    ]
    assert score(outputs=outputs, labels=labels).tolist() == expected


def test_agrees_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (500, 3))
    outputs = (labels - 0.5) + rng.normal(0, 0.6, (500, 3))
    assert 0 < score(outputs=outputs, labels=labels).mean() == metrics.accuracy_score(labels, outputs > 0)


def test_outputs_that_are_no_numbers_are_wrong() -> None:
    outputs = np.array([[np.nan, -1.0], [-1.0, -1.0]])
    assert score(outputs=outputs, labels=np.zeros((2, 2), int)).tolist() == [0.0, 1.0]


def test_shapes_must_belong_together() -> None:
    with pytest.raises(DataError, match="belong together"):
        score(outputs=np.zeros((3, 2)), labels=np.zeros(3, int))
