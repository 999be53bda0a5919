"""Correlation of predictions within each sample and within each class (Huang et al. 2022, section 3)."""

from __future__ import annotations

import torch
from torch.nn import functional


def loss(
    *,
    student: torch.Tensor,
    teacher: torch.Tensor,
    temperature: float = 1.0,
    inter: float = 1.0,
    intra: float = 1.0,
) -> torch.Tensor:
    r"""Ask for the teacher's relations, not for its probabilities.

    .. math:: \frac{\beta}{B} \sum_b (1 - \rho(p_{b \cdot}, q_{b \cdot}))
        + \frac{\gamma}{K} \sum_k (1 - \rho(p_{\cdot k}, q_{\cdot k})), \quad
        p = \mathrm{softmax}(z^{teacher} / T), \; q = \mathrm{softmax}(z^{student} / T)

    with Pearson's correlation rho: between classes of each sample, and between samples of each class
    (arXiv:2205.10536, section 3). Correlation does not shrink when T grows, so no T^2 belongs here. Where the teacher
    has no variation, such as in a batch of one sample, there is no relation and that row counts as met.

    Args:
        student: (B, K) logits.
        teacher: (B, K) logits.
        temperature: T, above 0.
        inter: Beta, 0 or more, for the relations between classes.
        intra: Gamma, 0 or more, for the relations between samples.

    Returns:
        Scalar, no unit, 0 when student equals teacher and `2 * (inter + intra)` at most.

    >>> logits = torch.randn(4, 3)
    >>> float(loss(student=logits, teacher=logits))
    0.0
    """
    p, q = (logits.div(temperature).softmax(dim=1) for logits in (teacher, student))
    return inter * _distance(p, q) + intra * _distance(p.T, q.T)


def _distance(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """Mean over rows of 1 - rho, as half the squared distance of standardized rows: exactly 0 for equal rows."""
    p, q = (functional.normalize(rows - rows.mean(dim=1, keepdim=True), dim=1) for rows in (p, q))
    varies = p.square().sum(dim=1) > 0.5
    return (varies * (p - q).square().sum(dim=1)).mean() / 2
