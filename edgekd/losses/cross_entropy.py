"""Cross-entropy with the labels, optionally smoothed (Szegedy et al. 2016, section 7)."""

from __future__ import annotations

import torch
from torch.nn import functional


def loss(
    *, student: torch.Tensor, teacher: torch.Tensor | None, labels: torch.Tensor, label_smoothing: float = 0.0
) -> torch.Tensor:
    r"""Compare predictions with labels: :math:`-\frac{1}{B} \sum_b \log q_{b, y_b}`.

    Args:
        student: (B, K) logits.
        teacher: Not used.
        labels: (B,) int64.
        label_smoothing: Share of the target spread over all classes, from 0 to 1.

    Returns:
        Scalar, in nats.

    >>> round(float(loss(student=torch.zeros(1, 2), teacher=None, labels=torch.tensor([0]))), 4)
    0.6931
    """
    del teacher
    return functional.cross_entropy(student, labels, label_smoothing=label_smoothing)
