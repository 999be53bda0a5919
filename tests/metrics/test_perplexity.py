"""Perplexity of logits, written out in float64."""

import numpy as np
import pytest

from edgekd.errors import DataError
from edgekd.metrics import score_all


def test_it_is_the_geometric_mean_of_inverse_probabilities() -> None:
    probabilities = [np.array([0.5, 0.25, 0.125]), np.array([1.0]), np.array([0.1, 0.2])]
    outputs = np.array([[-np.log(each).sum(), len(each)] for each in probabilities])
    perplexity, bits = score_all("next_token", outputs=outputs, labels=np.array([4, 1, 5]))
    everything = [float(each) for window in probabilities for each in window]
    assert perplexity.value == pytest.approx(np.prod(everything) ** (-1 / len(everything)))
    assert bits.value == pytest.approx(-np.log2(everything).sum() / 10)
    assert [*perplexity.labels, *bits.labels] == [3, 1, 2, 4, 1, 5]


def test_a_window_without_tokens_says_nothing() -> None:
    with pytest.raises(DataError, match="without a token"):
        score_all("masked_token", outputs=np.array([[1.0, 0.0]]), labels=np.array([1]))
    with pytest.raises(DataError, match="don't belong together"):
        score_all("next_token", outputs=np.zeros((2, 3)), labels=np.array([1, 1]))
