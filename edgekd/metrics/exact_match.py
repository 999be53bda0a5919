"""Share of samples for which every label, and no other, is predicted (subset accuracy)."""

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
    """Say of each sample whether all its labels are right: 1 if (outputs[n, c] > 0) = labels[n, c] for all c, else 0.

    Outputs that are not numbers are never right.

    Args:
        outputs: (N, classes), logits: a class is predicted where its logit is above 0.
        labels: (N, classes) of 0 and 1.
        inputs: Not looked at.

    Returns:
        (N,), 0 or 1.

    Raises:
        DataError: The shapes don't belong together.

    >>> score(outputs=np.array([[2.0, -1.0], [2.0, 1.0]]), labels=np.array([[1, 0], [1, 0]]))
    array([1., 0.])
    """
    check_shapes(outputs, labels)
    right = (predict(outputs) == (labels == 1)).all(axis=1)
    return np.asarray(right & ~np.isnan(outputs).any(axis=1), dtype=np.float64)
