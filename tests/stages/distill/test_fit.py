"""The training loop: its schedule, its order, what it keeps and when it stops."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgekd import registry
from edgekd.datasets import Dataset, Split
from edgekd.errors import TrainingError
from edgekd.progress import Silent
from edgekd.records import AugmentationTerm, DistillSpec, LossTerm
from edgekd.stages.distill import distill
from edgekd.stages.distill.fit import has_fast_bfloat16
from edgekd.stages.distill.optimization import learning_rate
from edgekd.stages.distill.teaching import LiveTeachers
from edgekd.stages.distill.validation import predict
from edgekd.stages.distill.views import Batch, default_device

Make = Callable[..., nn.Module]
Own = Callable[[str], str]
SPEC = DistillSpec(epochs=3, batch_size=16, learning_rate=0.1, mixed_precision="off", weak_teachers="warn")
CPU = torch.device("cpu")
# Learns for so many steps, then the wrong labels; counts in the module because a loss is a function.
FICKLE = """
from torch.nn import functional
steps = 0

def loss(*, student, teacher, labels, good_steps: int, then: float):
    global steps
    steps += 1
    if steps <= good_steps:
        return functional.cross_entropy(student, labels)
    return then * functional.cross_entropy(student, (labels + 1) % 4)
"""


# --- schedule ------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 30), st.floats(0, 8), st.floats(1e-4, 1))
def test_learning_rate_is_a_ramp_times_half_a_cosine(epochs: int, steps: int, warmup: float, rate: float) -> None:
    spec = DistillSpec(epochs=epochs, warmup_epochs=warmup, learning_rate=rate)
    step = np.arange(epochs * steps)
    ramp = np.minimum(1, (step + 1) / np.maximum(warmup * steps, 1))
    expected = rate * ramp * (1 + np.cos(np.pi * step / (epochs * steps))) / 2
    found = [learning_rate(spec, int(each), steps) for each in step]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert 0 < min(found) <= max(found) <= rate


def test_learning_rate_without_warm_up_is_torch_s_cosine() -> None:
    spec = DistillSpec(epochs=7, warmup_epochs=0, learning_rate=0.3)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=7 * 11)
    for step in range(7 * 11):
        assert learning_rate(spec, step, 11) == pytest.approx(schedule.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        schedule.step()


# --- teachers ------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=4))
def test_several_teachers_give_the_weighted_mean_of_their_logits(shares: list[float]) -> None:
    torch.manual_seed(0)
    networks = tuple(nn.Linear(5, 3) for _ in shares)
    inputs = torch.randn(7, 5)
    each = [network(inputs).detach().double().numpy() for network in networks]
    places = torch.arange(7)
    batch = Batch(inputs=inputs, labels=places, indices=places, positions=places, view=0)
    found = LiveTeachers(networks, shares, "logits", mixed=False).outputs(batch)
    np.testing.assert_allclose(found.numpy(), np.average(each, axis=0, weights=shares), rtol=1e-4, atol=1e-5)
    assert not found.requires_grad
    assert not found.is_inference(), "it may be used where gradients flow"


# --- order ---------------------------------------------------------------------------------------


def test_every_epoch_shows_whole_batches_of_samples_at_most_once_in_another_order(
    data: Dataset, make: Make, own: Own
) -> None:
    name = own(
        "seen = []\n"
        "def augment(*, seed, view, indices, inputs):\n"
        "    seen.append((seed, view, indices.tolist()))\n"
        "    return inputs\n"
    )
    spec = replace(SPEC, augmentation_seed=9, augmentations=(AugmentationTerm(name=f"{name}:augment"),))
    distill(make(), data=data, spec=spec)
    seen: list[tuple[int, int, list[int]]] = registry.function("augmentations", f"{name}:seen")  # type: ignore[assignment]  # any name
    assert seen.pop(0) == (9, 0, [0, 1]), "two samples are looked at first, for the shapes of features"
    assert [(seed, view) for seed, view, _ in seen] == [(9, epoch) for epoch in range(3) for _ in range(3)]
    assert {len(indices) for *_, indices in seen} == {16}
    orders = [[index for _, view, indices in seen if view == epoch for index in indices] for epoch in range(3)]
    for order in orders:
        assert len(set(order)) == 48
        assert set(order) <= set(range(60))
    assert len({tuple(order) for order in orders}) == 3
    assert len({frozenset(order) for order in orders}) == 3, "every epoch leaves out others"


@pytest.mark.parametrize(
    ("views", "cache", "expected"), [(None, "off", 5), (2, "off", 2), (2, "on", 2), (None, "on", 5)]
)
def test_epochs_cycle_through_the_views(
    data: Dataset, make: Make, quarters: Make, own: Own, views: int | None, cache: Literal["on", "off"], expected: int
) -> None:
    name = own(
        "seen = []\n"
        "def augment(*, seed, view, indices, inputs):\n"
        "    seen.append((view, len(indices)))\n"
        "    return inputs\n"
    )
    augmentations = (AugmentationTerm(name=f"{name}:augment"),)
    spec = replace(SPEC, epochs=5, views=views, cache=cache, augmentations=augmentations)
    distill(make(), data=data, teachers=[quarters()], spec=spec)
    seen: list[tuple[int, int]] = registry.function("augmentations", f"{name}:seen")  # type: ignore[assignment]  # any name
    trained = [view for view, size in seen if size == 16]
    assert trained == [epoch % expected for epoch in range(5) for _ in range(3)]


def test_a_batch_larger_than_the_data_is_all_of_it(data: Dataset, make: Make) -> None:
    class Count(Silent):
        def __init__(self) -> None:
            self.told: list[object] = []

        def start(self, task: str, total: int) -> None:
            self.told.append((task, total))

        def advance(self, count: int = 1) -> None:
            self.told.append(count)

        def end(self) -> None:
            self.told.append("end")

    progress = Count()
    distill(make(), data=data, spec=replace(SPEC, batch_size=1000), progress=progress, name="own")
    assert progress.told == [("own", 3), 0, 1, 1, 1, "end"]


# --- best epoch, early stop ----------------------------------------------------------------------


def test_the_best_epoch_s_weights_come_back_chosen_on_validation(data: Dataset, make: Make, own: Own) -> None:
    term = LossTerm(name=f"{own(FICKLE)}:loss", options={"good_steps": 12, "then": 1.0})
    spec = replace(SPEC, epochs=8, losses=(term,), learning_rate=0.2)
    trained = distill(make(), data=data, spec=spec)
    accuracies = [record.validation_score for record in trained.history]
    best = max(range(8), key=lambda epoch: (accuracies[epoch], -trained.history[epoch].validation_loss))
    assert best < 7
    assert accuracies[best] > accuracies[-1] + 0.5, "the last epoch is worse, or the choice would show nothing"
    with torch.no_grad():
        logits = trained.network(torch.from_numpy(data.ready(data.validation))).double()
    found = (logits.argmax(dim=1).numpy() == data.validation.labels).mean()
    assert found == pytest.approx(accuracies[best], abs=1e-6)
    loss = nn.functional.cross_entropy(logits, torch.from_numpy(data.validation.labels))
    assert float(loss) == pytest.approx(trained.history[best].validation_loss, rel=1e-4)


@pytest.mark.parametrize("patience", [1, 3])
def test_training_stops_after_so_many_epochs_without_a_better_one(
    data: Dataset, make: Make, own: Own, patience: int
) -> None:
    term = LossTerm(name=f"{own(FICKLE)}:loss", options={"good_steps": 12, "then": 1.0})
    spec = replace(SPEC, epochs=20, losses=(term,), patience=patience, learning_rate=0.2)
    history = distill(make(), data=data, spec=spec).history
    keys = [(record.validation_score, -record.validation_loss) for record in history]
    assert len(history) < 20
    assert len(history) - 1 - keys.index(max(keys)) == patience
    for epoch in range(len(history) - 1):
        assert epoch - keys.index(max(keys[: epoch + 1])) < patience, "it did not go on for longer than it should"


# --- a loss that is not a number -----------------------------------------------------------------


def test_a_loss_that_is_not_a_number_ends_training_with_one_line_and_keeps_the_checkpoint(
    data: Dataset, make: Make, own: Own, tmp_path: Path
) -> None:
    term = LossTerm(name=f"{own(FICKLE)}:loss", options={"good_steps": 4, "then": math.nan})
    with pytest.raises(
        TrainingError, match=r"^own: the loss is nan in epoch 2; lower learning_rate \(now 0\.1\)"
    ) as caught:
        distill(make(), data=data, spec=replace(SPEC, losses=(term,)), folder=tmp_path, name="own")
    assert "\n" not in str(caught.value)
    kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert kept["epoch"] == 1
    assert all(torch.isfinite(value).all() for value in kept["network"].values())


@pytest.mark.parametrize("batch_size", [16, 1000])  # seen in training, or first in validation
def test_a_learning_rate_that_is_far_too_high_is_named(data: Dataset, make: Make, batch_size: int) -> None:
    spec = replace(SPEC, learning_rate=1e30, batch_size=batch_size, warmup_epochs=0)
    with pytest.raises(TrainingError, match="learning_rate"):
        distill(make(), data=data, spec=spec)


# --- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float16, np.float32, np.float64, np.bool_])
def test_any_type_of_number_is_trained_on_as_numpy_scales_it(data: Dataset, make: Make, dtype: Any) -> None:
    def convert(split: Split) -> Split:
        inputs = (split.inputs.astype(int) > 120) if dtype is np.bool_ else split.inputs.astype(dtype)
        inputs.setflags(write=False)  # as memory-mapped files are
        return Split(inputs=inputs, labels=split.labels.astype(np.int32))

    other = replace(data, train=convert(data.train), validation=convert(data.validation))
    network = make().eval()
    found = predict(network, other.train, other, CPU)
    with torch.no_grad():
        expected = network(torch.from_numpy(other.ready(other.train)))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    augmentations = (AugmentationTerm(name="shift"), AugmentationTerm(name="flip"))
    spec = replace(SPEC, epochs=1, augmentations=augmentations)
    history = distill(make(), data=other, spec=spec).history
    if dtype is not np.bool_:
        assert history == distill(make(), data=data, spec=spec).history


def test_predictions_do_not_depend_on_how_they_are_batched(make: Make, data: Dataset) -> None:
    inputs = np.random.default_rng(0).integers(0, 256, (2500, 1, 4, 4), np.uint8)
    split = Split(inputs=inputs, labels=np.zeros(2500, np.int64))
    network = make().train()
    found = predict(network, split, data, CPU)
    assert not network.training
    with torch.no_grad():
        expected = torch.cat([network(torch.from_numpy(each).float() / 255) for each in np.split(inputs, 5)])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not has_fast_bfloat16(default_device()), reason="this hardware does not multiply bfloat16 itself")
def test_mixed_precision_trains_in_bfloat16_and_keeps_float32_weights(data: Dataset, make: Make, own: Own) -> None:
    name = own(
        "import torch\n"
        "from torch import nn\n"
        "class Spy(nn.Linear):\n"
        "    seen = set()\n"
        "    def forward(self, inputs):\n"
        "        outputs = super().forward(inputs)\n"
        "        Spy.seen.add((self.training, outputs.dtype))\n"
        "        return outputs\n"
        "def build():\n"
        "    return Spy\n"
    )
    spy = registry.function("networks", f"{name}:build")()
    torch.manual_seed(0)
    student = nn.Sequential(nn.Flatten(), spy(16, 4))
    trained = distill(
        student, data=data, teachers=[make(1)], spec=replace(SPEC, epochs=8, mixed_precision="auto", learning_rate=0.5)
    )
    assert spy.seen == {(True, torch.bfloat16), (False, torch.float32)}
    assert {parameter.dtype for parameter in trained.network.parameters()} == {torch.float32}
    labelled = distill(
        nn.Sequential(nn.Flatten(), spy(16, 4)), data=data, spec=replace(SPEC, epochs=20, mixed_precision="auto")
    )
    assert max(record.validation_score for record in labelled.history) == 1.0
