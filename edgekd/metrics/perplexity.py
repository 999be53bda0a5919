"""Nats per token of each window, of which a perplexity is e to the power of the mean (Jelinek et al. 1977)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.metrics._likelihoods import check_windows


def score(
    *,
    outputs: NDArray[np.floating],
    labels: NDArray[np.integer],
    inputs: NDArray[Any] | None = None,  # noqa: ARG001 - every metric takes the same
) -> NDArray[np.float64]:
    r"""Compute the mean negative log-likelihood of the tokens of each window.

    .. math:: x_i = \frac{1}{n_i} \sum_{t=1}^{n_i} -\log q(w_t \mid \ldots)

    `edgekd.stats.perplexity` makes the perplexity of it, with n as weights. Of masked tokens it is the
    pseudo-perplexity (Salazar et al. 2020, arXiv:1910.14659).

    Args:
        outputs: (N, 2): nats of the window's tokens together, and how many tokens these are. Logits of all positions
            are more than memory holds, so they are held against the tokens where they arise.
        labels: (N,), bytes of text behind the tokens; not looked at.
        inputs: Not looked at.

    Returns:
        (N,), nats per token, 0 or more.

    Raises:
        DataError: Other shapes, or a window without tokens.

    >>> score(outputs=np.array([[6.0, 3.0], [2.0, 4.0]]), labels=np.array([9, 9]))
    array([2. , 0.5])
    """
    nats, tokens = check_windows(outputs, labels)
    return np.asarray(nats / tokens, np.float64)
