"""Blends each sample, and its label, with another one (Zhang et al. 2018, mixup, eq. 1)."""

from __future__ import annotations

import torch

from edgekd.augmentations._random import beta
from edgekd.errors import ConfigError


def augment(
    *,
    seed: int,
    view: int,
    indices: torch.Tensor,
    inputs: torch.Tensor,
    partners: torch.Tensor,
    alpha: float = 0.2,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Blend samples: :math:`\lambda x + (1 - \lambda) x'` with :math:`\lambda \sim Beta(\alpha, \alpha)` for each.

    Args:
        seed: Of the augmentations.
        view: Number of the view.
        indices: (B,) sample indices.
        inputs: (B, ...) float32, ready for the network.
        partners: The same of the samples to blend with.
        alpha: Small values leave most samples almost as they are.

    Returns:
        (B, ...) blended inputs, and (B,) the share of the sample itself in each.

    Raises:
        ConfigError: `alpha` is not above 0.

    >>> inputs, share = augment(
    ...     seed=0, view=0, indices=torch.arange(2), inputs=torch.ones(2, 3), partners=torch.zeros(2, 3))
    >>> bool((inputs[:, 0] == share).all())
    True
    """
    if alpha <= 0:
        raise ConfigError(f"alpha = {alpha}", where="augmentation mixup", allowed="above 0")
    share = beta(seed, view, indices, stream=0, alpha=alpha)
    wide = share.reshape(-1, *[1] * (inputs.ndim - 1))
    return wide * inputs + (1 - wide) * partners, share
