"""Mean squared error between the outputs of student and teacher (Ba & Caruana 2014, eq. 1)."""

from __future__ import annotations

import torch
from torch.nn import functional


def loss(*, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    r"""Compare logits, or the outputs of a regression or reconstruction, without softening.

    .. math:: \frac{1}{B K} \sum_b \sum_k (z^{student}_{bk} - z^{teacher}_{bk})^2

    Eq. 1 of arXiv:1312.6184 has half the sum over k; the mean keeps weights apart from the number of outputs.

    Args:
        student: (B, K) logits or outputs.
        teacher: (B, K) the same.

    Returns:
        Scalar, in squared units of the outputs, 0 when student equals teacher.

    >>> float(loss(student=torch.zeros(2, 4), teacher=torch.full((2, 4), 3.0)))
    9.0
    """
    return functional.mse_loss(student, teacher)
