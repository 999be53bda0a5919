"""Hinton's soft-label loss: T^2 KL(teacher || student) at temperature T (Hinton et al. 2015, eq. 1 and section 2)."""

from __future__ import annotations

import torch
from torch.nn import functional


def loss(*, student: torch.Tensor, teacher: torch.Tensor, temperature: float = 4.0) -> torch.Tensor:
    r"""Compare softened predictions.

    .. math:: T^2 \frac{1}{B} \sum_b \sum_k p_{bk} (\log p_{bk} - \log q_{bk}), \quad
        p = \mathrm{softmax}(z^{teacher} / T), \; q = \mathrm{softmax}(z^{student} / T)

    The factor T^2 keeps the gradient's size when T changes (arXiv:1503.02531, section 2).

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
    return temperature**2 * functional.kl_div(
        functional.log_softmax(student / temperature, dim=1),
        functional.log_softmax(teacher / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
