"""Universal logit distillation, between vocabularies that differ (Boizard et al. 2024, eq. 3 and 5)."""

from __future__ import annotations

import torch
from torch.nn import functional


def loss(*, student: torch.Tensor, teacher: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    r"""Compare how likely the most likely token is to each, then the next, whatever tokens these are.

    .. math:: \frac{1}{B} \sum_b \sum_k \left| p_{b\sigma(k)} - q_{b\tau(k)} \right|

    where p and q are sorted from the most to the least likely, and the smaller vocabulary is filled up with zeros: the
    Wasserstein distance where any two tokens are equally far apart (arXiv:2402.12030, section 3.3).

    Args:
        student: (B, K) logits.
        teacher: (B, L) logits of the same texts, L may differ from K.
        temperature: T, above 0.

    Returns:
        Scalar, 0 to 2, 0 when student equals teacher.

    >>> logits = torch.randn(4, 3)
    >>> round(float(loss(student=logits, teacher=logits.flip(1))), 6)
    0.0
    """
    q, p = (
        functional.softmax(logits / temperature, dim=1).sort(dim=1, descending=True).values
        for logits in (student, teacher)
    )
    missing = p.shape[1] - q.shape[1]
    q, p = functional.pad(q, (0, max(missing, 0))), functional.pad(p, (0, max(-missing, 0)))
    return (p - q).abs().sum(dim=1).mean()
