"""The teacher-bounded error against its definition, sample by sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd import registry

bounded_regression = registry.function("losses", "bounded_regression")


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 8), st.integers(1, 4), st.integers(0, 2**32), st.floats(0, 2))
def test_equals_the_definition(batch: int, outputs: int, seed: int, margin: float) -> None:
    student, teacher, labels = np.random.default_rng(seed).normal(0, 1, (3, batch, outputs))
    total = 0.0
    for s, t, y in zip(student, teacher, labels, strict=True):
        mine, bound = float(np.mean((s - y) ** 2)), float(np.mean((t - y) ** 2))
        if mine + margin > bound:
            total += mine
    found = bounded_regression(
        student=torch.from_numpy(student),
        teacher=torch.from_numpy(teacher),
        labels=torch.from_numpy(labels),
        margin=margin,
    )
    assert float(found) == pytest.approx(total / batch, rel=1e-9)


def test_a_student_better_than_its_teacher_by_the_margin_is_left_alone() -> None:
    labels, teacher = torch.zeros(1, 1), torch.full((1, 1), 2.0)
    student = torch.ones(1, 1, requires_grad=True)
    free = bounded_regression(student=student, teacher=teacher, labels=labels, margin=2.9)
    bound = bounded_regression(student=student, teacher=teacher, labels=labels, margin=3.1)
    assert (float(free.detach()), float(bound.detach())) == (0.0, 1.0)
    assert float(torch.autograd.grad(free, student)[0]) == 0
    assert float(torch.autograd.grad(bound, student)[0]) == 2


def test_the_teacher_is_no_target() -> None:
    student, labels = torch.randn(4, 2), torch.randn(4, 2)
    far, farther = (
        bounded_regression(student=labels + 100 * (student - labels), teacher=labels + shift, labels=labels)
        for shift in (0.1, -0.2)
    )
    assert float(far) == float(farther) > 0
