"""Predicted values, whose order Spearman's rank correlation holds against that of the true ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import DataError
from edgekd.metrics._labels import check_shapes


def score(
    *,
    outputs: NDArray[np.floating],
    labels: NDArray[np.floating],
    inputs: NDArray[Any] | None = None,  # noqa: ARG001 - every metric takes the same
) -> NDArray[np.float64]:
    """Give the predicted value of each sample: there is no score of one sample, but an order of all.

    `edgekd.stats.spearman` makes the rank correlation of them and the labels, with which STS-B and its like judge how
    similar pairs of sentences are found (Cer et al. 2017, arXiv:1708.00055; Wang et al. 2019, arXiv:1804.07461).

    Args:
        outputs: (N, 1), in any unit.
        labels: (N, 1).
        inputs: Not looked at.

    Returns:
        (N,), the outputs.

    Raises:
        DataError: Several outputs, or shapes that don't belong together.

    >>> score(outputs=np.array([[0.5], [4.0]]), labels=np.array([[1.0], [5.0]]))
    array([0.5, 4. ])
    """
    check_shapes(outputs, labels)
    if outputs.shape[1] != 1:
        raise DataError(f"{outputs.shape[1]} outputs have no single order", allowed="1 output")
    return np.asarray(outputs[:, 0], dtype=np.float64)
