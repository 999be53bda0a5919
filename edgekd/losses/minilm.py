"""How tokens relate within a sequence, by queries, keys or values (MiniLMv2, Wang et al. 2021, section 3.1)."""

from __future__ import annotations

import torch
from torch.nn import functional

from edgekd.errors import ConfigError
from edgekd.losses._features import check_count, check_not_empty, refuse


def loss(*, student_feature: torch.Tensor, teacher_feature: torch.Tensor, heads: int = 12) -> torch.Tensor:
    r"""Compare self-attention relations, head by head.

    .. math:: \frac{1}{B A T} \sum_{b,a,t} \mathrm{KL}(R^{teacher}_{bat} \| R^{student}_{bat}), \quad
        R_{ba} = \mathrm{softmax}\left( \frac{V_{ba} V_{ba}^\top}{\sqrt{d}} \right)

    with V_ba the (T, d) part of the feature that belongs to relation head a of A (arXiv:2012.15828, section 3.1). The
    paper sums three such terms, on the outputs of the query, key and value projections of one layer each: name the
    three as three losses. Networks may differ in width and in their own number of heads, not in T.

    Args:
        student_feature: (B, T, D), D a multiple of `heads`.
        teacher_feature: (B, T, E), E a multiple of `heads`.
        heads: Number of relation heads A.

    Returns:
        Scalar, in nats, 0 when student equals teacher.

    >>> feature = torch.randn(2, 5, 24)
    >>> float(loss(student_feature=feature, teacher_feature=feature))
    0.0
    """
    student, teacher = (_relations(feature, heads) for feature in (student_feature, teacher_feature))
    return functional.kl_div(student, teacher, reduction="sum", log_target=True) / student.shape[:-1].numel()


def check_shapes(*, student_shape: tuple[int, ...], teacher_shape: tuple[int, ...], heads: int = 12) -> None:
    """Refuse layers that give no sequences of equal length, or widths that don't divide into heads.

    Args:
        student_shape: (T, D).
        teacher_shape: (T, E).
        heads: Number of relation heads.

    Raises:
        ConfigError: They can't match.

    >>> check_shapes(student_shape=(128, 384), teacher_shape=(128, 768), heads=12)
    """
    check_count("minilm", "heads", heads)
    check_not_empty("minilm", student_shape, teacher_shape)
    if (len(student_shape), len(teacher_shape)) != (2, 2) or student_shape[0] != teacher_shape[0]:
        raise refuse(
            "minilm",
            student_shape,
            teacher_shape,
            "two sequences (tokens, width) of equal length",
            "choose the query, key or value projections of attention layers",
        )
    for side, width in (("student", student_shape[1]), ("teacher", teacher_shape[1])):
        if width % heads:
            raise ConfigError(
                f"the {side}'s width {width} does not divide into heads = {heads}",
                where="loss minilm",
                allowed="a number of heads that divides both widths",
            )


def _relations(feature: torch.Tensor, heads: int) -> torch.Tensor:
    """Logarithms of (B, heads, T, T) relations."""
    parts = feature.reshape(*feature.shape[:2], heads, -1).transpose(1, 2)
    return functional.log_softmax(parts @ parts.transpose(2, 3) / parts.shape[-1] ** 0.5, dim=-1)
