"""Mirroring: each image whole or not at all, about half of them."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats

from edgekd import registry

flip = registry.function("augmentations", "flip")


def test_each_image_is_itself_or_its_mirror_image_and_half_are_mirrored() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4000, 2, 3, 4, generator=generator)
    made = flip(seed=0, view=0, indices=torch.arange(4000), inputs=images).numpy()
    mirrored = (made == images.numpy()[..., ::-1]).all(axis=(1, 2, 3))
    same = (made == images.numpy()).all(axis=(1, 2, 3))
    assert (mirrored ^ same).all()
    assert stats.binomtest(int(mirrored.sum()), 4000, 0.5).pvalue > 1e-4


def test_a_sample_is_mirrored_in_half_of_its_views() -> None:
    image = torch.tensor([[[[0.0, 1.0]]]])
    views = [float(flip(seed=0, view=view, indices=torch.tensor([7]), inputs=image)[0, 0, 0, 0]) for view in range(500)]
    assert stats.binomtest(int(np.sum(views)), 500, 0.5).pvalue > 1e-4
