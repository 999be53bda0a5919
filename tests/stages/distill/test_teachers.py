"""A teacher that knows nothing is found before training, with what is wrong where that can be told."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.datasets import Dataset
from edgekd.errors import ModelError
from edgekd.records import DistillSpec, TeacherSpec
from edgekd.stages.distill.teachers import Teacher, hash_of, judge, outputs_on_validation, teacher_of
from edgekd.stages.distill.teaching import AdaptedTeacher

Make = Callable[..., nn.Module]
CPU = torch.device("cpu")
REFUSE, WARN = DistillSpec(), DistillSpec(weak_teachers="warn")


class Around(nn.Module):
    """Gives more the nearer the mean of a quarter is to where it is bright, and prefers the first class a little."""

    def __init__(self, quarters: nn.Module, bright: float, start: float) -> None:
        super().__init__()
        self.quarters, self.bright, self.start = quarters, bright, start

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = -(self.quarters(inputs) - self.bright).abs()
        return outputs + torch.tensor([self.start, 0, 0, 0])


class Constant(nn.Module):
    """Says the same of everything."""

    def __init__(self, outputs: list[float]) -> None:
        super().__init__()
        self.says = nn.Parameter(torch.tensor(outputs))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.says.expand(len(inputs), -1)


def named(network: nn.Module) -> Teacher:
    return teacher_of(network, name="own", weight=1.0, outputs=4)


def verdict(network: nn.Module, data: Dataset, spec: DistillSpec = REFUSE) -> float:
    teacher = named(network)
    return judge(outputs_on_validation(teacher.load(), data, CPU), teacher, data, spec, CPU)


def refusal(network: nn.Module, data: Dataset) -> str:
    with pytest.raises(ModelError) as caught:
        verdict(network, data)
    message = str(caught.value)
    assert message.startswith("own: ")
    assert "\n" not in message
    return message


def test_a_teacher_that_knows_is_given_its_score(data: Dataset, quarters: Make) -> None:
    assert verdict(quarters(), data) == 1.0
    # Right on 14 of 20: far from good, but no accident.
    labels = data.validation.labels.copy()
    labels[:6] = (labels[:6] + np.arange(6) % 3 + 1) % 4
    half = replace(data, validation=replace(data.validation, labels=labels))
    assert verdict(quarters(), half) == pytest.approx(0.7)


def test_chance_is_refused_or_warned_of(data: Dataset, caplog: pytest.LogCaptureFixture) -> None:
    message = refusal(Constant([0.0, 1.0, 0.0, 0.0]), data)
    assert "the teacher is right on 25.0 % of the validation data, which chance would be too" in message
    assert "(the most frequent class: 25.0 %)" in message
    assert 'weak_teachers = "warn" distils all the same' in message
    caplog.set_level(logging.WARNING, "edgekd")
    assert verdict(Constant([0.0, 1.0, 0.0, 0.0]), data, WARN) == 0.25
    (record,) = caplog.records
    assert record.getMessage().startswith("own: the teacher is right on 25.0 %")


def test_always_the_most_frequent_class_is_chance_and_no_wrong_cause_is_named(data: Dataset) -> None:
    labels = np.where(np.arange(20) < 18, 0, data.validation.labels)
    unbalanced = replace(data, validation=replace(data.validation, labels=labels))
    message = refusal(Constant([1.0, 0.0, 0.0, 0.0]), unbalanced)
    assert "right on 90.0 %" in message
    assert "check its weights, the order of its classes, and the range and layout of its inputs" in message


@pytest.mark.parametrize("order", [(1, 0, 3, 2), (3, 0, 1, 2), (1, 2, 3, 0)])
def test_permuted_classes_are_named_and_what_is_named_mends_them(
    data: Dataset, quarters: Make, order: tuple[int, ...]
) -> None:
    message = refusal(quarters(order=order), data)
    named_order = re.search(r"its classes seem to be in another order: classes = \[(.*?)\]", message)
    assert named_order, message
    classes = tuple(re.findall(r'"(\w)"', named_order[1]))
    assert classes == tuple("abcd"[label] for label in order)
    assert verdict(AdaptedTeacher(quarters(order=order), TeacherSpec(classes=classes), data, "own"), data) == 1.0


def test_inputs_of_another_range_are_named_and_what_is_named_mends_them(data: Dataset, quarters: Make) -> None:
    # 165 is what a bright quarter's bytes are on average; of the others 45.
    raw = Around(quarters(gain=1.0), bright=165.0, start=5.0)
    message = refusal(raw, data)
    assert "its inputs seem to be 255 times as large: input_scale = 255" in message
    assert verdict(AdaptedTeacher(raw, TeacherSpec(input_scale=255), data, "own"), data) == 1.0
    centred = Around(quarters(gain=1.0), bright=2 * 165 / 255 - 1, start=0.05)
    message = refusal(centred, data)
    assert "its inputs seem to go from -1 to 1: input_scale = 2 and input_mean = [1]" in message
    mended = AdaptedTeacher(centred, TeacherSpec(input_scale=2, input_mean=(1.0,)), data, "own")
    assert verdict(mended, data) == 1.0


@pytest.mark.parametrize("spec", [REFUSE, WARN])
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_outputs_that_are_no_numbers_are_refused_whatever_the_spec_says(
    data: Dataset, spec: DistillSpec, wrong: float
) -> None:
    teacher = named(Constant([0.0] * 4))
    outputs = np.zeros((20, 4), np.float32)
    outputs[3, 1] = wrong
    with pytest.raises(ModelError, match=r"^own: the teacher's outputs are not finite; check its weights"):
        judge(outputs, teacher, data, spec, CPU)


def test_advice_goes_on_from_what_the_recipe_says_already(data: Dataset, quarters: Make) -> None:
    """Output k means class k; what the recipe said of it was wrong, and the advice must not repeat it."""
    wrong = TeacherSpec(classes=("d", "c", "b", "a", "e"), input_scale=0.5)
    network = nn.Sequential(quarters(), nn.ConstantPad1d((0, 1), -9.0))
    teacher = replace(named(AdaptedTeacher(network, wrong, data, "own")), spec=wrong)
    with pytest.raises(ModelError, match=r'in another order: classes = \["a", "b", "c", "d", "e"\];'):
        judge(outputs_on_validation(teacher.load(), data, CPU), teacher, data, REFUSE, CPU)
    raw = Around(quarters(gain=1.0), bright=165.0, start=5.0)
    wrong = TeacherSpec(input_scale=255.0 * 255.0)
    teacher = replace(named(AdaptedTeacher(raw, wrong, data, "own")), spec=wrong)
    with pytest.raises(ModelError, match=r"seem to be 0.00392157 times as large: input_scale = 255;"):
        judge(outputs_on_validation(teacher.load(), data, CPU), teacher, data, REFUSE, CPU)


def many(data: Dataset) -> Dataset:
    """Enough samples of each class to tell its place."""
    return replace(data, validation=data.validation.take(np.arange(40) % 20))


def test_two_classes_in_each_others_place_are_found_though_the_others_are_right(
    data: Dataset, quarters: Make, caplog: pytest.LogCaptureFixture
) -> None:
    message = refusal(quarters(order=(0, 1, 3, 2)), many(data))
    assert "right on 50.0 % of the validation data, and could be on clearly more" in message
    assert 'in another order: classes = ["a", "b", "d", "c"]' in message
    caplog.set_level(logging.WARNING, "edgekd")
    assert verdict(quarters(order=(0, 1, 3, 2)), many(data), WARN) == 0.5
    assert len(caplog.records) == 1


def test_one_class_that_is_mistaken_for_another_is_no_other_order(data: Dataset, quarters: Make) -> None:
    blind = quarters()
    blind.get_parameter("last.weight").data[3] *= -1  # says one of the others of all of its samples
    assert verdict(blind, many(data)) == 0.75


class Partly(nn.Module):
    """Right on all classes where bytes come in, on half of them where shares do."""

    def __init__(self, quarters: nn.Module) -> None:
        super().__init__()
        self.quarters = quarters

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.quarters(inputs)
        small = (inputs.amax((1, 2, 3)) <= 1)[:, None]
        return torch.where(small, outputs * torch.tensor([1.0, 1.0, 0.0, 0.0]), outputs)


def test_inputs_of_another_range_are_found_though_the_teacher_beats_chance(data: Dataset, quarters: Make) -> None:
    message = refusal(Partly(quarters()), many(data))
    assert "could be on clearly more" in message
    assert "its inputs seem to be 255 times as large: input_scale = 255" in message
    teacher, outputs = named(Partly(quarters())), outputs_on_validation(Partly(quarters()), many(data), CPU)
    known = judge(outputs, teacher, many(data), REFUSE, CPU, is_new=False)
    assert known == 0.5, "one that was let through before is not loaded again to look for more"


def test_other_tasks_are_scored_in_their_own_metric(data: Dataset, quarters: Make) -> None:
    said = outputs_on_validation(quarters(), data, CPU).astype(np.float64)
    targets = (said + np.random.default_rng(0).normal(size=(20, 4))).astype(np.float32)
    numbers = replace(data, task="regression", validation=replace(data.validation, labels=targets))
    assert verdict(quarters(), numbers) == pytest.approx(((said - targets) ** 2).mean(), rel=1e-5)


def test_of_other_tasks_a_teacher_must_beat_who_says_the_same_of_every_sample(data: Dataset, quarters: Make) -> None:
    said = outputs_on_validation(quarters(), data, CPU)
    targets = said + 1000.0
    numbers = replace(data, task="regression", validation=replace(data.validation, labels=targets))
    message = refusal(quarters(), numbers)
    assert "mean_squared_error on the validation data is 1e+06; " in message
    assert f"saying the same of every sample gives {targets.var(0).mean():.4g}" in message
    assert verdict(quarters(), numbers, WARN) == pytest.approx(1e6, rel=1e-3)
    several = np.eye(4)[data.validation.labels].astype(np.int64)
    several[:, 0] = 1
    tags = replace(data, task="multi_label", validation=replace(data.validation, labels=several))
    assert "saying the same of every sample gives" in refusal(Constant([-1.0, 1.0, -1.0, -1.0]), tags)
    assert verdict(Around(quarters(gain=1.0), 165 / 255, 9.0), tags) > 0


def test_outputs_are_those_of_every_validation_sample_in_order(data: Dataset, quarters: Make) -> None:
    many = replace(data, validation=data.validation.take(np.arange(1234) % 20))
    found = outputs_on_validation(quarters(), many, CPU)
    images = many.validation.inputs[:, 0].astype(np.float64) / 255
    expected = np.stack(
        [
            images[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].mean((1, 2))
            for row in (0, 1)
            for column in (0, 1)
        ],
        1,
    )
    np.testing.assert_allclose(found, 8 * expected, rtol=1e-5)


def test_the_hash_is_that_of_weights_and_structure(make: Make, quarters: Make) -> None:
    again = make(1)
    again.load_state_dict(make(1).state_dict())
    assert hash_of(make(1)) == hash_of(again)
    assert len({hash_of(each) for each in (make(1), make(2), make(1, dropout=0.1), quarters(), quarters(gain=7))}) == 5
