"""The direction of hidden states or embeddings, whatever their length (Sanh et al. 2019, section 2)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from edgekd.losses._features import check_not_empty, mean_over_tokens, refuse


def loss(
    *,
    student_feature: torch.Tensor,
    teacher_feature: torch.Tensor,
    projector: nn.Module,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    r"""Compare the angles between the student's vectors and the teacher's.

    .. math:: \frac{1}{B} \sum_b \frac{1}{T_b} \sum_{t=1}^{T_b} \left( 1 - \cos(r(v_{bt}), u_{bt}) \right)

    with the student's v and the teacher's u (DistilBERT, arXiv:1910.01108, section 2: "a cosine embedding loss which
    will tend to align the directions of the student and teacher hidden states vectors"), and r, which does nothing
    where both have one width. The authors' code averages over all tokens of a batch at once. Vectors of samples, such
    as embeddings of sentences, are sequences of one token.

    Args:
        student_feature: (B, T, D) or (B, D).
        teacher_feature: (B, T, E) or (B, E).
        projector: What `build_projector` made.
        mask: (B, T), false where a sequence is filled up: padding does not count.

    Returns:
        Scalar, no unit, from 0 for equal directions to 2 for opposite ones.

    >>> feature = torch.tensor([[3.0, 4.0]])
    >>> round(float(loss(student_feature=2 * feature, teacher_feature=feature, projector=nn.Identity())), 6)
    0.0
    """
    away = 1 - functional.cosine_similarity(projector(student_feature), teacher_feature, dim=-1)
    return mean_over_tokens(away.reshape(len(away), -1), mask)


def build_projector(*, student_shape: tuple[int, ...], teacher_shape: tuple[int, ...]) -> nn.Module:
    """Make what brings the student's width to the teacher's: a linear layer, or nothing where they are equal.

    Args:
        student_shape: (T, D) or (D,).
        teacher_shape: (T, E) or (E,).

    Returns:
        A module from (..., D) to (..., E).

    Raises:
        ConfigError: They are neither two vectors nor two sequences of one length.

    >>> build_projector(student_shape=(32, 64), teacher_shape=(32, 128))
    Linear(in_features=64, out_features=128, bias=False)
    """
    check_not_empty("cosine", student_shape, teacher_shape)
    if len(student_shape) > 2 or student_shape[:-1] != teacher_shape[:-1]:
        raise refuse(
            "cosine",
            student_shape,
            teacher_shape,
            "two vectors, or two sequences of equal length",
            "choose layers that give hidden states or embeddings",
        )
    if student_shape[-1] == teacher_shape[-1]:
        return nn.Identity()
    return nn.Linear(student_shape[-1], teacher_shape[-1], bias=False)
