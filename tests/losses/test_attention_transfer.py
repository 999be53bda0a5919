"""Attention transfer against its formula in NumPy float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edgekd import registry
from edgekd.errors import ConfigError

attention_transfer = registry.function("losses", "attention_transfer")
check_shapes = registry.load("losses", "attention_transfer").check_shapes


def formula(student: NDArray[Any], teacher: NDArray[Any], power: float) -> float:
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        maps = [(np.abs(each) ** power).sum(axis=0) for each in (s, t)]
        unit = [each / np.sqrt((each**2).sum()) for each in maps]
        total += ((unit[0] - unit[1]) ** 2).sum() / 2
    return total / len(student)


@pytest.mark.parametrize("power", [1.0, 2.0, 3.5])
def test_equals_the_formula(power: float) -> None:
    chance = np.random.default_rng(0)
    student, teacher = chance.normal(size=(4, 3, 5, 6)), chance.normal(size=(4, 7, 5, 6))
    found = attention_transfer(
        student_feature=torch.from_numpy(student), teacher_feature=torch.from_numpy(teacher), power=power
    )
    assert float(found) == pytest.approx(formula(student, teacher, power), rel=1e-9)


def test_the_larger_map_is_averaged_over_blocks() -> None:
    chance = np.random.default_rng(1)
    student, teacher = chance.normal(size=(2, 3, 4, 2)), chance.normal(size=(2, 5, 8, 6))
    energy = (teacher**2).sum(axis=1, keepdims=True).reshape(2, 1, 4, 2, 2, 3).mean(axis=(3, 5))
    found = attention_transfer(student_feature=torch.from_numpy(student), teacher_feature=torch.from_numpy(teacher))
    assert float(found) == pytest.approx(formula(student, np.sqrt(energy), 2.0), rel=1e-9)


def test_only_the_place_counts_not_the_strength() -> None:
    feature = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    assert float(attention_transfer(student_feature=-5 * feature, teacher_feature=feature)) < 1e-12


def test_looking_elsewhere_costs_one() -> None:
    left, right = torch.zeros(2, 1, 3, 4, 4)
    left[..., :2], right[..., 2:] = 1.0, 1.0
    found = attention_transfer(student_feature=left[None, 0], teacher_feature=right[None, 0])
    assert float(found) == pytest.approx(1.0)


def test_a_dead_layer_gives_a_finite_gradient() -> None:
    dead = torch.zeros(2, 3, 4, 4, requires_grad=True)
    value = attention_transfer(student_feature=dead, teacher_feature=torch.rand(2, 3, 4, 4))
    (gradient,) = torch.autograd.grad(value, dead)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("student", "teacher"),
    [((16,), (16, 4, 4)), ((16, 4, 4), (7, 16)), ((16, 4, 4), (16, 6, 4)), ((16, 4, 0), (16, 4, 4))],
)
def test_shapes_that_cannot_match_are_refused(student: tuple[int, ...], teacher: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"^loss attention_transfer: the student's layer gives .*; allowed: .*; "):
        check_shapes(student_shape=student, teacher_shape=teacher)


def test_shapes_that_match_are_let_through() -> None:
    check_shapes(student_shape=(3, 4, 8), teacher_shape=(64, 16, 2))
