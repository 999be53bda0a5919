"""What metrics of several outputs have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import DataError


def check_shapes(outputs: NDArray[Any], labels: NDArray[Any]) -> None:
    """Check that there is one label for each output.

    Raises:
        DataError: There is not.

    >>> check_shapes(np.zeros((3, 2)), np.zeros((3, 2)))
    """
    if outputs.ndim != 2 or labels.shape != outputs.shape:
        raise DataError(
            f"outputs of shape {outputs.shape} and labels of shape {labels.shape} don't belong together",
            allowed="outputs and labels (N, as many as there are)",
        )


def predict(logits: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Labels whose logit is above 0, which is a probability above one half."""
    return np.asarray(logits > 0, dtype=np.bool_)
