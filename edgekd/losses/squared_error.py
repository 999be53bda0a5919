"""Mean squared error against the labels, for regression and reconstruction (Bishop 2006, eq. 5.11)."""

from __future__ import annotations

import torch
from torch.nn import functional


def loss(*, student: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    r"""Compare outputs with targets.

    .. math:: \frac{1}{B K} \sum_b \sum_k (z_{bk} - y_{bk})^2

    The negative log-likelihood of targets with Gaussian noise, up to constants (Bishop, Pattern Recognition and Machine
    Learning, section 5.2); the mean over outputs is what makes it comparable with `mse`, its soft counterpart.

    Args:
        student: (B, K) outputs.
        labels: (B, K) targets; the flattened inputs for a reconstruction.

    Returns:
        Scalar, in squared units of the targets, 0 when the student meets them.

    >>> float(loss(student=torch.zeros(2, 3), labels=torch.full((2, 3), 2.0)))
    4.0
    """
    return functional.mse_loss(student, labels.to(student.dtype))
