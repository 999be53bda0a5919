"""Pasting: one rectangle of the other image, as large as the paper says, and the share of pixels that is left."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from edgekd import registry
from edgekd.augmentations._random import beta
from edgekd.errors import ConfigError

cutmix = registry.function("augmentations", "cutmix")


def masks(count: int, height: int, width: int, *, seed: int = 0) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which pixels came from the other image, and the shares."""
    own, other = torch.zeros(count, 2, height, width), torch.ones(count, 2, height, width)
    made, share = cutmix(seed=seed, view=1, indices=torch.arange(count), inputs=own, partners=other)
    pasted: NDArray[np.bool_] = made.numpy() == 1
    np.testing.assert_array_equal(pasted[:, 0], pasted[:, 1])
    return pasted[:, 0], share.double().numpy()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (9, 20), (1, 7)])
def test_pastes_one_rectangle_and_says_what_is_left(height: int, width: int) -> None:
    pasted, share = masks(500, height, width)
    for mask in pasted:
        rows, columns = mask.any(1), mask.any(0)
        np.testing.assert_array_equal(mask, rows[:, None] & columns[None])
        for line in (rows, columns):
            assert np.abs(np.diff(line.astype(int))).sum() <= 2, "no gaps"
    np.testing.assert_allclose(share, 1 - pasted.mean((1, 2)), atol=1e-6)


def test_rectangles_that_are_not_cut_off_have_the_paper_s_sides() -> None:
    size, count = 64, 2000
    pasted, _ = masks(count, size, size)
    kept = beta(0, 1, torch.arange(count), stream=0, alpha=1.0).double().numpy()
    side = np.sqrt(1 - kept) * size  # r_w = W sqrt(1 - lambda)
    inner = ~(pasted[:, 0].any(1) | pasted[:, -1].any(1) | pasted[:, :, 0].any(1) | pasted[:, :, -1].any(1))
    inner &= pasted.any((1, 2))
    assert inner.sum() > 100
    for axis in (1, 2):
        found = pasted[inner].any(axis).sum(1)
        assert np.abs(found - side[inner]).max() <= 2, "whole pixels, of an even number"


def test_centres_are_anywhere() -> None:
    size = 16
    pasted, _ = masks(20_000, size, size)
    # Rectangles of two pixels are hardly ever cut off: where they lie is where their centres are.
    small = pasted[pasted.sum((1, 2)) == 4]
    rows = small.any(2).argmax(1)
    assert len(small) > 200
    assert stats.chisquare(np.bincount(rows, minlength=size - 1)).pvalue > 1e-4


def test_other_pixels_are_the_image_s_own() -> None:
    generator = torch.Generator().manual_seed(0)
    own, other = (torch.rand(100, 3, 8, 8, generator=generator) for _ in range(2))
    made, share = cutmix(seed=0, view=0, indices=torch.arange(100), inputs=own, partners=other)
    assert bool(((made == own) | (made == other)).all())
    np.testing.assert_allclose((made == own).float().mean((1, 2, 3)), share, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, -1.0])
def test_sizes_that_no_distribution_gives_are_refused(alpha: float) -> None:
    nothing = torch.zeros(2, 1, 2, 2)
    with pytest.raises(ConfigError, match=f"augmentation cutmix: alpha = {alpha}; allowed: above 0"):
        cutmix(seed=0, view=0, indices=torch.arange(2), inputs=nothing, partners=nothing, alpha=alpha)
