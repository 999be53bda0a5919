"""Anomaly score of each sample, whose area under the ROC curve says how well anomalies are told from the rest."""

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
    """Compute the anomaly score of each sample, its reconstruction error, as MLPerf Tiny's anomaly detection does.

    The area itself is no mean over samples: `edgekd.stats.auc` computes it from these scores and the labels.

    Args:
        outputs: (N, ...), reconstructed inputs.
        labels: (N,), 1 for anomalies and 0 for normal samples.
        inputs: (N, ...), what the network was given, as many numbers a sample in the same order.

    Returns:
        (N,), higher for what the network rebuilds badly.

    Raises:
        DataError: Labels of another shape; there are no inputs, or they have another size.

    >>> score(outputs=np.zeros((2, 2)), labels=np.array([0, 1]), inputs=np.array([[0.1, 0.1], [1.0, 2.0]])).round(2)
    array([0.01, 2.5 ])
    """
    check_kinds(outputs, labels)
    return squared_errors(outputs, inputs)
