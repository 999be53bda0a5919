"""Predicted classes and confidences against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from edgekd.records import Head
from edgekd.stages.benchmark.classes import class_scores

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 4, (50, 7)).astype(np.float32)
LABELS = RNG.integers(0, 7, 50)


@pytest.mark.parametrize("head", ["logits", "probabilities"])
def test_confidences_are_the_largest_probabilities(head: Head) -> None:
    outputs = LOGITS if head == "logits" else softmax(LOGITS, axis=1)
    recall, calibration = class_scores(outputs, LABELS, head)
    assert np.array_equal(recall.samples, LOGITS.argmax(axis=1))
    assert np.array_equal(recall.labels, LABELS)
    assert np.allclose(calibration.samples, softmax(LOGITS.astype(np.float64), axis=1).max(axis=1), atol=6e-5)
    assert np.array_equal(calibration.labels, LOGITS.argmax(axis=1) == LABELS)


def test_an_index_tells_no_confidence() -> None:
    (recall,) = class_scores(np.eye(7, dtype=np.float32)[LABELS], LABELS, "class")
    assert np.array_equal(recall.samples, LABELS)


def test_an_output_that_is_no_number_is_a_class_that_there_is_not() -> None:
    outputs = LOGITS.copy()
    outputs[3, 2] = np.nan
    recall, calibration = class_scores(outputs, LABELS, "logits")
    assert recall.samples[3] == 7
    assert (calibration.samples[3], calibration.labels[3]) == (0, 0)
    assert np.isfinite(calibration.samples).all()


def test_infinite_outputs_are_as_sure_as_can_be() -> None:
    outputs = np.zeros((1, 3), np.float32)
    outputs[0, 1] = np.inf
    recall, calibration = class_scores(outputs, np.array([1]), "logits")
    assert (recall.samples, calibration.samples, calibration.labels) == ((1.0,), (1.0,), (1.0,))
