"""F1 of each sample's labels: the harmonic mean of precision and recall."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.metrics._labels import check_shapes, predict


def score(
    *,
    outputs: NDArray[np.floating],
    labels: NDArray[np.integer],
    inputs: NDArray[Any] | None = None,  # noqa: ARG001 - every metric takes the same
) -> NDArray[np.float64]:
    """Compute F1 of each sample's labels, 2 TP / (2 TP + FP + FN).

    Van Rijsbergen, Information Retrieval, 2nd ed. (1979), chapter 7; averaged over samples, as Godbole & Sarawagi
    (PAKDD 2004) do for texts of several labels. A sample without labels for which none is predicted is right, so 1.
    Outputs that are not numbers give 0.

    Args:
        outputs: (N, classes), logits: a class is predicted where its logit is above 0.
        labels: (N, classes) of 0 and 1.
        inputs: Not looked at.

    Returns:
        (N,), in [0, 1]; their mean is the sample-averaged F1.

    Raises:
        DataError: The shapes don't belong together.

    >>> score(outputs=np.array([[2.0, 1.0], [-2.0, -1.0]]), labels=np.array([[1, 0], [0, 0]])).round(3)
    array([0.667, 1.   ])
    """
    check_shapes(outputs, labels)
    predicted, true = predict(outputs), labels == 1
    shared = 2 * (predicted & true).sum(axis=1)
    named = predicted.sum(axis=1) + true.sum(axis=1)
    found = np.where(named > 0, shared / np.maximum(named, 1), 1.0)
    return np.asarray(np.where(np.isnan(outputs).any(axis=1), 0.0, found), dtype=np.float64)
