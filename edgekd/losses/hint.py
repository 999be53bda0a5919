"""The teacher's feature, predicted from the student's by a trained regressor (Romero et al. 2015, eq. 3)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from edgekd.losses._features import check_maps, check_not_empty, equal_size, mean_over_tokens, refuse


def loss(
    *,
    student_feature: torch.Tensor,
    teacher_feature: torch.Tensor,
    projector: nn.Module,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    r"""Compare the regressed feature with the teacher's.

    .. math:: \frac{1}{2} \| u - r(v) \|^2

    with the teacher's feature u, the student's v and the regressor r (FitNets, arXiv:1412.6550). The paper's sum over
    elements is a mean here, so that the weight does not depend on the layer's size; of maps of different size the
    larger is averaged over blocks, which the paper leaves to the regressor's kernel.

    Args:
        student_feature: (B, C, H, W) maps, (B, C) vectors or (B, T, C) sequences.
        teacher_feature: (B, D, H', W'), (B, D) or (B, T, D).
        projector: What `build_projector` made.
        mask: (B, T), false where a sequence is filled up: padding does not count.

    Returns:
        Scalar, in squared units of the teacher's feature, 0 when it is predicted exactly.

    >>> float(loss(student_feature=torch.zeros(2, 3), teacher_feature=torch.ones(2, 3), projector=nn.Identity()))
    0.5
    """
    predicted = projector(student_feature)
    if predicted.ndim == 4:
        predicted, teacher_feature = equal_size(predicted, teacher_feature)
    if mask is not None:
        return mean_over_tokens((predicted - teacher_feature).square().mean(dim=-1), mask) / 2
    return functional.mse_loss(predicted, teacher_feature) / 2


def build_projector(*, student_shape: tuple[int, ...], teacher_shape: tuple[int, ...]) -> nn.Module:
    """Make the regressor: a 1x1 convolution for maps, a linear layer for vectors and sequences.

    Args:
        student_shape: (C, H, W), (C,) or (T, C).
        teacher_shape: (D, H', W'), (D,) or (T, D).

    Returns:
        A module from the student's feature to the teacher's channels.

    Raises:
        ConfigError: Features of different kinds, sequences of different length, or maps whose sizes are no multiples.

    >>> build_projector(student_shape=(16, 8, 8), teacher_shape=(64, 8, 8))
    Conv2d(16, 64, kernel_size=(1, 1), stride=(1, 1))
    """
    check_not_empty("hint", student_shape, teacher_shape)
    ranks = len(student_shape), len(teacher_shape)
    if ranks == (3, 3):
        check_maps("hint", student_shape, teacher_shape)
        return nn.Conv2d(student_shape[0], teacher_shape[0], kernel_size=1)
    if ranks in {(1, 1), (2, 2)} and student_shape[:-1] == teacher_shape[:-1]:
        return nn.Linear(student_shape[-1], teacher_shape[-1])
    raise refuse(
        "hint",
        student_shape,
        teacher_shape,
        "two maps, two vectors, or two sequences of equal length",
        "choose layers that give features of the same kind",
    )
