"""Absolute error of each sample, mean over its outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.metrics._labels import check_shapes


def score(
    *,
    outputs: NDArray[np.floating],
    labels: NDArray[np.floating],
    inputs: NDArray[Any] | None = None,  # noqa: ARG001 - every metric takes the same
) -> NDArray[np.float64]:
    """Compute the absolute error of each sample: mean over k of |outputs[n, k] - labels[n, k]|, in float64.

    Args:
        outputs: (N, outputs), in the unit of the labels.
        labels: (N, outputs).
        inputs: Not looked at.

    Returns:
        (N,), 0 or more; not a number where an output is none.

    Raises:
        DataError: The shapes don't belong together.

    >>> score(outputs=np.array([[1.0, 2.0], [0.0, 0.0]]), labels=np.array([[1.0, 3.0], [2.0, 2.0]]))
    array([0.5, 2. ])
    """
    check_shapes(outputs, labels)
    errors = np.abs(np.subtract(outputs, labels, dtype=np.float64))
    return np.asarray(errors.mean(axis=1), dtype=np.float64)
