"""What feature losses share: which shapes fit together, and how maps of different size meet."""

from __future__ import annotations

import torch
from torch.nn import functional

from edgekd.errors import ConfigError

Shape = tuple[int, ...]


def refuse(loss: str, student: Shape, teacher: Shape, allowed: str, next_step: str) -> ConfigError:
    """Make the error for shapes that can't match.

    >>> print(refuse("hint", (8,), (4, 2, 2), "two vectors", "choose other layers"))
    loss hint: the student's layer gives (8,), the teacher's (4, 2, 2); allowed: two vectors; choose other layers
    """
    return ConfigError(
        f"the student's layer gives {tuple(student)}, the teacher's {tuple(teacher)}",
        where=f"loss {loss}",
        allowed=allowed,
        next_step=next_step,
    )


def check_count(loss: str, option: str, value: int) -> None:
    """Refuse an option that is not a whole number of at least 1.

    >>> check_count("crd", "dimension", 128)
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{option} = {value!r}", where=f"loss {loss}", allowed="a whole number, at least 1")


def check_not_empty(loss: str, student: Shape, teacher: Shape) -> None:
    """Refuse features without values.

    >>> check_not_empty("rkd", (64,), (128, 4, 4))
    """
    if any(not shape or min(shape) < 1 for shape in (student, teacher)):
        raise refuse(loss, student, teacher, "one or more sizes, at least 1", "choose layers that give features")


def check_maps(loss: str, student: Shape, teacher: Shape) -> None:
    """Refuse maps (C, H, W) whose sizes `equal_size` can't bring together.

    >>> check_maps("hint", (16, 8, 8), (64, 4, 4))
    """
    check_not_empty(loss, student, teacher)
    if any(max(pair) % min(pair) for pair in zip(student[1:], teacher[1:], strict=True)):
        raise refuse(
            loss,
            student,
            teacher,
            "equal heights and widths, or one a whole multiple of the other",
            "choose layers of the same stride",
        )


def equal_size(student: torch.Tensor, teacher: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Average the larger of two maps over blocks, so that both have the same height and width.

    Args:
        student: (B, C, H, W).
        teacher: (B, D, K H, L W), or the other way round in any direction.

    Returns:
        Both, of the smaller height and the smaller width.

    >>> [tuple(each.shape) for each in equal_size(torch.zeros(2, 3, 4, 4), torch.zeros(2, 8, 8, 2))]
    [(2, 3, 4, 2), (2, 8, 4, 2)]
    """
    size = [min(pair) for pair in zip(student.shape[2:], teacher.shape[2:], strict=True)]
    return _pool(student, size), _pool(teacher, size)


def _pool(maps: torch.Tensor, size: list[int]) -> torch.Tensor:
    # Adaptive pooling has no deterministic gradient on GPUs.
    blocks = [large // small for large, small in zip(maps.shape[2:], size, strict=True)]
    return maps if max(blocks) == 1 else functional.avg_pool2d(maps, blocks)


def vectors(feature: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Make one vector of each sample's feature: maps are averaged over space, sequences over tokens.

    Args:
        feature: (B, D), (B, T, D) or (B, D, H, W).
        mask: (B, T), false where a sequence is filled up.

    Returns:
        (B, D).

    >>> vectors(torch.ones(2, 5, 3, 3)).shape, vectors(torch.ones(2, 7, 5)).shape
    (torch.Size([2, 5]), torch.Size([2, 5]))
    """
    if feature.ndim == 4:
        return feature.mean(dim=(2, 3))
    if feature.ndim == 3 and mask is not None:
        return without_padding(feature, mask).sum(dim=1) / _lengths(mask, feature.dtype)[:, None]
    return feature.mean(dim=1) if feature.ndim == 3 else feature


def without_padding(feature: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Set to 0 what a network says of padding.

    Args:
        feature: (B, T, D) where there is a mask.
        mask: (B, T), false where a sequence is filled up; `None` where none is.

    >>> without_padding(torch.ones(1, 2, 2), torch.tensor([[True, False]])).tolist()
    [[[1.0, 1.0], [0.0, 0.0]]]
    """
    return feature if mask is None else feature.masked_fill(~mask[..., None], 0)


def mean_over_tokens(values: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Average over the tokens of each sample, then over samples: a long text counts as much as a short one.

    Args:
        values: (B, T), one for each token.
        mask: (B, T), false where a sequence is filled up; `None` where none is.

    Returns:
        Scalar.

    >>> float(mean_over_tokens(torch.tensor([[1.0, 5.0], [2.0, 4.0]]), torch.tensor([[True, False], [True, True]])))
    2.0
    """
    if mask is None:
        return values.mean()
    return (values.masked_fill(~mask, 0).sum(dim=1) / _lengths(mask, values.dtype)).mean()


def _lengths(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return mask.sum(dim=1).clamp(min=1).to(dtype)
