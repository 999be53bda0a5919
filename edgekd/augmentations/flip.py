"""Mirrors each image left to right with probability one half."""

from __future__ import annotations

import torch

from edgekd.augmentations._random import uniform


def augment(*, seed: int, view: int, indices: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Mirror images.

    Args:
        seed: Of the run.
        view: Number of the view.
        indices: (B,) sample indices.
        inputs: (B, C, H, W), any dtype.

    Returns:
        (B, C, H, W), same dtype.

    >>> augment(seed=0, view=0, indices=torch.arange(2), inputs=torch.ones(2, 1, 4, 4)).shape
    torch.Size([2, 1, 4, 4])
    """
    mirrored = uniform(seed, view, indices, 2) < 0.5
    backwards = torch.arange(inputs.shape[-1] - 1, -1, -1, device=inputs.device)
    # Indexed rather than flipped: torch can't flip uint16, and medical images are.
    return torch.where(mirrored[:, None, None, None], inputs[..., backwards], inputs)
