"""Cross-entropy of independent yes-or-no labels, for multi-label data (Bishop 2006, eq. 5.23)."""

from __future__ import annotations

import torch
from torch.nn import functional


def loss(*, student: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    r"""Compare each class's own probability with its label.

    .. math:: -\frac{1}{B K} \sum_b \sum_k \left[ y_{bk} \log q_{bk} + (1 - y_{bk}) \log (1 - q_{bk}) \right], \quad
        q = \sigma(z)

    (Bishop, Pattern Recognition and Machine Learning, section 5.2.) The mean is over samples and classes, as in
    `binary_kl`, its soft counterpart.

    Args:
        student: (B, K) logits.
        labels: (B, K) 0 or 1, or between where views are mixed.

    Returns:
        Scalar, in nats.

    >>> round(float(loss(student=torch.zeros(1, 3), labels=torch.tensor([[1.0, 0.0, 1.0]]))), 4)
    0.6931
    """
    return functional.binary_cross_entropy_with_logits(student, labels.to(student.dtype))
