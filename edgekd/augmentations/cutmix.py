"""Pastes a rectangle of another image, and its share of the label (Yun et al. 2019, "CutMix", eq. 1 and 2)."""

from __future__ import annotations

import torch

from edgekd.augmentations._random import beta, uniform
from edgekd.errors import ConfigError


def augment(
    *,
    seed: int,
    view: int,
    indices: torch.Tensor,
    inputs: torch.Tensor,
    partners: torch.Tensor,
    alpha: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Paste rectangles with sides :math:`\sqrt{1 - \lambda}` of the image, :math:`\lambda \sim Beta(\alpha, \alpha)`.

    Args:
        seed: Of the augmentations.
        view: Number of the view.
        indices: (B,) sample indices.
        inputs: (B, C, H, W) float32, ready for the network.
        partners: The same of the images that the rectangles come from.
        alpha: 1 makes all sizes equally likely.

    Returns:
        (B, C, H, W), and (B,) the share of pixels that each image kept.

    Raises:
        ConfigError: `alpha` is not above 0.

    >>> images, share = augment(
    ...     seed=0, view=0, indices=torch.arange(2), inputs=torch.ones(2, 1, 8, 8), partners=torch.zeros(2, 1, 8, 8))
    >>> bool(torch.allclose(images.mean((1, 2, 3)), share))
    True
    """
    if alpha <= 0:
        raise ConfigError(f"alpha = {alpha}", where="augmentation cutmix", allowed="above 0")
    height, width = inputs.shape[-2:]
    side = (1 - beta(seed, view, indices, stream=0, alpha=alpha)).sqrt()

    def span(size: int, stream: int) -> torch.Tensor:
        """Which of `size` pixels lie in the rectangle: its centre is anywhere, its ends are cut off at the edges."""
        centre = (uniform(seed, view, indices, stream) * size).long()
        half = (side * size).long() // 2
        pixels = torch.arange(size, device=inputs.device)
        return (pixels >= (centre - half)[:, None]) & (pixels < (centre + half)[:, None])

    pasted = span(height, 1001)[:, :, None] & span(width, 1002)[:, None, :]
    share = 1 - pasted.float().mean((1, 2))
    return torch.where(pasted[:, None], partners, inputs), share
