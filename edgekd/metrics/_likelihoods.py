"""What metrics of likelihoods share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import DataError


def check_windows(outputs: NDArray[np.floating], labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Give nats and tokens of each window.

    Raises:
        DataError: Other shapes, or a window without a token that was predicted.
    """
    if outputs.ndim != 2 or outputs.shape[1] != 2 or labels.shape != outputs.shape[:1]:
        raise DataError(
            f"outputs of shape {outputs.shape} and labels of shape {labels.shape} don't belong together",
            allowed="(N, 2), nats and tokens of each window, and (N,) bytes of text behind them",
        )
    nats, tokens = np.asarray(outputs, np.float64).T
    if not (tokens > 0).all():
        raise DataError("a window without a token to predict", next_step="leave it out")
    return nats, tokens
