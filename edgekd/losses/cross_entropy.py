"""Cross-entropy with the labels, optionally smoothed (Szegedy et al. 2016, section 7)."""

from __future__ import annotations

import torch
from torch.nn import functional


def loss(*, student: torch.Tensor, labels: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
    r"""Compare predictions with labels.

    .. math:: -\frac{1}{|L|} \sum_{b \in L} \sum_k y'_{bk} \log q_{bk}, \quad
        y' = (1 - \epsilon) y + \epsilon / K, \; q = \mathrm{softmax}(z)

    where L are the samples with a label (arXiv:1512.00567, section 7).

    Args:
        student: (B, K) logits.
        labels: (B,) int64, -1 for no label; or (B, K) probabilities of classes, a row of zeros for no label.
        label_smoothing: Share of the target spread over all classes, from 0 to 1.

    Returns:
        Scalar, in nats; 0 when no sample has a label.

    >>> round(float(loss(student=torch.zeros(2, 2), labels=torch.tensor([0, -1]))), 4)
    0.6931
    """
    if labels.ndim > 1:
        labels = labels.to(student.dtype)
        known = labels.sum(dim=1) > 0
        each = functional.cross_entropy(student, labels, label_smoothing=label_smoothing, reduction="none")
    else:
        known = labels >= 0
        each = functional.cross_entropy(
            student, labels, label_smoothing=label_smoothing, reduction="none", ignore_index=-1
        )
    # Not `mean`: it divides by zero when nothing is labelled.
    return (each * known).sum() / known.sum().clamp(min=1)
