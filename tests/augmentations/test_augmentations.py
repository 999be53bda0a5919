"""What every augmentation must be: a pure function of (seed, view, sample index), whatever the batch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd import registry

NAMES = registry.names("augmentations")
MIXING = tuple(name for name in NAMES if "partners" in registry.passed("augmentations", name))
PLAIN = tuple(name for name in NAMES if name not in MIXING)
IMAGES = torch.randint(0, 256, (40, 3, 6, 5), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def augment(name: str, indices: torch.Tensor, *, seed: int = 0, view: int = 0) -> torch.Tensor:
    inputs = IMAGES[indices]
    function = registry.function("augmentations", name)
    if name not in MIXING:
        before = inputs.clone()
        made: torch.Tensor = function(seed=seed, view=view, indices=indices, inputs=inputs)
        assert torch.equal(inputs, before), "what it was given is left alone"
        return made
    inputs, partners = inputs / 255, IMAGES[(indices + 7) % 40] / 255
    originals = inputs.clone(), partners.clone()
    mixed, share = function(seed=seed, view=view, indices=indices, inputs=inputs, partners=partners)
    assert torch.equal(inputs, originals[0])
    assert torch.equal(partners, originals[1])
    assert share.shape == (len(indices),)
    return torch.cat([mixed.flatten(1), share[:, None]], 1)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(NAMES), st.permutations(range(40)), st.integers(1, 40), st.integers(0, 99), st.integers(0, 99))
def test_gives_a_sample_the_same_in_every_order_and_batch_size(
    name: str, order: list[int], size: int, seed: int, view: int
) -> None:
    whole = augment(name, torch.arange(40), seed=seed, view=view)
    indices = torch.tensor(order)
    parts = [augment(name, part, seed=seed, view=view) for part in torch.split(indices, size)]
    assert torch.equal(torch.cat(parts), whole[indices])


@pytest.mark.parametrize("name", NAMES)
def test_does_not_look_at_global_state(name: str) -> None:
    first = augment(name, torch.arange(40))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert torch.equal(augment(name, torch.arange(40)), first)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", NAMES)
def test_differs_from_view_to_view_seed_to_seed_and_sample_to_sample(name: str) -> None:
    first = augment(name, torch.arange(40))
    for other in (augment(name, torch.arange(40), view=1), augment(name, torch.arange(40), seed=1)):
        assert 0 < sum(not torch.equal(a, b) for a, b in zip(first, other, strict=True)) <= 40


@pytest.mark.parametrize("name", PLAIN)
def test_the_same_image_differs_from_sample_to_sample(name: str) -> None:
    function = registry.function("augmentations", name)
    one = IMAGES[:1].expand(40, -1, -1, -1)
    assert len(function(seed=0, view=0, indices=torch.arange(40), inputs=one).unique(dim=0)) > 1


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize(
    "dtype",
    [torch.uint8, torch.int8, torch.uint16, torch.int32, torch.float16, torch.float32, torch.float64, torch.bool],
)
def test_keeps_dtype_and_shape(name: str, dtype: torch.dtype) -> None:
    function = registry.function("augmentations", name)
    images = IMAGES.to(dtype)
    made = function(seed=3, view=1, indices=torch.arange(40), inputs=images)
    assert (made.dtype, made.shape) == (dtype, images.shape)
    bytes_first = function(seed=3, view=1, indices=torch.arange(40), inputs=IMAGES)
    assert torch.equal(made, bytes_first.to(dtype)), "values move, they do not change"
