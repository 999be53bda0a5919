"""Students that begin with layers of their teacher."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edgekd.datasets import Dataset
from edgekd.errors import ConfigError, EdgekdError, ModelError
from edgekd.records import DistillSpec, InitSpec, TeacherSpec
from edgekd.stages.distill import AdaptedTeacher, distill
from edgekd.stages.distill.initialising import first_weights


class Stack(nn.Module):
    """Layers of one kind between an embedding and a head."""

    def __init__(self, layers: int, width: int = 4, classes: int = 4, seed: int = 0, inputs: int = 16) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.embedding = nn.Linear(inputs, width)
            self.layers = nn.ModuleList([nn.Sequential(nn.Linear(width, width), nn.Tanh()) for _ in range(layers)])
            self.head = nn.Linear(width, classes)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        x = self.embedding(inputs.flatten(1))
        for layer in self.layers:
            x = x + layer(x)
        outputs: torch.Tensor = self.head(x)
        return outputs


class Wrapped(nn.Module):
    """The same under another name."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.inner = network

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.inner(inputs)
        return outputs


def origins(student: Any, teacher: Any) -> list[int | None]:
    """Which of the teacher's layers each of the student's is."""
    weights = [layer[0].weight for layer in teacher.layers]
    return [
        next((number for number, each in enumerate(weights) if torch.equal(each, layer[0].weight)), None)
        for layer in student.layers
    ]


@pytest.mark.parametrize(
    ("count", "chosen", "expected"),
    [(3, (), [0, 2, 4]), (6, (), [0, 1, 2, 3, 4, 5]), (4, (), [0, 1, 3, 4]), (2, (5, 1), [5, 1]), (1, (), [0])],
)
def test_layers_are_those_of_the_map(count: int, chosen: tuple[int, ...], expected: list[int]) -> None:
    teacher, student = Stack(6), Stack(count, seed=1)
    first_weights(student, InitSpec(layers=chosen), teachers=[teacher])
    assert origins(student, teacher) == expected
    assert torch.equal(student.embedding.weight, teacher.embedding.weight)
    assert torch.equal(student.head.bias, teacher.head.bias)
    student.head.bias.data.add_(1)
    assert not torch.equal(student.head.bias, teacher.head.bias), "a copy, not the same memory"


def test_names_of_wrappers_do_not_matter(data: Dataset) -> None:
    teacher, student = Stack(4), Stack(2, seed=1)
    adapted = AdaptedTeacher(Wrapped(teacher), TeacherSpec(input_scale=2.0), data, "teacher")
    first_weights(student, InitSpec(), teachers=[adapted])
    assert origins(student, teacher) == [0, 2]
    assert torch.equal(student.embedding.weight, teacher.embedding.weight)


def test_what_lies_beside_the_layers_may_stay(caplog: pytest.LogCaptureFixture) -> None:
    teacher, student = Stack(4), Stack(2, seed=1)
    before = student.embedding.weight.clone()
    first_weights(student, InitSpec(others=False), teachers=[teacher])
    assert torch.equal(student.embedding.weight, before)
    other_head = Stack(2, classes=7)
    with caplog.at_level(logging.WARNING, logger="edgekd"):
        first_weights(other_head, InitSpec(), teachers=[teacher])
    assert "not in the teacher, or of another shape: head.weight, head.bias" in caplog.text
    assert origins(other_head, teacher) == [0, 2]


def test_a_file_does_as_well_as_a_teacher(tmp_path: Path) -> None:
    teacher, student = Stack(4), Stack(2, seed=1)
    save_file(teacher.state_dict(), tmp_path / "general.safetensors")
    first_weights(student, InitSpec(weights=tmp_path / "general.safetensors"), teachers=[])
    assert origins(student, teacher) == [0, 2]
    torch.save({"evil": print}, tmp_path / "evil.pt")
    with pytest.raises(ModelError, match="refused: the file wants to run"):
        first_weights(student, InitSpec(weights=tmp_path / "evil.pt"), teachers=[])


@pytest.mark.parametrize(
    ("student", "teachers", "spec", "words"),
    [
        (Stack(2), [], InitSpec(), "no teacher to take layers from"),
        (
            Stack(2, width=3),
            [Stack(4)],
            InitSpec(),
            "is (3, 3) in the student, (4, 4) in the teacher; allowed: layers of",
        ),
        (Stack(5), [Stack(4)], InitSpec(), "the student has 5 layers, the teacher 4"),
        (Stack(2), [Stack(4)], InitSpec(layers=(1,)), "layers 1; allowed: 2 numbers"),
        (Stack(2), [Stack(4)], InitSpec(layers=(0, 4)), "layers 0, 4; allowed: 2 numbers, one for each layer"),
        (nn.Linear(2, 2), [Stack(4)], InitSpec(), "student: has no list of equal layers"),
    ],
)
def test_what_cannot_be_taken_over_is_said(
    student: nn.Module, teachers: list[nn.Module], spec: InitSpec, words: str
) -> None:
    before = {key: value.clone() for key, value in student.state_dict().items()}
    with pytest.raises(EdgekdError) as caught:
        first_weights(student, spec, teachers=teachers)
    assert words in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in student.state_dict().items())


def test_training_begins_with_them_and_so_does_its_control(data: Dataset) -> None:
    # A teacher that is right, whose layers are worth something from the first epoch on.
    schedule: dict[str, Any] = {"batch_size": 20, "learning_rate": 0.05, "mixed_precision": "off", "cache": "off"}
    teacher = Stack(4, width=16)
    distill(teacher, data=data, spec=DistillSpec(epochs=30, **schedule))
    first: dict[bool, Any] = {}
    for init in (None, InitSpec()):
        # So slow that what it begins with is what it ends with.
        spec = DistillSpec(epochs=1, control=True, init=init, **{**schedule, "learning_rate": 1e-9})
        first[init is not None] = distill(Stack(4, width=16, seed=3), data=data, teachers=[teacher], spec=spec)
    assert first[True].score == 1.0
    assert first[True].control.score == 1.0
    assert first[False].score < 0.8
    with pytest.raises(ConfigError, match="no teacher to take layers from"):
        distill(Stack(2), data=data, spec=DistillSpec(epochs=1, init=InitSpec(), **schedule))
