"""Reverse Kullback-Leibler divergence: T^2 KL(student || teacher), which seeks a mode (Gu et al. 2024, MiniLLM)."""

from __future__ import annotations

import torch
from torch.nn import functional


def loss(*, student: torch.Tensor, teacher: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    r"""Punish what the student finds likely and the teacher does not.

    .. math:: T^2 \frac{1}{B} \sum_b \sum_k q_{bk} (\log q_{bk} - \log p_{bk}), \quad
        p = \mathrm{softmax}(z^{teacher} / T), \; q = \mathrm{softmax}(z^{student} / T)

    (arXiv:2306.08543, section 2.1; the case of beta = 1 in GKD, arXiv:2306.13649, section 2). A student that is too
    small for all of the teacher's modes gives some of them up, in place of covering them with what the teacher never
    says.

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
        functional.log_softmax(teacher / temperature, dim=1),
        functional.log_softmax(student / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
