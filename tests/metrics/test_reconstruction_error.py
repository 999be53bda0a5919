from __future__ import annotations

import numpy as np
import pytest

from edgekd.errors import DataError
from edgekd.metrics.reconstruction_error import score


def test_is_the_mean_squared_error_of_each_sample_in_float64() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.random((7, 2, 3, 4), dtype=np.float32)
    outputs = rng.random((7, 24), dtype=np.float32)
    expected = [
        sum((float(a) - float(b)) ** 2 for a, b in zip(row, sample.ravel(), strict=True)) / 24
        for row, sample in zip(outputs, inputs, strict=True)
    ]
    found = score(outputs=outputs, labels=np.zeros(7, int), inputs=inputs)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_what_is_rebuilt_exactly_has_no_error() -> None:
    inputs = np.random.default_rng(0).random((3, 5))
    assert score(outputs=inputs, labels=np.zeros(3, int), inputs=inputs).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("inputs", [None, np.zeros((3, 4)), np.zeros((2, 5))])
def test_inputs_must_have_the_size_of_outputs(inputs: np.ndarray[tuple[int, int], np.dtype[np.float64]] | None) -> None:
    with pytest.raises(DataError, match="belong together; allowed: a reconstruction has the size of its input"):
        score(outputs=np.zeros((3, 5)), labels=np.zeros(3, int), inputs=inputs)


def test_anomalies_are_left_out() -> None:
    outputs, inputs = np.array([[1.0], [2.0], [3.0]]), np.zeros((3, 1))
    assert score(outputs=outputs, labels=np.array([0, 1, 0]), inputs=inputs).tolist() == [1.0, 9.0]
    assert score(outputs=outputs, labels=np.ones(3, int), inputs=inputs).size == 0


def test_there_must_be_one_label_for_each_sample() -> None:
    with pytest.raises(DataError, match="belong together"):
        score(outputs=np.zeros((3, 2)), labels=np.zeros((3, 2), int), inputs=np.zeros((3, 2)))
