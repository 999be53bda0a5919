"""Tasks without single classes train end to end, from labels and from teachers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import nn

from edgekd.datasets import Dataset, Split
from edgekd.errors import ConfigError
from edgekd.records import AugmentationTerm, DistillSpec, LossTerm, Task
from edgekd.stages.distill import Distilled, distill

SPEC = DistillSpec(epochs=12, batch_size=20, learning_rate=0.05, optimizer="adamw", mixed_precision="off")
Draw = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]


def several(inputs: NDArray[Any], _: np.random.Generator) -> NDArray[Any]:
    """Which of the first three features are large."""
    large: NDArray[np.int64] = np.where(inputs[:, :3] > 0.5, 1, 0)
    return large


def numbers(inputs: NDArray[Any], chance: np.random.Generator) -> NDArray[Any]:
    noise: NDArray[Any] = chance.normal(0, 0.02, (len(inputs), 3))
    values: NDArray[Any] = inputs[:, :3] @ np.array([[1, 0.5, 0], [-1, 1, 0], [0, 0, 2]]) + noise
    return values.astype(np.float32)


def dataset(task: Task, draw: Draw) -> Dataset:
    def split(count: int, seed: int) -> Split:
        chance = np.random.default_rng(seed)
        inputs = chance.random((count, 8)).astype(np.float32)
        return Split(inputs=inputs, labels=draw(inputs, chance))

    return Dataset(
        classes=("a", "b", "c"), scale=1.0, train=split(200, 0), validation=split(80, 1), test=split(8, 2), task=task
    )


def sounds() -> Dataset:
    """Normal samples lie in a plane of three dimensions; anomalies do not."""

    def split(count: int, seed: int, anomalies: int) -> Split:
        chance = np.random.default_rng(seed)
        plane = np.random.default_rng(9).normal(size=(3, 8))
        inputs = chance.normal(size=(count, 3)) @ plane
        labels = np.zeros(count, np.int64)
        labels[count - anomalies :] = 1
        inputs[labels == 1] = chance.normal(0, 2, (anomalies, 8))
        return Split(inputs=inputs.astype(np.float32), labels=labels)

    return Dataset(
        classes=("normal", "anomaly"),
        scale=1.0,
        train=split(200, 0, 0),
        validation=split(80, 1, 30),
        test=split(8, 2, 4),
        task="reconstruction",
    )


def mlp(seed: int, hidden: int, outputs: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(8, hidden), nn.Tanh(), nn.Linear(hidden, outputs))


def outputs_of(trained: Distilled, data: Dataset) -> NDArray[np.float64]:
    with torch.no_grad():
        found: NDArray[np.float64] = trained.network(torch.from_numpy(data.validation.inputs)).double().numpy()
    return found


def test_several_labels_are_learned_from_labels_and_from_a_teacher_alone() -> None:
    data = dataset("multi_label", several)
    teacher = distill(mlp(1, 32, 3), data=data, spec=replace(SPEC, epochs=40))
    assert teacher.history[0].metric == "f1"
    right = ((outputs_of(teacher, data) > 0) == data.validation.labels).mean()
    assert right > 0.9
    soft = LossTerm(name="binary_kl", options={"temperature": 2.0})
    for losses in ((), (soft,)):
        spec = replace(SPEC, epochs=40, losses=losses)
        student = distill(mlp(2, 6, 3), data=data, teachers=[teacher.network], spec=spec)
        p, q = expit(outputs_of(teacher, data)), expit(outputs_of(student, data))
        assert np.abs(p - q).mean() < 0.1
        assert ((outputs_of(student, data) > 0) == data.validation.labels).mean() > 0.85
        assert student.teaching is not None
        assert student.teaching.caches[0].classes == 3
        assert student.teaching.disagreement == 0.0


def test_numbers_are_learned_and_the_best_epoch_has_the_smallest_error() -> None:
    data = dataset("regression", numbers)
    teacher = distill(mlp(1, 32, 3), data=data, spec=replace(SPEC, epochs=40))
    for losses in ((), (LossTerm(name="mse"),)):
        spec = replace(SPEC, epochs=40, losses=losses, control=True, weak_teachers="warn")
        student = distill(mlp(2, 6, 3), data=data, teachers=[teacher.network, teacher.network], spec=spec)
        error = ((outputs_of(student, data) - data.validation.labels) ** 2).mean()
        assert error < 0.05 * data.validation.labels.var()
        assert student.score == min(record.validation_score for record in student.history)
        assert student.score == pytest.approx(error, rel=1e-4)
        assert student.history[0].metric == "mean_squared_error"
        assert student.control is not None
        assert student.control.score < 0.05 * data.validation.labels.var()


def test_what_is_normal_is_reconstructed_and_what_is_not_is_told_apart() -> None:
    data = sounds()
    teacher = distill(mlp(1, 24, 8), data=data, spec=replace(SPEC, epochs=40))
    assert teacher.history[0].metric == "auc"
    student = distill(mlp(2, 4, 8), data=data, teachers=[teacher.network], spec=replace(SPEC, epochs=60))
    assert student.teaching is not None
    for trained in (teacher, student):
        errors = ((outputs_of(trained, data) - data.ready(data.validation)) ** 2).mean(1)
        normal, anomalies = errors[data.validation.labels == 0], errors[data.validation.labels == 1]
        area = (normal[:, None] < anomalies[None]).mean()
        assert area > 0.9
        assert trained.score == pytest.approx(area, abs=1e-6)


@pytest.mark.parametrize(
    ("task", "changes", "words"),
    [
        (
            "multi_label",
            {"losses": (LossTerm(name="cross_entropy"),)},
            "loss 'cross_entropy' is not for the task multi",
        ),
        ("regression", {"losses": (LossTerm(name="kl"),)}, "loss 'kl' is not for the task regression"),
        ("regression", {"combine": "probabilities"}, "combine: 'probabilities' needs classes; the task is regression"),
        ("regression", {"augmentations": (AugmentationTerm(name="mixup"),)}, "mixes classes; the task is regression"),
        ("regression", {"augmentations": (AugmentationTerm(name="flip"),)}, r"inputs of shape \(8,\) are no images"),
        ("single_label", {"losses": (LossTerm(name="squared_error"),)}, "'squared_error' is not for the task single"),
    ],
)
def test_what_a_task_can_t_have_is_refused(task: Task, changes: dict[str, Any], words: str) -> None:
    draw: dict[Task, Draw] = {
        "multi_label": several,
        "regression": numbers,
        "single_label": lambda inputs, _: (inputs[:, 0] > 0.5).astype(np.int64),
    }
    with pytest.raises(ConfigError, match=words):
        distill(mlp(0, 4, 3), data=dataset(task, draw[task]), teachers=[mlp(1, 4, 3)], spec=replace(SPEC, **changes))
