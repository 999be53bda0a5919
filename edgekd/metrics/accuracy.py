"""Share of samples whose largest output is at the label (top-1)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import DataError


def score(
    *,
    outputs: NDArray[np.floating],
    labels: NDArray[np.integer],
    inputs: NDArray[Any] | None = None,  # noqa: ARG001 - every metric takes the same
) -> NDArray[np.float64]:
    """Say of each sample whether it is predicted right: 1 if argmax_c outputs[n, c] = labels[n], else 0.

    An output that is not a number is never right. Among equal outputs the first class counts, as in every runtime.

    Args:
        outputs: (N, classes), any monotone score of the classes.
        labels: (N,), class indices.
        inputs: Not looked at.

    Returns:
        (N,), 0 or 1; their mean is the accuracy.

    Raises:
        DataError: The shapes don't belong together, or a sample has no label.

    >>> score(outputs=np.array([[0.1, 0.9], [0.8, 0.2]]), labels=np.array([1, 1]))
    array([1., 0.])
    """
    if outputs.ndim != 2 or labels.shape != outputs.shape[:1]:
        raise DataError(
            f"outputs of shape {outputs.shape} and labels of shape {labels.shape} don't belong together",
            allowed="outputs (N, classes) and labels (N,)",
        )
    if (labels < 0).any():
        raise DataError(
            f"{np.count_nonzero(labels < 0)} of {len(labels)} samples have no label",
            next_step="leave them out of what accuracy is measured on",
        )
    right = outputs.argmax(axis=1) == labels
    return np.asarray(right & ~np.isnan(outputs).any(axis=1), dtype=np.float64)
