"""What is seen of a sample depends on (seed, view, sample) alone, and can be shown again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from edgekd.augmentations._random import uniform
from edgekd.datasets import Dataset, Split
from edgekd.errors import ConfigError
from edgekd.records import AugmentationTerm
from edgekd.stages.distill.views import Views

Make = Callable[..., nn.Module]
CPU = torch.device("cpu")
SHIFT, FLIP, MIXUP, CUTMIX = (AugmentationTerm(name=name) for name in ("shift", "flip", "mixup", "cutmix"))
CHAINS = [(), (SHIFT, FLIP), (MIXUP,), (FLIP, MIXUP), (SHIFT, FLIP, CUTMIX)]


def views_of(data: Dataset, *terms: AugmentationTerm, seed: int = 0) -> Views:
    return Views(data.train, data, terms, seed, CPU)


# The dataset is only read.
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chain=st.sampled_from(CHAINS),
    order=st.permutations(range(60)),
    size=st.integers(1, 60),
    seed=st.integers(0, 2**31),
    view=st.integers(0, 10_000),
)
def test_neither_order_nor_batch_changes_what_is_seen_of_a_sample(
    data: Dataset, chain: tuple[AugmentationTerm, ...], order: list[int], size: int, seed: int, view: int
) -> None:
    views = views_of(data, *chain, seed=seed)
    whole = views.batch(torch.arange(60), view)
    for part in torch.tensor(order).split(size):  # type: ignore[no-untyped-call]  # torch's stubs
        batch = views.batch(part, view)
        assert torch.equal(batch.inputs, whole.inputs[part])
        assert torch.equal(batch.labels, whole.labels[part])
        assert torch.equal(batch.indices, part)
        assert batch.view == view


@pytest.mark.parametrize("term", [MIXUP, CUTMIX])
def test_mixing_is_replayed_from_the_views_of_both_samples(data: Dataset, term: AugmentationTerm) -> None:
    """Partner and share are functions of (seed, view, sample): NumPy puts the same images together again."""
    plain, mixing = views_of(data, SHIFT, FLIP, seed=5), views_of(data, SHIFT, FLIP, term, seed=5)
    indices = torch.arange(60)
    shares = []
    for view in range(4):
        partner = np.floor(uniform(5, view, indices, 1_000_000).double().numpy() * 60).astype(int)
        assert len(set(partner)) > 20
        own, batch = plain.batch(indices, view), mixing.batch(indices, view)
        images, mixed = own.inputs.numpy(), batch.inputs.numpy()
        hot = np.eye(4)[data.train.labels]
        labels = batch.labels.double().numpy()
        np.testing.assert_allclose(labels.sum(1), 1, atol=1e-6)
        apart = data.train.labels != data.train.labels[partner]
        share = labels[np.arange(60), data.train.labels]
        np.testing.assert_allclose(labels[apart], (share[:, None] * hot + (1 - share)[:, None] * hot[partner])[apart])
        np.testing.assert_array_equal(labels[~apart], hot[~apart])
        if term is MIXUP:
            wide = share[:, None, None, None]
            expected = wide * images + (1 - wide) * images[partner]
            np.testing.assert_allclose(mixed[apart], expected[apart], atol=1e-6)
        else:
            taken = mixed == images
            assert (taken | (mixed == images[partner])).all()
            assert (taken.mean((1, 2, 3)) >= share - 1e-6)[apart].all(), "equal pixels count as its own"
        shares.append(share)
    assert not np.array_equal(shares[0], shares[1]), "every view mixes anew"


def test_a_sample_without_label_adds_nothing_to_a_mixed_one(data: Dataset) -> None:
    labels = np.where(np.arange(60) % 3 == 0, -1, data.train.labels)
    half = replace(data, train=replace(data.train, labels=labels))
    indices = torch.arange(60)
    partner = np.floor(uniform(0, 0, indices, 1_000_000).double().numpy() * 60).astype(int)
    known, whole = views_of(half, MIXUP).batch(indices, 0), views_of(data, MIXUP).batch(indices, 0)
    assert torch.equal(known.inputs, whole.inputs), "what is seen does not depend on labels"
    neither = (labels < 0) & (labels[partner] < 0)
    both = (labels >= 0) & (labels[partner] >= 0)
    assert neither.any()
    assert both.any()
    np.testing.assert_array_equal(known.labels[neither], 0)
    assert torch.equal(known.labels[both], whole.labels[both])
    own = (labels >= 0) & (labels[partner] < 0)
    assert (known.labels[own].sum(1) <= 1).all()
    assert (known.labels[own] <= whole.labels[own]).all()
    assert torch.equal(views_of(half).batch(indices, 0).labels, torch.from_numpy(labels))


def test_what_is_reconstructed_is_what_was_seen(data: Dataset) -> None:
    normal = replace(data, task="reconstruction", train=replace(data.train, labels=np.zeros(60, np.int64)))
    batch = views_of(normal, SHIFT).batch(torch.arange(7), 3)
    np.testing.assert_array_equal(batch.labels, batch.inputs.flatten(1))


def test_positions_say_where_samples_lie_in_their_source(data: Dataset) -> None:
    part = replace(data, train=data.train.take(np.arange(59, -1, -3)))
    assert views_of(part).batch(torch.tensor([0, 4]), 0).positions.tolist() == [59, 47]
    assert views_of(data).batch(torch.tensor([0, 4]), 0).positions.tolist() == [0, 4]


def test_a_memory_mapped_split_is_not_copied_nor_written_to(data: Dataset, tmp_path: Path) -> None:
    np.save(tmp_path / "inputs.npy", data.train.inputs)
    before = (tmp_path / "inputs.npy").read_bytes()
    mapped = np.load(tmp_path / "inputs.npy", mmap_mode="r")
    views = views_of(replace(data, train=Split(inputs=mapped, labels=data.train.labels)), SHIFT, FLIP, MIXUP)
    assert np.shares_memory(views.inputs.numpy(), mapped)
    expected = views_of(data, SHIFT, FLIP, MIXUP).batch(torch.arange(60), 0)
    assert torch.equal(views.batch(torch.arange(60), 0).inputs, expected.inputs)
    assert (tmp_path / "inputs.npy").read_bytes() == before


def test_floats_are_scaled_without_a_change_to_the_split(data: Dataset) -> None:
    inputs = data.train.inputs.astype(np.float32)
    views = views_of(replace(data, train=replace(data.train, inputs=inputs.copy())))
    found = [views.batch(torch.arange(60), 0).inputs for _ in range(2)]
    np.testing.assert_allclose(found[0], inputs / 255, rtol=1e-6)
    assert torch.equal(*found)


def test_the_fingerprint_is_that_of_what_a_teacher_sees(data: Dataset) -> None:
    plain = views_of(data).fingerprint
    changed = data.train.inputs.copy()
    changed[7, 0, 1, 2] ^= 1
    others = [
        replace(data, train=replace(data.train, inputs=changed)),
        replace(data, train=replace(data.train, inputs=data.train.inputs.reshape(60, 1, 2, 8))),
        replace(data, train=replace(data.train, inputs=data.train.inputs.view(np.int8))),
        replace(data, train=replace(data.train, positions=np.arange(1, 61))),
        replace(data, scale=1 / 256),
    ]
    assert len({plain, *(views_of(each).fingerprint for each in others)}) == 6
    same = replace(data, train=replace(data.train, labels=data.train.labels[::-1], positions=np.arange(60)))
    assert views_of(same).fingerprint == plain, "labels are nothing to a teacher"


def test_mixing_comes_last_and_needs_classes(data: Dataset) -> None:
    with pytest.raises(ConfigError, match="'flip' after an augmentation that mixes samples; allowed: one, at the end"):
        views_of(data, MIXUP, FLIP)
    numbers = replace(data, task="regression", train=replace(data.train, labels=np.zeros((60, 4), np.float32)))
    with pytest.raises(ConfigError, match="augmentation 'cutmix' mixes classes; the task is regression"):
        views_of(numbers, CUTMIX)
