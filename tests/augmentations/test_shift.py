"""Moving images against a slow reference in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from edgekd import registry
from edgekd.augmentations._random import uniform
from edgekd.errors import ConfigError

shift = registry.function("augmentations", "shift")


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(1, 7),
    st.integers(1, 7),
    st.integers(0, 4),
    st.integers(0, 2**32),
)
def test_equals_a_loop_over_pixels(batch: int, channels: int, height: int, width: int, pixels: int, seed: int) -> None:
    images = np.random.default_rng(seed).integers(1, 256, (batch, channels, height, width), np.uint8)
    indices = torch.arange(100, 100 + batch)
    down, right = (
        np.floor(uniform(seed, 5, indices, stream).double().numpy() * (2 * pixels + 1)).astype(int) - pixels
        for stream in (0, 1)
    )
    expected = np.zeros_like(images)
    for sample in range(batch):
        for row in range(height):
            for column in range(width):
                y, x = row + down[sample], column + right[sample]
                if 0 <= y < height and 0 <= x < width:
                    expected[sample, :, row, column] = images[sample, :, y, x]
    found = shift(seed=seed, view=5, indices=indices, inputs=torch.from_numpy(images), max_pixels=pixels)
    np.testing.assert_array_equal(found.numpy(), expected)


def test_every_offset_is_as_likely_as_any_other() -> None:
    count, pixels = 25_000, 2
    dot = torch.zeros(count, 1, 5, 5, dtype=torch.uint8)
    dot[:, 0, 2, 2] = 1
    moved = shift(seed=0, view=0, indices=torch.arange(count), inputs=dot, max_pixels=pixels)
    assert int(moved.sum()) == count
    assert stats.chisquare(moved.sum(dim=(0, 1)).double().numpy().ravel()).pvalue > 1e-4


def test_no_pixels_leave_images_as_they_are_and_fewer_are_refused() -> None:
    images = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(shift(seed=0, view=0, indices=torch.arange(3), inputs=images, max_pixels=0), images)
    with pytest.raises(ConfigError, match="max_pixels = -1; allowed: 0 or more"):
        shift(seed=0, view=0, indices=torch.arange(3), inputs=images, max_pixels=-1)
