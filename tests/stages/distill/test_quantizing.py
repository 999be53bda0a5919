"""A student learns on with the rounding of its file: what it gains, what it keeps, and what it leaves alone."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import nn

from edgekd.datasets import Dataset, open_dataset
from edgekd.errors import ConfigError, ExportError, TrainingError
from edgekd.progress import Progress
from edgekd.records import DataSpec, DistillSpec, LossTerm, QuantizationTraining, Schedule
from edgekd.simulation import FakeQuantizer, WeightQuantizer
from edgekd.stages.distill import QuantizationTrained, distill, learn_rounded

Make = Callable[..., nn.Module]
STATIC, FOUR = "static_wi8_ai8", "weight_only_wi4_afp32"
SPEC = DistillSpec(epochs=2, batch_size=16, mixed_precision="off", weak_teachers="warn")


def rounded(spec: DistillSpec = SPEC, **changes: Any) -> DistillSpec:
    return replace(spec, quantization=QuantizationTraining(**{"epochs": 3, "samples": 30, **changes}))


def state(network: nn.Module) -> bytes:
    kept: bytes = save({key: value.contiguous() for key, value in network.state_dict().items()})
    return kept


def outcome(found: QuantizationTrained) -> tuple[object, ...]:
    return found.student and state(found.student.network), found.outcome, found.history


def integers(weights: torch.Tensor, bits: int) -> NDArray[np.float64]:
    """Weights in steps of what a min-max quantizer gives each output channel, by NumPy."""
    values = weights.detach().double().numpy()
    largest = np.abs(values).reshape(len(values), -1).max(1)
    return np.asarray(values / (largest / (2 ** (bits - 1) - 1)).reshape(-1, *[1] * (values.ndim - 1)))


# --- what it gains ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return open_dataset(DataSpec(source="digits", validation=0.3, test=0.1))


@pytest.fixture(scope="module")
def uneven(digits: Dataset) -> nn.Module:
    """A trained student; half of the channels between two layers are 30 times as large, which changes no output.

    Weights that read these are so small beside the others of their channel that 4 bits lose them.
    """
    torch.manual_seed(0)
    norm, second = nn.BatchNorm2d(6), nn.Conv2d(6, 6, 3, stride=2, padding=1)
    student = nn.Sequential(
        *(nn.Conv2d(1, 6, 3, padding=1), norm, nn.ReLU(), second, nn.BatchNorm2d(6), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(96, 10)),
    )
    distill(student, data=digits, spec=DistillSpec(epochs=8, batch_size=32, mixed_precision="off"))
    with torch.no_grad():
        for each in (norm.weight, norm.bias):
            each[:3] *= 30
        second.weight[:, :3] /= 30
    return student


def test_what_four_bits_cost_is_regained(digits: Dataset, uneven: nn.Module, caplog: pytest.LogCaptureFixture) -> None:
    spec = DistillSpec(epochs=8, batch_size=32, mixed_precision="off")
    before = state(uneven)
    with caplog.at_level(logging.INFO, "edgekd"):
        found = learn_rounded(uneven, data=digits, spec=rounded(spec, precision=FOUR, epochs=6))
    scores = found.outcome
    assert scores.calibrated_score < scores.float_score - 0.2
    assert scores.trained_score > scores.calibrated_score + 0.15
    assert scores.kept
    assert "kept" in caplog.text
    # The scores are of the network that files are made of, by its own outputs.
    assert found.student is not None
    logits = found.student.outputs(digits.ready(digits.validation))
    assert float((logits.argmax(1) == digits.validation.labels).mean()) == pytest.approx(scores.trained_score)
    for path in ("0", "3", "7"):
        weights = found.student.network.get_parameter(f"{path}.weight")
        steps = integers(weights, 8 if path == "0" else 4)  # with one input channel it is a depthwise convolution
        assert np.abs(steps - np.round(steps)).max() < 1e-3
    # The student itself is what it was, and no rounding is left in what becomes a file.
    assert state(uneven) == before
    modules = [*uneven.modules(), *found.student.network.modules()]
    assert not any(isinstance(each, FakeQuantizer | WeightQuantizer) for each in modules)


def test_a_training_that_spoils_it_is_left_out(
    digits: Dataset, uneven: nn.Module, caplog: pytest.LogCaptureFixture
) -> None:
    spec = DistillSpec(epochs=8, batch_size=32, mixed_precision="off")
    with caplog.at_level(logging.INFO, "edgekd"):
        found = learn_rounded(uneven, data=digits, spec=rounded(spec, epochs=1, learning_rate=0.3))
    assert found.outcome.trained_score < found.outcome.calibrated_score - 0.2
    assert (found.student, found.outcome.kept) == (None, False)
    assert "left out" in caplog.text
    # What there was to beat stays: the student, rounded.
    logits = found.calibrated.outputs(digits.ready(digits.validation))
    score = float((logits.argmax(1) == digits.validation.labels).mean())
    assert score == pytest.approx(found.outcome.calibrated_score)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_ranges_learn_for_as_long_as_they_are_told(optimizer: Any, data: Dataset, make: Make) -> None:
    spec = replace(SPEC, optimizer=optimizer, learning_rate=0.1 if optimizer == "sgd" else 0.01)
    student = distill(make(dropout=0.0), data=data, spec=spec).network
    moved = []
    for share in (0.0, 0.5, 1.0):
        found = learn_rounded(student, data=data, spec=rounded(spec, learn_ranges=share, epochs=4, learning_rate=0.01))
        assert found.outcome.ranges.keys() == found.calibrated.ranges.keys() == {"input", "0", "5"}
        before, after = (
            np.array([high - low for low, high in each.values()])
            for each in (found.calibrated.ranges, found.outcome.ranges)
        )
        moved.append(float(np.abs(after / before - 1).max()))
    assert moved[0] == 0
    assert 0 < moved[1] != moved[2] > 0
    assert max(moved) < 0.5  # they are tuned, they do not jump


# --- the same machinery ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_killed_in_every_epoch_and_gone_on_gives_the_same_bytes(
    data: Dataset, make: Make, stop: Callable[[int], Progress], tmp_path: Path
) -> None:
    spec, teachers = rounded(epochs=3), [make(1)]
    whole = distill(make(), data=data, teachers=teachers, spec=spec)
    assert whole.quantized is not None
    of_student = SPEC.epochs * 3  # 60 samples in batches of 16
    for after in (of_student, of_student + 4, of_student + 8):
        folder = tmp_path / str(after)
        distill(make(), data=data, teachers=teachers, spec=SPEC, folder=folder)
        with pytest.raises(KeyboardInterrupt):
            distill(make(), data=data, teachers=teachers, spec=spec, folder=folder, progress=stop(after))
        torch.manual_seed(after)
        resumed = distill(make(), data=data, teachers=teachers, spec=spec, folder=folder)
        assert resumed.quantized is not None
        assert outcome(resumed.quantized) == outcome(whole.quantized)
    assert (tmp_path / str(of_student) / "quantized" / "checkpoint.pt").exists()


def test_the_student_and_its_control_know_nothing_of_it(data: Dataset, make: Make) -> None:
    spec = replace(SPEC, control=True)
    plain, taught = (distill(make(), data=data, teachers=[make(1)], spec=each) for each in (spec, rounded(spec)))
    assert taught.control is not None
    assert plain.control is not None
    for one, two in ((plain, taught), (plain.control, taught.control)):
        assert (state(one.network), one.history) == (state(two.network), two.history)
    assert (plain.quantized, taught.control.quantized) == (None, None)
    assert taught.quantized is not None
    assert len(taught.quantized.history) == 3


class Counting(nn.Module):
    """A teacher that counts how many samples it is asked about."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.asked = inner, 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.asked += len(inputs)
        outputs: torch.Tensor = self.inner(inputs)
        return outputs


def test_teachers_are_not_asked_again(data: Dataset, make: Make, quarters: Make) -> None:
    asked = []
    for epochs in (0, 3, 9):
        teacher = Counting(quarters())
        spec = rounded(replace(SPEC, cache="auto"), epochs=epochs) if epochs else SPEC
        distill(make(), data=data, teachers=[teacher], spec=spec)
        asked.append(teacher.asked)
    # But for the samples that every opening of the cache is checked by.
    assert asked[1] == asked[2] <= asked[0] + 80


def test_statistics_that_no_layer_takes_in_stay(data: Dataset) -> None:
    """A norm behind an activation is not folded: in the file it is a constant."""
    torch.manual_seed(0)
    student = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(96, 4))
    distill(student, data=data, spec=SPEC)
    found = learn_rounded(student, data=data, spec=rounded(precision=FOUR, learning_rate=1e-6))
    trained = found.student or found.calibrated
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(trained.network.get_buffer(f"2.{name}"), student.get_buffer(f"2.{name}"))


def test_a_loss_that_is_no_number_stops_it(data: Dataset, make: Make) -> None:
    student = distill(make(), data=data, spec=SPEC).network
    with pytest.raises(TrainingError, match="student-quantized: the loss is nan in epoch 1"):
        learn_rounded(student, data=data, spec=rounded(learning_rate=1e30))


# --- losses ----------------------------------------------------------------------------------------------


class Blocks(nn.Module):
    """A block that is no layer of a graph, with a batch norm that is folded into its convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.last = nn.Linear(96, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.last(self.block(inputs).flatten(1))
        return outputs


def features(layer: str) -> tuple[LossTerm, ...]:
    hint = LossTerm(name="hint", weight=0.5, student_layer=layer, teacher_layer="block")
    return LossTerm(name="cross_entropy"), hint


@pytest.mark.parametrize("layer", ["block", "block.1"])
def test_features_of_blocks_and_folded_norms_are_compared(layer: str, data: Dataset) -> None:
    torch.manual_seed(0)
    student, teacher = Blocks(), Blocks()
    spec = rounded(replace(SPEC, losses=features(layer)), learning_rate=0.01)
    found = distill(student, data=data, teachers=[teacher], spec=spec).quantized
    assert found is not None
    shares = [{term.name: term.gradient for term in record.terms} for record in found.history]
    assert all(each["hint"] > 0.01 for each in shares)
    # What made features visible is gone.
    assert found.calibrated.network.graph.find_nodes(op="call_module", target=f"taps.{layer}") == []
    kept = found.student or found.calibrated
    assert not [path for path, _ in kept.network.named_modules() if path.startswith("taps")]


def test_features_that_folding_takes_away_are_refused_before_the_training(data: Dataset) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("trained")

    student = Blocks()
    student.last.register_full_backward_hook(fail)
    with pytest.raises(ConfigError, match=r"losses.1.student_layer: no output of 'block.0' is left"):
        distill(student, data=data, teachers=[Blocks()], spec=rounded(replace(SPEC, losses=features("block.0"))))


def test_weights_of_losses_stay_where_they_ended(data: Dataset, make: Make) -> None:
    losses = (
        LossTerm(name="kl", weight=Schedule(start=1.0, end=0.25), options={"temperature": Schedule(start=8, end=2)}),
        LossTerm(name="cross_entropy", weight=Schedule(start=0.0, end=0.75)),
        LossTerm(name="dist", weight=Schedule(start=1.0, end=0.0)),
    )
    spec = rounded(replace(SPEC, losses=losses))
    found = distill(make(), data=data, teachers=[make(1)], spec=spec).quantized
    assert found is not None
    for record in found.history:
        assert [(term.name, term.weight) for term in record.terms] == [("kl", 0.25), ("cross_entropy", 0.75)]
    none = replace(spec, losses=(LossTerm(name="cross_entropy", weight=Schedule(start=1.0, end=0.0)),))
    with pytest.raises(ConfigError, match="the weights of all losses end at 0"):
        distill(make(), data=data, spec=none)


def test_the_learning_rate_falls_along_a_cosine(data: Dataset, make: Make) -> None:
    student = distill(make(), data=data, spec=SPEC).network
    for changes, optimizer, first in (({"learning_rate": 0.02}, "sgd", 0.02), ({}, "sgd", 0.001), ({}, "adamw", 0.01)):
        spec = rounded(replace(SPEC, optimizer=optimizer, schedule="step", step_epochs=(1,)), **changes)  # type: ignore[arg-type]  # the names are Literals
        found = learn_rounded(student, data=data, spec=spec)
        # The last of the three steps of an epoch.
        expected = [first * (1 + math.cos(math.pi * step / 9)) / 2 for step in (2, 5, 8)]
        assert [record.learning_rate for record in found.history] == pytest.approx(expected)


# --- what can't be meant ---------------------------------------------------------------------------------


class Branching(nn.Module):
    """Can be trained, but not traced."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(16, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.last(inputs.flatten(1))
        return outputs if outputs.sum() > 0 else outputs * 1.0


def test_what_can_not_be_rounded_is_refused_before_the_training(
    data: Dataset, make: Make, stop: Callable[[int], Progress]
) -> None:
    with pytest.raises(ExportError, match="can't trace what 'Branching' does"):
        distill(Branching(), data=data, spec=rounded(), progress=stop(0))
    with pytest.raises(ConfigError, match=r"quantization.precision: fp16 has float weights"):
        distill(make(), data=data, spec=rounded(precision="fp16"), progress=stop(0))
    with pytest.raises(ConfigError, match="unknown precision 'int3'"):
        distill(make(), data=data, spec=rounded(precision="int3"), progress=stop(0))


@pytest.mark.parametrize("precision", ["static_wi8_ai16", "dynamic_wi8_afp32", "weight_only_wi8_afp32", FOUR])
def test_every_precision_with_integers_learns(precision: str, data: Dataset, make: Make) -> None:
    student = distill(make(), data=data, spec=replace(SPEC, ema=0.5, gradient_clip=1.0, accumulate=2)).network
    found = learn_rounded(student, data=data, spec=rounded(precision=precision, learning_rate=0.01))
    assert bool(found.outcome.ranges) == precision.startswith("static")
    assert found.history[-1].train_loss < found.history[0].train_loss * 1.05
    assert found.outcome.precision == found.calibrated.precision == precision
