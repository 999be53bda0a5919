"""What a classifier predicts, class by class, and how sure it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.metrics import Scores
from edgekd.records import Head

# Of a confidence; more would make files of measurements longer, and no calibration error another.
_DIGITS = 4


def class_scores(outputs: NDArray[np.floating], labels: NDArray[Any], head: Head) -> tuple[Scores, ...]:
    """Give the predicted class of each sample, and the confidence in it where outputs tell one.

    Args:
        outputs: (N, classes), as `head` says; of a class alone the scores that were made of it.
        labels: (N,), class indices.
        head: What the outputs are.

    Returns:
        Of `recall` the predicted classes, with the true ones as labels: of an output that is not a number a class that
        there is not. Of `calibration_error` the confidences, with 1 as label where the prediction is right.

    >>> recall, calibration = class_scores(np.array([[2.0, 0.0], [0.0, 0.0]]), np.array([0, 1]), "logits")
    >>> recall.samples, recall.labels, calibration.samples, calibration.labels
    ((0.0, 0.0), (0.0, 1.0), (0.8808, 0.5), (1.0, 0.0))
    """
    scores = outputs.reshape(len(outputs), -1).astype(np.float64)
    broken = np.isnan(scores).any(axis=1)
    predicted = np.where(broken, scores.shape[1], np.nan_to_num(scores).argmax(axis=1))
    found = [Scores(metric="recall", samples=_floats(predicted), labels=_floats(labels))]
    if head in ("logits", "probabilities"):
        largest = np.nan_to_num(scores).max(axis=1)
        if head == "logits":
            largest = 1 / np.exp(np.nan_to_num(scores) - largest[:, None]).sum(axis=1)
        confidences = np.where(broken, 0.0, np.clip(largest, 0.0, 1.0)).round(_DIGITS)
        right = _floats(predicted == labels)
        found.append(Scores(metric="calibration_error", samples=_floats(confidences), labels=right))
    return tuple(found)


def _floats(values: NDArray[Any]) -> tuple[float, ...]:
    return tuple(values.astype(np.float64).tolist())
