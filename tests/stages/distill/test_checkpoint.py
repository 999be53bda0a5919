"""A training that is killed at any point ends with the same bytes as one that was not."""

from __future__ import annotations

import importlib
import logging
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn

from edgekd import registry
from edgekd.datasets import Dataset
from edgekd.progress import Silent
from edgekd.records import AugmentationTerm, DistillSpec, LossTerm
from edgekd.stages.distill import Distilled, distill
from edgekd.stages.distill.checkpoint import Checkpoint, load_checkpoint

Make = Callable[..., nn.Module]
EPOCHS, STEPS = 4, 3  # 60 samples in batches of 16
SPEC = DistillSpec(
    epochs=EPOCHS,
    batch_size=16,
    mixed_precision="off",
    weak_teachers="warn",
    cache="off",
    augmentations=(AugmentationTerm(name="shift", options={"max_pixels": 1}), AugmentationTerm(name="flip")),
)


class Kill(Silent):
    """Progress that raises after so many steps of this run."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.begun = self.ended = 0

    def start(self, task: str, total: int) -> None:
        assert (task, total) == ("student", EPOCHS * STEPS)

    def advance(self, count: int = 1) -> None:
        if not self.begun:  # tells where a resumed run starts
            self.begun = 1
            assert count % STEPS == 0
            return
        self.left -= count
        if not self.left:
            raise KeyboardInterrupt

    def end(self) -> None:
        self.ended += 1


def outcome(trained: Distilled) -> tuple[bytes, object]:
    return save({key: value.contiguous() for key, value in trained.network.state_dict().items()}), trained.history


def kill(after: int, make: Make, data: Dataset, folder: Path, spec: DistillSpec) -> None:
    state = torch.get_rng_state()
    progress = Kill(after)
    with pytest.raises(KeyboardInterrupt):
        distill(make(), data=data, teachers=[make(1)], spec=spec, folder=folder, progress=progress)
    assert progress.ended == 1
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_killed_in_every_epoch_and_gone_on_gives_the_same_bytes(
    data: Dataset, make: Make, tmp_path: Path, optimizer: Literal["sgd", "adamw"]
) -> None:
    spec = replace(SPEC, optimizer=optimizer, learning_rate=0.1 if optimizer == "sgd" else 0.01)
    whole = outcome(distill(make(), data=data, teachers=[make(1)], spec=spec))
    for after in range(1, EPOCHS * STEPS, 2):  # the first, a middle or the last step of every epoch
        folder = tmp_path / str(after)
        kill(after, make, data, folder, spec)
        torch.manual_seed(after)  # what the caller did in between does not matter
        assert outcome(distill(make(), data=data, teachers=[make(1)], spec=spec, folder=folder)) == whole


def test_killed_again_and_again_gives_the_same_bytes(data: Dataset, make: Make, tmp_path: Path) -> None:
    whole = outcome(distill(make(), data=data, teachers=[make(1)], spec=SPEC))
    for epoch in range(EPOCHS):
        kill(STEPS + 1 if epoch < EPOCHS - 1 else STEPS, make, data, tmp_path, SPEC)
        kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
        assert kept["epoch"] == min(epoch + 1, EPOCHS - 1)
    assert outcome(distill(make(), data=data, teachers=[make(1)], spec=SPEC, folder=tmp_path)) == whole
    # Of a finished training the checkpoint is all of it.
    progress = Kill(1)
    again = distill(make(), data=data, teachers=[make(1)], spec=SPEC, folder=tmp_path, progress=progress)
    assert outcome(again) == whole
    assert progress.left == 1


def test_early_stop_and_going_on_agree(data: Dataset, make: Make, tmp_path: Path) -> None:
    spec = replace(SPEC, patience=1, learning_rate=1e-6)
    whole = distill(make(), data=data, teachers=[make(1)], spec=spec)
    kill(STEPS + 1, make, data, tmp_path, spec)
    resumed = distill(make(), data=data, teachers=[make(1)], spec=spec, folder=tmp_path)
    assert outcome(resumed) == outcome(whole)
    again = distill(make(), data=data, teachers=[make(1)], spec=spec, folder=tmp_path)
    assert outcome(again) == outcome(whole), "a training that stopped early does not go on"


def test_a_checkpoint_of_another_training_is_not_used(
    data: Dataset, make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kill(STEPS + 1, make, data, tmp_path, SPEC)
    kept = (tmp_path / "checkpoint.pt").read_bytes()
    caplog.set_level(logging.INFO, "edgekd")
    relabelled = replace(data, train=replace(data.train, labels=data.train.labels[::-1].copy()))
    others: list[tuple[nn.Module, Dataset, list[nn.Module], DistillSpec]] = [
        (make(), data, [make(1)], replace(SPEC, seed=1)),
        (make(), data, [make(1)], replace(SPEC, epochs=5)),
        (make(), data, [make(1)], replace(SPEC, losses=(LossTerm(name="kl"),))),
        (make(), data, [make(2)], SPEC),
        (make(), data, [make(1), make(2)], SPEC),
        (make(2), data, [make(1)], SPEC),
        (make(dropout=0.1), data, [make(1)], SPEC),
        (make(), relabelled, [make(1)], SPEC),
    ]
    for student, samples, teachers, spec in others:
        (tmp_path / "checkpoint.pt").write_bytes(kept)
        caplog.clear()
        distill(student, data=samples, teachers=teachers, spec=spec, folder=tmp_path)
        assert "belongs to another recipe" in caplog.text
        assert "going on" not in caplog.text
    (tmp_path / "checkpoint.pt").write_bytes(kept)
    caplog.clear()
    distill(make(), data=data, teachers=[make(1)], spec=SPEC, folder=tmp_path)
    assert "student: going on after epoch 1 of 4" in caplog.text, "the very same one is"


def test_a_checkpoint_of_other_teacher_weights_is_not_used(
    data: Dataset, make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "edgekd")
    for shares in ((1.0, 1.0), (1.0, 3.0)):
        caplog.clear()
        distill(make(), data=data, teachers=[make(1), make(2)], teacher_weights=shares, spec=SPEC, folder=tmp_path)
    assert "belongs to another recipe" in caplog.text


def test_a_damaged_checkpoint_is_warned_of_and_training_starts_over(
    data: Dataset, make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "checkpoint.pt"
    kill(STEPS + 1, make, data, tmp_path, SPEC)
    kept = file.read_bytes()
    flipped = bytearray(kept)
    weight = torch.load(file, weights_only=True)["network"]["5.weight"].numpy().tobytes()
    flipped[kept.index(weight) + 3] ^= 1
    whole = outcome(distill(make(), data=data, teachers=[make(1)], spec=SPEC))
    for content in (b"", b"hello", kept[: len(kept) // 2], bytes(flipped)):
        file.write_bytes(content)
        caplog.clear()
        assert outcome(distill(make(), data=data, teachers=[make(1)], spec=SPEC, folder=tmp_path)) == whole
        (record,) = (each for each in caplog.records if "checkpoint" in each.getMessage())
        assert record.levelno == logging.WARNING
        assert "training starts over" in record.getMessage()
        assert "\n" not in record.getMessage()


def test_no_damage_gives_a_traceback_or_other_weights(tmp_path: Path) -> None:
    network = nn.Linear(3, 2)
    file = tmp_path / "checkpoint.pt"
    state = network.state_dict()
    Checkpoint(fingerprint="own", epoch=1, network=state, best=state, best_epoch=0).save(file)
    kept = file.read_bytes()
    chance = random.Random(0)  # noqa: S311 - not for secrets
    for _ in range(300):
        damaged = bytearray(kept)
        for _ in range(chance.choice([1, 5, 50])):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        if chance.random() < 0.2:
            del damaged[chance.randrange(len(damaged)) :]
        file.write_bytes(damaged)
        found = load_checkpoint(file, "own")
        if found is not None:
            assert (found.epoch, found.best_epoch) == (1, 0)
            for key, value in state.items():
                np.testing.assert_array_equal(found.network[key], value)
                np.testing.assert_array_equal(found.best[key], value)
    for content in ([1, 2], {"fingerprint": "other"}, {}):
        torch.save(content, file)
        assert load_checkpoint(file, "own") is None


def test_a_checkpoint_holds_no_code_and_runs_none(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "it-ran",)

    torch.save({"fingerprint": "own", "epoch": Malicious()}, tmp_path / "checkpoint.pt")
    assert load_checkpoint(tmp_path / "checkpoint.pt", "own") is None
    assert not (tmp_path / "it-ran").exists()


NETWORK = """
import torch

class Network(torch.nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.last = torch.nn.Linear(inputs, 4)

    def forward(self, inputs):
        return self.last(inputs.flatten(1)) * FACTOR
"""


def test_code_of_the_users_own_is_part_of_what_a_checkpoint_depends_on(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two versions within a second look the same to its cache

    def train(factor: int, progress: Kill | None) -> Distilled:
        (tmp_path / "users_network.py").write_text(NETWORK.replace("FACTOR", str(factor)))
        sys.modules.pop("users_network", None)
        importlib.invalidate_caches()
        torch.manual_seed(0)
        student = registry.function("networks", "users_network:Network")(int(np.prod(data.input_shape)))
        return distill(student, data=data, spec=SPEC, folder=tmp_path / f"run-{progress is None}", progress=progress)

    with pytest.raises(KeyboardInterrupt):
        train(1, Kill(after=2 * STEPS + 1))
    (tmp_path / "run-False").rename(tmp_path / "run-True")
    resumed = outcome(train(2, None))
    (tmp_path / "run-True" / "checkpoint.pt").unlink()
    assert resumed == outcome(train(2, None))
