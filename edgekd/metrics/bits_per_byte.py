"""Nats per byte of each window, which say the same whatever the tokenizer is (Gao et al. 2020, section 3.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import DataError
from edgekd.metrics._likelihoods import check_windows


def score(
    *,
    outputs: NDArray[np.floating],
    labels: NDArray[np.integer],
    inputs: NDArray[Any] | None = None,  # noqa: ARG001 - every metric takes the same
) -> NDArray[np.float64]:
    r"""Compute the negative log-likelihood of each window by the bytes of its text.

    .. math:: x_i = \frac{1}{b_i} \sum_t -\log q(w_t \mid \ldots)

    `edgekd.stats.bits_per_byte` makes bits of it, with b as weights (arXiv:2101.00027, section 3.1).

    Args:
        outputs: (N, 2): nats of the window's tokens together, and how many tokens these are.
        labels: (N,), bytes of text behind those tokens, 1 or more.
        inputs: Not looked at.

    Returns:
        (N,), nats per byte, 0 or more.

    Raises:
        DataError: Other shapes, or a window without text.

    >>> score(outputs=np.array([[6.0, 3.0], [2.0, 4.0]]), labels=np.array([12, 4]))
    array([0.5, 0.5])
    """
    nats, _ = check_windows(outputs, labels)
    if not (labels > 0).all():
        raise DataError("a window without text", next_step="leave it out")
    return np.asarray(nats / labels, np.float64)
