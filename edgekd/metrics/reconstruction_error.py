"""Squared error of each normal sample's reconstruction, mean over its values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.metrics._reconstruction import check_kinds, squared_errors


def score(
    *,
    outputs: NDArray[np.floating],
    labels: NDArray[np.integer],
    inputs: NDArray[Any] | None = None,
) -> NDArray[np.float64]:
    """Compute how far each normal sample's reconstruction is from it: mean over k of (outputs[n, k] - inputs[n, k])^2.

    Anomalies are left out: a network that rebuilds them well does its work badly.

    Args:
        outputs: (N, ...), reconstructed inputs.
        labels: (N,), 1 for anomalies and 0 for normal samples.
        inputs: (N, ...), what the network was given, as many numbers a sample in the same order.

    Returns:
        (normal samples,), in their order, 0 or more.

    Raises:
        DataError: Labels of another shape; there are no inputs, or they have another size.

    >>> outputs, inputs = np.array([[1.0, 2.0], [9.0, 9.0]]), np.array([[1.0, 0.0], [0.0, 0.0]])
    >>> score(outputs=outputs, labels=np.array([0, 1]), inputs=inputs)
    array([2.])
    """
    check_kinds(outputs, labels)
    errors = squared_errors(outputs, inputs)
    return np.asarray(errors[labels == 0], dtype=np.float64)
