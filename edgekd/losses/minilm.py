"""How tokens relate within a sequence, by queries, keys or values (MiniLM and MiniLMv2, Wang et al. 2020 and 2021)."""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional

from edgekd.errors import ConfigError
from edgekd.losses._features import check_count, check_not_empty, mean_over_tokens, refuse

_RELATIONS = ("self", "query_key")


def loss(
    *,
    student_feature: torch.Tensor,
    teacher_feature: torch.Tensor,
    mask: torch.Tensor | None = None,
    heads: int = 12,
    relation: Literal["self", "query_key"] = "self",
) -> torch.Tensor:
    r"""Compare self-attention relations, head by head.

    .. math:: \frac{1}{B} \sum_b \frac{1}{A T_b} \sum_{a=1}^{A} \sum_{t=1}^{T_b}
        \mathrm{KL}(R^{teacher}_{bat} \| R^{student}_{bat}), \quad
        R_{ba} = \mathrm{softmax}\left( \frac{V_{ba} V_{ba}^\top}{\sqrt{d}} \right)

    with V_ba the (T_b, d) part of the feature that belongs to relation head a of A. MiniLMv2 (arXiv:2012.15828, section
    3.1) sums three such terms, on the outputs of the query, key and value projections of one layer each: name the
    three as three losses. MiniLM (arXiv:2002.10957, eqs. 4 to 6) takes the values' relation and, for the attention's
    own distributions, `relation = "query_key"`: softmax of Q K^T / sqrt(d), of the layers "...query+...key", with as
    many heads as both networks have. Networks may differ in width and in their own number of heads, not in T. Padding
    is neither related to nor counted.

    Args:
        student_feature: (B, T, D), D a multiple of `heads`; queries and keys side by side for `query_key`.
        teacher_feature: (B, T, E), E a multiple of `heads`.
        mask: (B, T), false where a sequence is filled up.
        heads: Number of relation heads A.
        relation: Of one projection's outputs to themselves, or of queries to keys.

    Returns:
        Scalar, in nats, 0 when student equals teacher.

    >>> feature = torch.randn(2, 5, 24)
    >>> float(loss(student_feature=feature, teacher_feature=feature))
    0.0
    """
    student, teacher = (
        _relations(feature, heads, mask, relation=relation) for feature in (student_feature, teacher_feature)
    )
    each = functional.kl_div(student, teacher, reduction="none", log_target=True)
    return mean_over_tokens(each.sum(dim=-1).mean(dim=1), mask)


def check_shapes(
    *,
    student_shape: tuple[int, ...],
    teacher_shape: tuple[int, ...],
    heads: int = 12,
    relation: Literal["self", "query_key"] = "self",
) -> None:
    """Refuse layers that give no sequences of equal length, or widths that don't divide into heads.

    Args:
        student_shape: (T, D).
        teacher_shape: (T, E).
        heads: Number of relation heads.
        relation: As for `loss`.

    Raises:
        ConfigError: They can't match.

    >>> check_shapes(student_shape=(128, 384), teacher_shape=(128, 768), heads=12)
    """
    check_count("minilm", "heads", heads)
    if relation not in _RELATIONS:
        raise ConfigError(f"relation = {relation!r}", where="loss minilm", allowed=" or ".join(map(repr, _RELATIONS)))
    check_not_empty("minilm", student_shape, teacher_shape)
    if (len(student_shape), len(teacher_shape)) != (2, 2) or student_shape[0] != teacher_shape[0]:
        raise refuse(
            "minilm",
            student_shape,
            teacher_shape,
            "two sequences (tokens, width) of equal length",
            "choose the query, key or value projections of attention layers",
        )
    parts = 2 if relation == "query_key" else 1
    for side, width in (("student", student_shape[1]), ("teacher", teacher_shape[1])):
        if width % (heads * parts):
            raise ConfigError(
                f"the {side}'s width {width} does not divide into heads = {heads}"
                + (" of queries and of keys" if parts == 2 else ""),
                where="loss minilm",
                allowed="a number of heads that divides both widths",
                next_step='name "...query+...key", two layers of one width' if parts == 2 else None,
            )


def _relations(
    feature: torch.Tensor, heads: int, mask: torch.Tensor | None, *, relation: Literal["self", "query_key"]
) -> torch.Tensor:
    """Logarithms of (B, heads, T, T) relations."""
    halves = feature.chunk(2, dim=-1) if relation == "query_key" else (feature, feature)
    rows, columns = (each.reshape(*each.shape[:2], heads, -1).transpose(1, 2) for each in halves)
    scores = rows @ columns.transpose(2, 3) / rows.shape[-1] ** 0.5
    if mask is not None:
        # Not infinity, of which a difference of two would be no number.
        scores = scores.masked_fill(~mask[:, None, None, :], torch.finfo(scores.dtype).min / 2)
    return functional.log_softmax(scores, dim=-1)
