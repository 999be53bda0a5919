"""Where a network looks: maps of activation strength over space (Zagoruyko & Komodakis 2017, eq. 2)."""

from __future__ import annotations

import torch
from torch.nn import functional

from edgekd.losses._features import check_maps, equal_size, refuse


def loss(*, student_feature: torch.Tensor, teacher_feature: torch.Tensor, power: float = 2.0) -> torch.Tensor:
    r"""Compare the attention maps of two layers, each of unit length.

    .. math:: \frac{1}{2 B} \sum_b \left\| \frac{Q^{student}_b}{\|Q^{student}_b\|_2}
        - \frac{Q^{teacher}_b}{\|Q^{teacher}_b\|_2} \right\|_2^2, \quad Q_{hw} = \sum_c |A_{chw}|^p

    (arXiv:1612.03928, eqs. 1 and 2). The norm is squared, as in the authors' code, for a gradient at 0. They divide
    by the number of positions instead of 2: their beta is a weight of `2 beta / (H W)` here. Of maps of different size
    the larger is averaged over blocks.

    Args:
        student_feature: (B, C, H, W).
        teacher_feature: (B, D, H', W').
        power: p, at least 1; larger ones look at the strongest activations only.

    Returns:
        Scalar, no unit, 0 for equal attention, 1 where it is nowhere the same.

    >>> feature = torch.rand(2, 3, 4, 4)
    >>> float(loss(student_feature=feature, teacher_feature=torch.cat([feature, feature], dim=1))) < 1e-12
    True
    """
    student, teacher = (
        feature.abs().pow(power).sum(dim=1, keepdim=True) for feature in (student_feature, teacher_feature)
    )
    student, teacher = (functional.normalize(maps.flatten(1), dim=1) for maps in equal_size(student, teacher))
    return (student - teacher).square().sum(dim=1).mean() / 2


def check_shapes(*, student_shape: tuple[int, ...], teacher_shape: tuple[int, ...]) -> None:
    """Refuse layers that give no maps, or maps whose sizes are no multiples.

    Args:
        student_shape: (C, H, W).
        teacher_shape: (D, H', W').

    Raises:
        ConfigError: They can't match.

    >>> check_shapes(student_shape=(16, 8, 8), teacher_shape=(64, 16, 16))
    """
    if (len(student_shape), len(teacher_shape)) != (3, 3):
        raise refuse(
            "attention_transfer",
            student_shape,
            teacher_shape,
            "two maps (channels, height, width)",
            "choose convolutional layers",
        )
    check_maps("attention_transfer", student_shape, teacher_shape)
