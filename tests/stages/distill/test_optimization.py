"""What a step does to weights: against NumPy, torch's own schedules and loops written out."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn
from torch.nn import functional

from edgekd import registry
from edgekd.datasets import Dataset, Split
from edgekd.errors import ConfigError
from edgekd.progress import Progress
from edgekd.records import AugmentationTerm, DistillSpec, LossTerm, QuantizationTraining
from edgekd.simulation import FakeQuantizer
from edgekd.stages.distill import Distilled, distill
from edgekd.stages.distill.optimization import (
    average_of,
    learning_rate,
    limit_norms,
    make_optimizer,
    scales_of,
    set_rates,
)

Make = Callable[..., nn.Module]
Own = Callable[[str], str]
Stop = Callable[[int], Progress]
SPEC = DistillSpec(epochs=3, batch_size=16, learning_rate=0.1, mixed_precision="off", weak_teachers="warn")
# Every step sees all samples, so that a loop written out need not know their order.
WHOLE = replace(SPEC, batch_size=60, epochs=4, warmup_epochs=0, schedule="constant")


def mlp(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 4))


def loop(
    data: Dataset, network: nn.Module, spec: DistillSpec, after: Callable[[nn.Module], object] = lambda _: None
) -> list[float]:
    """Train on whole batches in plain torch; gives the losses."""
    optimizer = torch.optim.SGD(
        network.parameters(), lr=spec.learning_rate, momentum=0.9, nesterov=True, weight_decay=spec.weight_decay
    )
    inputs, labels = torch.from_numpy(data.ready(data.train)), torch.from_numpy(data.train.labels)
    losses = []
    for _ in range(spec.epochs):
        loss = functional.cross_entropy(network(inputs), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's stubs
        if spec.gradient_clip:
            nn.utils.clip_grad_norm_(network.parameters(), spec.gradient_clip)
        optimizer.step()
        after(network)
        losses.append(float(loss.detach()))
    return losses


def losses_of(trained: Distilled) -> list[float]:
    return [record.train_loss for record in trained.history]


# --- learning rate -------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.integers(1, 30),
    st.integers(1, 20),
    st.lists(st.integers(1, 30), max_size=4, unique=True).map(sorted),
    st.floats(0.05, 1),
)
def test_steps_are_torch_s_own(epochs: int, steps: int, drops: list[int], factor: float) -> None:
    spec = DistillSpec(
        epochs=epochs,
        learning_rate=0.3,
        warmup_epochs=0,
        schedule="step",
        step_epochs=tuple(drops),
        step_factor=factor,
    )
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [each * steps for each in drops], gamma=factor)
    for step in range(epochs * steps):
        assert learning_rate(spec, step, steps) == pytest.approx(schedule.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        schedule.step()


def test_a_constant_rate_only_warms_up() -> None:
    spec = DistillSpec(epochs=5, learning_rate=0.2, warmup_epochs=2, schedule="constant")
    found = [learning_rate(spec, step, 4) for step in range(20)]
    np.testing.assert_allclose(found, 0.2 * np.minimum(1, np.arange(1, 21) / 8))


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_the_optimizer_is_made_of_what_is_trained(momentum: float) -> None:
    network = mlp()
    next(network.parameters()).requires_grad = False
    optimizer = make_optimizer(network.parameters(), replace(SPEC, momentum=momentum, weight_decay=0.01))
    (group,) = optimizer.param_groups
    assert len(group["params"]) == 3
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (momentum, momentum > 0, 0.01)


# --- what is done to weights ---------------------------------------------------------------------


@pytest.mark.parametrize("layer", [nn.Linear(7, 5), nn.Conv1d(3, 4, 2), nn.Conv2d(2, 6, 3)])
@pytest.mark.parametrize("largest", [0.1, 0.5, 100.0])
def test_norms_of_incoming_weights_are_limited_as_numpy_does_it(layer: nn.Module, largest: float) -> None:
    layer, normed = copy.deepcopy(layer), nn.BatchNorm1d(3)
    state = layer.state_dict()  # shares memory with the layer
    state["weight"][0] = 0  # a dead unit stays one
    weight, bias = (state[key].double().numpy().copy() for key in ("weight", "bias"))
    limit_norms(nn.Sequential(layer, normed), largest)
    norms = np.linalg.norm(weight.reshape(len(weight), -1), axis=1)
    scale = np.where(norms > largest, largest / np.maximum(norms, 1e-30), 1)
    np.testing.assert_allclose(state["weight"].numpy(), weight * scale.reshape(-1, *[1] * (weight.ndim - 1)), rtol=1e-5)
    np.testing.assert_allclose(state["bias"].numpy(), bias, rtol=1e-7)
    assert torch.equal(normed.weight, torch.ones(3))


def test_training_limits_norms_after_every_step(data: Dataset) -> None:
    def limit(network: nn.Module) -> None:
        with torch.no_grad():
            for layer in (network[1], network[3]):  # type: ignore[index]
                norms = layer.weight.norm(dim=1, keepdim=True)
                layer.weight.mul_((0.4 / norms).clamp(max=1))

    spec = replace(WHOLE, max_norm=0.4)
    reference = mlp()
    expected = loop(data, reference, spec, limit)
    trained = distill(mlp(), data=data, spec=spec)
    assert losses_of(trained) == pytest.approx(expected, rel=1e-5)
    assert losses_of(distill(mlp(), data=data, spec=WHOLE)) != pytest.approx(expected, rel=1e-3)
    for layer in (trained.network[1], trained.network[3]):  # type: ignore[index]
        assert float(layer.weight.detach().norm(dim=1).max()) <= 0.4 + 1e-6


def test_gradients_are_clipped_by_their_norm_together(data: Dataset) -> None:
    spec = replace(WHOLE, gradient_clip=0.05)
    expected = loop(data, mlp(), spec)
    assert losses_of(distill(mlp(), data=data, spec=spec)) == pytest.approx(expected, rel=1e-5)
    assert losses_of(distill(mlp(), data=data, spec=WHOLE)) != pytest.approx(expected, rel=1e-3)


def test_the_moving_average_is_what_is_validated_and_kept(data: Dataset) -> None:
    decay = 0.7
    averages: list[list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]]] = []

    def average(network: nn.Module) -> None:
        now = [each.detach().double().numpy().copy() for each in network.parameters()]
        # The first step's weights begin it, as in torch's AveragedModel.
        averages.append(
            [decay * old + (1 - decay) * new for old, new in zip(averages[-1], now, strict=True)] if averages else now
        )

    spec = replace(WHOLE, ema=decay, learning_rate=0.05)
    losses = loop(data, mlp(), spec, average)
    trained = distill(mlp(), data=data, spec=spec)
    assert losses_of(trained) == pytest.approx(losses, rel=1e-5)
    scores = [record.validation_score for record in trained.history]
    kept = max(range(4), key=lambda epoch: (scores[epoch], -trained.history[epoch].validation_loss))
    for found, expected in zip(trained.network.parameters(), averages[kept], strict=True):
        np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-4, atol=1e-6)
    judged = mlp()
    for parameter, value in zip(judged.parameters(), averages[2], strict=True):
        parameter.data = torch.from_numpy(value).float()
    with torch.no_grad():
        logits = judged(torch.from_numpy(data.ready(data.validation)))
    expected_loss = float(functional.cross_entropy(logits, torch.from_numpy(data.validation.labels)))
    assert trained.history[2].validation_loss == pytest.approx(expected_loss, rel=1e-4)


def test_the_average_holds_batch_norm_s_statistics_too(make: Make) -> None:
    network = make()
    averaged = average_of(network, 0.5)
    first = {key: value.clone() for key, value in network.state_dict().items()}
    averaged.update_parameters(network)
    network.train()(torch.ones(4, 1, 4, 4))
    averaged.update_parameters(network)
    mean = averaged.module.state_dict()["1.running_mean"]
    now = network.state_dict()["1.running_mean"]
    assert not torch.equal(now, first["1.running_mean"])
    torch.testing.assert_close(mean, (first["1.running_mean"] + now) / 2)
    assert not any(each.requires_grad for each in averaged.parameters())


# --- parts of a batch ----------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [2, 3, 4, 5, 16])
def test_a_batch_in_parts_trains_as_the_whole_one(data: Dataset, quarters: Make, parts: int) -> None:
    """Sixteen samples do not go evenly into three or five parts; the loss is the mean over samples all the same."""
    whole, split = (
        distill(mlp(), data=data, teachers=[quarters()], spec=replace(SPEC, accumulate=each)) for each in (1, parts)
    )
    assert losses_of(split) == pytest.approx(losses_of(whole), rel=1e-4)
    for one, other in zip(whole.network.parameters(), split.network.parameters(), strict=True):
        np.testing.assert_allclose(other.detach().numpy(), one.detach().numpy(), rtol=1e-3, atol=1e-5)


def test_more_parts_than_samples_are_refused(data: Dataset) -> None:
    with pytest.raises(ConfigError, match=r"student: accumulate: 17 parts of 16 samples; allowed: at most 16"):
        distill(mlp(), data=data, spec=replace(SPEC, accumulate=17))


# --- sampling ------------------------------------------------------------------------------------


def test_balanced_sampling_shows_every_class_equally_often(data: Dataset, own: Own) -> None:
    labels = np.repeat([0, 1, 2, 3], [600, 200, 100, 60]).astype(np.int64)
    inputs = np.random.default_rng(0).integers(0, 255, (960, 1, 4, 4), np.uint8)
    unbalanced = replace(data, train=Split(inputs=inputs, labels=labels))
    name = own(
        "seen = []\n"
        "def augment(*, seed, view, indices, inputs):\n"
        "    seen.extend(indices.tolist() if len(indices) > 2 else [])\n"
        "    return inputs\n"
    )
    spec = replace(SPEC, sampling="balanced", batch_size=96, augmentations=(AugmentationTerm(name=f"{name}:augment"),))
    distill(mlp(), data=unbalanced, spec=spec)
    seen = np.array(registry.function("augmentations", f"{name}:seen"))
    assert len(seen) == 3 * 960
    counts = np.bincount(labels[seen], minlength=4)
    assert stats.chisquare(counts).pvalue > 1e-3
    within = np.bincount(seen[labels[seen] == 0], minlength=600)[:600]
    assert stats.chisquare(within).pvalue > 1e-3, "within a class all alike"
    assert not np.array_equal(seen[:960], seen[960:1920])


def test_balanced_sampling_needs_classes(data: Dataset) -> None:
    numbers = replace(
        data,
        task="regression",
        train=replace(data.train, labels=np.zeros((60, 4), np.float32)),
        validation=replace(data.validation, labels=np.zeros((20, 4), np.float32)),
    )
    with pytest.raises(ConfigError, match="sampling: 'balanced' needs classes; the task is regression"):
        distill(mlp(), data=numbers, spec=replace(SPEC, sampling="balanced"))


# --- everything at once --------------------------------------------------------------------------


def test_with_all_of_it_at_once_a_killed_training_ends_with_the_same_bytes(
    data: Dataset, make: Make, tmp_path: Path, stop: Stop
) -> None:
    spec = replace(
        SPEC,
        epochs=4,
        ema=0.8,
        accumulate=2,
        gradient_clip=1.0,
        max_norm=2.0,
        sampling="balanced",
        schedule="step",
        step_epochs=(2,),
        augmentations=(AugmentationTerm(name="shift"), AugmentationTerm(name="cutmix")),
        losses=(
            LossTerm(name="kl", options={"temperature": {"start": 4.0, "end": 1.0}}),
            LossTerm(name="cross_entropy", weight=0.1),
            LossTerm(name="hint", student_layer="2", teacher_layer="2"),
        ),
    )

    def train(folder: Path | None, after: int = 10**6) -> tuple[object, list[bytes]]:
        trained = distill(
            make(), data=data, teachers=[make(1), make(2)], spec=spec, folder=folder, progress=stop(after)
        )
        return trained.history, [value.numpy().tobytes() for value in trained.network.state_dict().values()]

    whole = train(None)
    for after in (2, 3, 8, 11):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / str(after), after)
        assert train(tmp_path / str(after)) == whole


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler
def test_compiled_it_trains_alike(data: Dataset, quarters: Make) -> None:
    if not (shutil.which("g++") or shutil.which("c++") or shutil.which("clang++")):
        pytest.skip("no C++ compiler for torch.compile")
    plain, compiled = (
        distill(mlp(), data=data, teachers=[quarters()], spec=replace(SPEC, compile=each)) for each in (False, True)
    )
    assert losses_of(compiled) == pytest.approx(losses_of(plain), rel=1e-3)
    assert compiled.network.state_dict().keys() == plain.network.state_dict().keys()


# --- scales by which activations are rounded -------------------------------------------------------------


def rounding() -> tuple[nn.Sequential, FakeQuantizer, FakeQuantizer]:
    small = FakeQuantizer("small", bits=8, low=0.0, high=0.255)
    fixed = FakeQuantizer("fixed", bits=8, low=0.0, high=1.0, fixed=True)
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 3), small, fixed), small, fixed


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_scales_do_not_decay_and_fixed_ones_do_not_learn(optimizer: Literal["sgd", "adamw"]) -> None:
    network, small, fixed = rounding()
    spec = DistillSpec(optimizer=optimizer, momentum=0.0, weight_decay=0.5, warmup_epochs=0, schedule="constant")
    made = make_optimizer(network.parameters(), spec, scales_of(network))
    before = copy.deepcopy(network)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    set_rates(made, spec, 0, 10)
    made.step()
    weights, old = network.get_parameter("0.weight"), before.get_parameter("0.weight")
    torch.testing.assert_close(weights, old * (1 - 0.1 * 0.5))  # decay by rate times weight_decay, in both
    assert [float(each.scale.detach()) for each in (small, fixed)] == pytest.approx([0.001, 1 / 256])
    assert not any(fixed.scale is each for group in made.param_groups for each in group["params"])


def test_adam_moves_scales_in_proportion_to_their_size() -> None:
    network, small, _ = rounding()
    spec = DistillSpec(optimizer="adamw", learning_rate=0.01, weight_decay=0.0, warmup_epochs=0, schedule="constant")
    made = make_optimizer(network.parameters(), spec, scales_of(network))
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, 3.0)
    set_rates(made, spec, 0, 10)
    made.step()
    # Adam's first step is the rate itself, whatever the gradient (Kingma and Ba 2015, section 2.1).
    assert float(small.scale.detach()) == pytest.approx(0.001 * (1 - 0.01), rel=1e-4)


@pytest.mark.parametrize(("share", "frozen"), [(0.0, "yes yes yes"), (0.5, "no yes yes"), (1.0, "no no no")])
def test_ranges_stand_still_from_a_share_of_the_training_on(share: float, frozen: str) -> None:
    network, _, _ = rounding()
    quantization = QuantizationTraining(epochs=3, learn_ranges=share)
    spec = DistillSpec(epochs=3, warmup_epochs=0, learning_rate=0.1, quantization=quantization)
    made = make_optimizer(network.parameters(), spec, scales_of(network))
    for step, still in zip((0, 15, 29), frozen.split(), strict=True):  # of 30
        set_rates(made, spec, step, 10)
        weights, scales = (group["lr"] for group in made.param_groups)
        assert weights == learning_rate(spec, step, 10) > 0
        assert scales == (0.0 if still == "yes" else weights)


def test_without_scales_there_is_one_group() -> None:
    made = make_optimizer(mlp().parameters(), SPEC, scales_of(mlp()))
    assert len(made.param_groups) == 1
