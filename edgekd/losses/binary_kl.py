"""Soft labels for multi-label data: T^2 KL of each class's yes or no (Hinton et al. 2015, eq. 1 and section 2)."""

from __future__ import annotations

import torch
from torch.nn import functional


def loss(*, student: torch.Tensor, teacher: torch.Tensor, temperature: float = 2.0) -> torch.Tensor:
    r"""Compare each class's own softened probability.

    .. math:: \frac{T^2}{B K} \sum_b \sum_k \left[ p_{bk} \log \frac{p_{bk}}{q_{bk}}
        + (1 - p_{bk}) \log \frac{1 - p_{bk}}{1 - q_{bk}} \right], \quad
        p = \sigma(z^{teacher} / T), \; q = \sigma(z^{student} / T)

    A sigmoid is the softmax of two logits, one of them 0, so this is arXiv:1503.02531, eq. 1, for each class. The
    factor T^2 keeps the gradient's size when T changes; the mean is over samples and classes, as in
    `binary_cross_entropy`.

    Args:
        student: (B, K) logits.
        teacher: (B, K) logits.
        temperature: T, above 0.

    Returns:
        Scalar, in nats, 0 when student equals teacher.

    >>> logits = torch.randn(4, 3)
    >>> float(loss(student=logits, teacher=logits))
    0.0
    """
    student, teacher = student / temperature, teacher / temperature
    yes = teacher.sigmoid() * (functional.logsigmoid(teacher) - functional.logsigmoid(student))
    no = (-teacher).sigmoid() * (functional.logsigmoid(-teacher) - functional.logsigmoid(-student))
    return temperature**2 * (yes + no).mean()
