"""Which samples of a batch excite a layer alike (Tung & Mori 2019, section 3)."""

from __future__ import annotations

import torch
from torch.nn import functional

from edgekd.losses._features import check_not_empty, without_padding


def loss(
    *, student_feature: torch.Tensor, teacher_feature: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    r"""Compare the similarities of all pairs of samples.

    .. math:: \frac{1}{B^2} \| G^{teacher} - G^{student} \|_F^2, \quad
        G_{i \cdot} = \frac{\tilde G_{i \cdot}}{\| \tilde G_{i \cdot} \|_2}, \; \tilde G = Q Q^\top

    with Q the (B, all else) features (arXiv:1907.09682, section 3).

    Args:
        student_feature: (B, ...), flattened.
        teacher_feature: (B, ...), flattened; another shape than the student's is fine.
        mask: (B, T), false where a sequence is filled up: padding does not count.

    Returns:
        Scalar, no unit, 0 for features equal up to a factor and a rotation.

    >>> feature = torch.randn(4, 3)
    >>> float(loss(student_feature=feature, teacher_feature=feature))
    0.0
    """
    student, teacher = (_similarities(without_padding(feature, mask)) for feature in (student_feature, teacher_feature))
    return (student - teacher).square().mean()


def check_shapes(*, student_shape: tuple[int, ...], teacher_shape: tuple[int, ...]) -> None:
    """Refuse features without values.

    Args:
        student_shape: Any.
        teacher_shape: Any.

    Raises:
        ConfigError: An empty shape.

    >>> check_shapes(student_shape=(16, 8, 8), teacher_shape=(64,))
    """
    check_not_empty("similarity_preserving", student_shape, teacher_shape)


def _similarities(feature: torch.Tensor) -> torch.Tensor:
    rows = feature.flatten(1)
    return functional.normalize(rows @ rows.T, dim=1)
