"""How far a reconstruction is from what went in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import DataError


def squared_errors(outputs: NDArray[Any], inputs: NDArray[Any] | None) -> NDArray[np.float64]:
    """Compute the mean squared error of each sample in float64.

    Args:
        outputs: (N, ...).
        inputs: (N, ...), as many numbers a sample in the same order; the shape does not matter.

    Raises:
        DataError: There are no inputs, or they have another size.

    >>> squared_errors(np.array([[1.0, 2.0]]), np.array([[[1.0], [0.0]]]))
    array([2.])
    """
    if inputs is None or len(inputs) != len(outputs) or inputs.size != outputs.size:
        shape = "none" if inputs is None else inputs.shape
        raise DataError(
            f"outputs of shape {outputs.shape} and inputs of shape {shape} don't belong together",
            allowed="a reconstruction has the size of its input",
        )
    count = len(outputs)
    errors = np.subtract(outputs.reshape(count, -1), inputs.reshape(count, -1), dtype=np.float64)
    return np.asarray(np.square(errors).mean(axis=1), dtype=np.float64)


def check_kinds(outputs: NDArray[Any], labels: NDArray[Any]) -> None:
    """Check that each sample is said to be normal or an anomaly.

    Raises:
        DataError: It is not.

    >>> check_kinds(np.zeros((2, 3)), np.array([0, 1]))
    """
    if labels.shape != outputs.shape[:1]:
        raise DataError(
            f"outputs of shape {outputs.shape} and labels of shape {labels.shape} don't belong together",
            allowed="outputs (N, ...) and labels (N,)",
        )
