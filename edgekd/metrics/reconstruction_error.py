"""Squared error of each sample's reconstruction, mean over its values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.metrics._reconstruction import squared_errors


def score(
    *,
    outputs: NDArray[np.floating],
    labels: NDArray[np.integer],  # noqa: ARG001 - every metric takes the same
    inputs: NDArray[Any] | None = None,
) -> NDArray[np.float64]:
    """Compute how far each sample's reconstruction is from it: mean over k of (outputs[n, k] - inputs[n, k])^2.

    Args:
        outputs: (N, ...), reconstructed inputs.
        labels: Not looked at.
        inputs: (N, ...), what the network was given, as many numbers a sample in the same order.

    Returns:
        (N,), 0 or more.

    Raises:
        DataError: There are no inputs, or they have another size.

    >>> score(outputs=np.array([[1.0, 2.0]]), labels=np.array([0]), inputs=np.array([[1.0, 0.0]]))
    array([2.])
    """
    return squared_errors(outputs, inputs)
