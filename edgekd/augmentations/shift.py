"""Moves each image by up to so many pixels, filling with zeros (a padded random crop)."""

from __future__ import annotations

import torch
from torch.nn import functional

from edgekd.augmentations._random import uniform
from edgekd.errors import ConfigError


def augment(*, seed: int, view: int, indices: torch.Tensor, inputs: torch.Tensor, max_pixels: int = 2) -> torch.Tensor:
    """Move images.

    Args:
        seed: Of the run.
        view: Number of the view.
        indices: (B,) sample indices.
        inputs: (B, C, H, W), any dtype.
        max_pixels: In each direction.

    Returns:
        (B, C, H, W), same dtype.

    Raises:
        ConfigError: `max_pixels` below 0.

    >>> augment(seed=0, view=0, indices=torch.arange(2), inputs=torch.ones(2, 1, 4, 4)).shape
    torch.Size([2, 1, 4, 4])
    """
    if max_pixels < 0:
        raise ConfigError(f"max_pixels = {max_pixels}", where="augmentation shift", allowed="0 or more")
    batch, channels, height, width = inputs.shape
    padded = functional.pad(inputs, (max_pixels,) * 4)
    steps = 2 * max_pixels + 1
    down, right = ((uniform(seed, view, indices, stream) * steps).long() for stream in (0, 1))
    device = inputs.device
    rows = (down[:, None] + torch.arange(height, device=device))[:, None, :, None]
    columns = (right[:, None] + torch.arange(width, device=device))[:, None, None, :]
    sample = torch.arange(batch, device=device)[:, None, None, None]
    channel = torch.arange(channels, device=device)[None, :, None, None]
    return padded[sample, channel, rows, columns]
