"""Squared error of the samples where the student is no better than its teacher (Chen et al. 2017, section 3.3)."""

from __future__ import annotations

import torch


def loss(*, student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, margin: float = 0.0) -> torch.Tensor:
    r"""Take the teacher as an upper bound of the error, not as a target.

    .. math:: \frac{1}{B} \sum_b [e^{student}_b + m > e^{teacher}_b] \, e^{student}_b, \quad
        e_b = \frac{1}{K} \sum_k (z_{bk} - y_{bk})^2

    A teacher's real-valued outputs may point away from the truth; a student that is closer than its teacher by the
    margin is left alone (Chen et al., Learning Efficient Object Detection Models with Knowledge Distillation, the
    teacher bounded regression loss). They sum over k; the mean makes it comparable with `squared_error`.

    Args:
        student: (B, K) outputs.
        teacher: (B, K) the same.
        labels: (B, K) targets.
        margin: m, 0 or more, in squared units of the targets.

    Returns:
        Scalar, in squared units of the targets; with a margin of 0 it is 0 when student equals teacher.

    >>> labels = torch.zeros(2, 1)
    >>> float(loss(student=torch.tensor([[3.0], [1.0]]), teacher=torch.full((2, 1), 2.0), labels=labels))
    4.5
    """
    labels = labels.to(student.dtype)
    error = (student - labels).square().mean(dim=1)
    bound = (teacher - labels).square().mean(dim=1)
    return torch.where(error + margin > bound, error, 0.0).mean()
