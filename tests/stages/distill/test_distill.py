"""Distillation learns, is repeatable to the byte, and keeps its hands off what is not its own."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save
from scipy.special import log_softmax
from torch import nn

from edgekd.datasets import Dataset
from edgekd.errors import ConfigError, DataError, ModelError
from edgekd.records import AugmentationTerm, DistillSpec, EpochRecord, LossTerm
from edgekd.stages.distill import describe_weights, distill, measure_network, save_weights

Make = Callable[..., nn.Module]
KL = LossTerm(name="kl", weight=0.9, options={"temperature": 4.0})
# Most teachers here are fresh networks, which are at chance.
SPEC = DistillSpec(epochs=3, batch_size=16, learning_rate=0.1, mixed_precision="off", weak_teachers="warn")


def weights(network: nn.Module) -> bytes:
    saved: bytes = save({key: value.contiguous() for key, value in network.state_dict().items()})
    return saved


def best(history: tuple[EpochRecord, ...]) -> EpochRecord:
    return min(history, key=lambda each: (-each.validation_score, each.validation_loss))


def test_a_student_learns_from_a_teacher_that_learned_from_labels(data: Dataset, make: Make) -> None:
    spec = replace(SPEC, epochs=6)
    teacher = distill(make(1), data=data, spec=spec)
    assert best(teacher.history).validation_score == 1.0
    # From the teacher's logits alone: the student never sees a label.
    student = distill(make(2), data=data, teachers=[teacher.network], spec=replace(spec, losses=(KL,)))
    assert best(student.history).validation_score == 1.0
    assert student.history[-1].train_loss < student.history[0].train_loss / 2
    assert [record.epoch for record in student.history] == list(range(6))
    assert not student.network.training
    assert {parameter.device.type for parameter in student.network.parameters()} == {"cpu"}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(data: Dataset, make: Make) -> None:
    first, again, other = (
        distill(make(), data=data, spec=replace(SPEC, seed=seed, augmentations=(AugmentationTerm(name="shift"),)))
        for seed in (0, 0, 1)
    )
    assert weights(first.network) == weights(again.network) != weights(other.network)
    assert first.history == again.history != other.history


def test_global_random_numbers_and_settings_are_left_alone_and_not_used(data: Dataset, make: Make) -> None:
    results = []
    for seed in (3, 4):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - that the old global state is not touched is the point
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(mode=seed == 3, warn_only=seed == 3)
        before = random.getstate(), np.random.get_state(legacy=False)["state"]["key"].tobytes(), torch.get_rng_state()  # noqa: NPY002
        results.append(weights(distill(make(), data=data, spec=SPEC).network))
        assert random.getstate() == before[0]
        assert np.random.get_state(legacy=False)["state"]["key"].tobytes() == before[1]  # noqa: NPY002
        assert torch.equal(torch.get_rng_state(), before[2])
        assert torch.are_deterministic_algorithms_enabled() == (seed == 3)
        assert torch.is_deterministic_algorithms_warn_only_enabled() == (seed == 3)
    torch.use_deterministic_algorithms(mode=False)
    assert results[0] == results[1]


def test_teachers_are_put_to_evaluation_frozen_and_not_changed(data: Dataset, make: Make) -> None:
    teachers = [make(1, dropout=0.5).train(), make(2).train()]
    before = [weights(teacher) for teacher in teachers]
    distill(make(), data=data, teachers=teachers, spec=SPEC)
    assert [weights(teacher) for teacher in teachers] == before, "batch norm's statistics too"
    for teacher in teachers:
        assert not any(module.training for module in teacher.modules())
        assert all(each.grad is None and not each.requires_grad for each in teacher.parameters())


def test_losses_are_hinton_s_with_teachers_and_cross_entropy_without(data: Dataset, make: Make) -> None:
    teacher = make(1)
    hinton = (KL, LossTerm(name="cross_entropy", weight=0.1))
    for teachers, losses in (((teacher,), hinton), ((), (LossTerm(name="cross_entropy"),))):
        implied = distill(make(), data=data, teachers=teachers, spec=SPEC)
        named = distill(make(), data=data, teachers=teachers, spec=replace(SPEC, losses=losses))
        assert implied.history == named.history


def test_the_loss_is_the_weighted_sum_of_its_terms(data: Dataset, make: Make) -> None:
    """The first step's loss, from the networks' own logits, in NumPy float64."""
    spec = replace(
        SPEC,
        epochs=1,
        batch_size=60,
        losses=(replace(KL, weight=0.7), LossTerm(name="cross_entropy", weight=0.2, options={"label_smoothing": 0.1})),
    )
    teachers, shares = [make(1).eval(), make(2).eval()], (3.0, 1.0)
    student = make(0, dropout=0.0)
    inputs = torch.from_numpy(data.ready(data.train))
    with torch.no_grad():
        z = make(0, dropout=0.0).train()(inputs).double().numpy()
        v = sum(share * each(inputs).double().numpy() for share, each in zip(shares, teachers, strict=True)) / 4
    p, q = log_softmax(v / 4, axis=1), log_softmax(z / 4, axis=1)
    soft = 16 * (np.exp(p) * (p - q)).sum() / 60
    target = 0.9 * np.eye(4)[data.train.labels] + 0.1 / 4
    hard = -(target * log_softmax(z, axis=1)).sum() / 60
    (record,) = distill(student, data=data, teachers=teachers, teacher_weights=shares, spec=spec).history
    assert record.train_loss == pytest.approx(0.7 * soft + 0.2 * hard, rel=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_whole_batches_train_as_a_plain_loop_in_torch(data: Dataset, make: Make, optimizer: str) -> None:
    """With one batch an epoch the order does not matter: torch's own optimizers and schedule must agree."""
    rate, epochs = 0.05, 5
    spec = DistillSpec(
        epochs=epochs,
        batch_size=1000,
        optimizer="sgd" if optimizer == "sgd" else "adamw",
        learning_rate=rate,
        weight_decay=0.01,
        warmup_epochs=0,
        mixed_precision="off",
    )
    reference = make(dropout=0.0)
    steps: torch.optim.Optimizer = (
        torch.optim.SGD(reference.parameters(), lr=rate, momentum=0.9, nesterov=True, weight_decay=0.01)
        if optimizer == "sgd"
        else torch.optim.AdamW(reference.parameters(), lr=rate, weight_decay=0.01)
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(steps, T_max=epochs)
    losses, rates = [], []
    for _ in range(epochs):
        reference.train()
        loss = nn.functional.cross_entropy(
            reference(torch.from_numpy(data.ready(data.train))), torch.from_numpy(data.train.labels)
        )
        steps.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's stubs
        rates.append(schedule.get_last_lr()[0])
        steps.step()
        schedule.step()
        losses.append(float(loss.detach()))
    history = distill(make(dropout=0.0), data=data, spec=spec).history
    assert [each.train_loss for each in history] == pytest.approx(losses, rel=1e-3)
    assert [each.learning_rate for each in history] == pytest.approx(rates, rel=1e-9)


# --- what can't be trained -----------------------------------------------------------------------


def test_networks_that_do_not_fit_the_data_are_told_before_training(data: Dataset, make: Make) -> None:
    for arguments, error, words in (
        ({"student": make(classes=3)}, ModelError, "student: the network has 3 classes, the data 4"),
        ({"student": make(channels=3)}, DataError, r"student: the network does not take inputs of shape \(1, 4, 4\)"),
        ({"student": make(), "teachers": [make(classes=10)]}, ModelError, "teacher: the network has 10 classes"),
        ({"student": make().requires_grad_(requires_grad=False)}, ModelError, "no parameters to train"),
    ):
        with pytest.raises(error, match=words) as caught:
            distill(data=data, spec=SPEC, **arguments)
        assert "\n" not in str(caught.value)


def test_a_teacher_that_is_the_student_is_refused(data: Dataset, make: Make) -> None:
    network = make()
    with pytest.raises(ModelError, match="a teacher shares parameters with the network it teaches"):
        distill(network, data=data, teachers=[network], spec=SPEC)


@pytest.mark.parametrize("shares", [[], [1.0], [1.0, 0.0], [1.0, -1.0], [1.0, float("nan")], [1.0, 1.0, 1.0]])
def test_teachers_weights_that_can_t_be_meant_are_refused(data: Dataset, make: Make, shares: list[float]) -> None:
    with pytest.raises(ConfigError, match=r"student: teacher_weights: 2 teachers.*one number above 0 for each"):
        distill(make(), data=data, teachers=[make(1), make(2)], teacher_weights=shares, spec=SPEC)


# --- what comes out ------------------------------------------------------------------------------


def test_accuracy_is_the_share_that_numpy_counts_sample_by_sample(data: Dataset, make: Make, tmp_path: Path) -> None:
    network = make(5).eval()
    save_weights(network, tmp_path / "network.safetensors")
    model = describe_weights(tmp_path / "network.safetensors", network, name="own", role="teacher", data=data)
    measured, told = measure_network(network, data.train, data, model)
    with torch.no_grad():
        logits = network(torch.from_numpy(data.train.inputs.astype(np.float32) / 255)).numpy()
    np.testing.assert_array_equal(measured.samples, (logits.argmax(axis=1) == data.train.labels).astype(float))
    assert 0 < np.mean(measured.samples) < 1, "both kinds are there to be told apart"
    assert (measured.metric, measured.unit, measured.role, measured.basis) == ("accuracy", "1", "teacher", "measured")
    assert (told.metric, told.samples, told.labels) == (
        "recall",
        tuple(logits.argmax(axis=1).astype(float)),
        tuple(data.train.labels.astype(float)),
    )
    student = measure_network(network, data.train, data, replace(model, role="student"))
    assert [each.metric for each in student] == ["accuracy"]
    assert measured.model_sha256 == model.sha256
    assert model.parameters == 6 * 9 + 6 + 2 * 6 + 96 * 4 + 4


def test_saved_weights_load_in_plain_torch_and_hold_the_student_alone(
    data: Dataset, make: Make, tmp_path: Path
) -> None:
    trained = distill(make(), data=data, teachers=[make(1)], spec=SPEC)
    save_weights(trained.network, tmp_path / "student.safetensors")
    state = load_file(tmp_path / "student.safetensors")
    assert state.keys() == make().state_dict().keys()
    assert all(torch.equal(state[key], value) for key, value in trained.network.state_dict().items())
    code = (
        "import sys; sys.modules['edgekd'] = None\n"
        "import torch; from torch import nn; from safetensors.torch import load_file\n"
        "network = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(),\n"
        "    nn.Dropout(0.2), nn.Linear(96, 4))\n"
        "network.load_state_dict(load_file('student.safetensors'))\n"
        "print(network.eval()(torch.ones(1, 1, 4, 4)).tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(
        np.array(eval(done.stdout)),  # noqa: S307 - a list that this test printed
        trained.network(torch.ones(1, 1, 4, 4)).detach().numpy(),
        rtol=1e-5,
    )


def test_tied_weights_are_saved_and_bytes_do_not_depend_on_the_memory_format(make: Make, tmp_path: Path) -> None:
    network = make()
    save_weights(network, tmp_path / "first")
    save_weights(network.to(memory_format=torch.channels_last), tmp_path / "second")  # type: ignore[call-overload]  # torch's stubs lack it
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    save_weights(nn.Sequential(first, second), tmp_path / "tied")
    assert torch.equal(load_file(tmp_path / "tied")["1.weight"], first.weight)
