"""Hints against the formula in NumPy, and which layers they fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgekd import registry
from edgekd.errors import ConfigError

hint = registry.function("losses", "hint")
build_projector = registry.load("losses", "hint").build_projector


@pytest.mark.parametrize(
    ("student", "teacher"), [((3, 4, 6), (5, 4, 6)), ((3, 4, 6), (5, 8, 6)), ((3, 8, 6), (5, 4, 3))]
)
def test_maps_equal_the_formula(student: tuple[int, int, int], teacher: tuple[int, int, int]) -> None:
    chance = np.random.default_rng(0)
    projector = build_projector(student_shape=student, teacher_shape=teacher).double()
    v, u = chance.normal(size=(2, *student)), chance.normal(size=(2, *teacher))
    weight, bias = (each.detach().numpy() for each in (projector.weight[:, :, 0, 0], projector.bias))
    regressed = np.einsum("dc,bchw->bdhw", weight, v) + bias[:, None, None]
    height, width = (min(pair) for pair in zip(student[1:], teacher[1:], strict=True))
    regressed, u_small = (
        each.reshape(2, 5, height, each.shape[2] // height, width, each.shape[3] // width).mean(axis=(3, 5))
        for each in (regressed, u)
    )
    found = hint(student_feature=torch.from_numpy(v), teacher_feature=torch.from_numpy(u), projector=projector)
    assert found.item() == pytest.approx(np.mean((u_small - regressed) ** 2) / 2, rel=1e-9)


@pytest.mark.parametrize(("student", "teacher"), [((3,), (5,)), ((7, 3), (7, 5))])
def test_vectors_and_sequences_equal_the_formula(student: tuple[int, ...], teacher: tuple[int, ...]) -> None:
    chance = np.random.default_rng(1)
    projector = build_projector(student_shape=student, teacher_shape=teacher).double()
    v, u = chance.normal(size=(4, *student)), chance.normal(size=(4, *teacher))
    regressed = v @ projector.weight.detach().numpy().T + projector.bias.detach().numpy()
    found = hint(student_feature=torch.from_numpy(v), teacher_feature=torch.from_numpy(u), projector=projector)
    assert found.item() == pytest.approx(np.mean((u - regressed) ** 2) / 2, rel=1e-9)


def test_a_regressor_can_be_trained_to_the_least_squares_solution() -> None:
    chance = np.random.default_rng(2)
    v = chance.normal(size=(200, 3))
    u = v @ chance.normal(size=(3, 4)) + 0.5 + 0.1 * chance.normal(size=(200, 4))
    design = np.hstack([v, np.ones((200, 1))])
    residual = u - design @ np.linalg.lstsq(design, u, rcond=None)[0]
    projector = build_projector(student_shape=(3,), teacher_shape=(4,)).double()
    given = {"student_feature": torch.from_numpy(v), "teacher_feature": torch.from_numpy(u), "projector": projector}
    optimizer: Any = torch.optim.LBFGS(projector.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value: Any = hint(**given)
        value.backward()
        loss: torch.Tensor = value
        return loss

    optimizer.step(closure)
    assert hint(**given).item() == pytest.approx(np.mean(residual**2) / 2, rel=1e-4)


def test_the_projector_is_what_the_shapes_ask_for() -> None:
    assert isinstance(build_projector(student_shape=(4, 8, 8), teacher_shape=(6, 2, 4)), nn.Conv2d)
    assert isinstance(build_projector(student_shape=(4,), teacher_shape=(6,)), nn.Linear)


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        ((4, 8, 8), (6,), "the student's layer gives (4, 8, 8), the teacher's (6,)"),
        ((4, 8, 8), (6, 3, 8), "one a whole multiple of the other"),
        ((5, 4), (6, 8), "two sequences of equal length"),
        ((), (6,), "one or more sizes"),
        ((4, 2, 2, 2), (4, 2, 2, 2), "choose layers that give features of the same kind"),
    ],
)
def test_shapes_that_cannot_match_are_refused(student: tuple[int, ...], teacher: tuple[int, ...], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_projector(student_shape=student, teacher_shape=teacher)
    assert message in str(caught.value)
    assert str(caught.value).startswith("loss hint: ")
    assert caught.value.next_step
