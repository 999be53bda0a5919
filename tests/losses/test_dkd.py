"""Decoupled distillation against its formula in SciPy, and against the loss that it takes apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import rel_entr, softmax

from edgekd import registry

dkd = registry.function("losses", "dkd")
kl = registry.function("losses", "kl")


def parts(
    student: NDArray[Any], teacher: NDArray[Any], labels: NDArray[Any], temperature: float
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """KL of the target class, KL of the others, and the teacher's share of the others, for each sample."""
    found = []
    for s, t, label in zip(student, teacher, labels, strict=True):
        q, p = softmax(s / temperature), softmax(t / temperature)
        rest_p, rest_q = np.delete(p, label), np.delete(q, label)
        binary = rel_entr(p[label], q[label]) + rel_entr(rest_p.sum(), rest_q.sum())
        shared = rel_entr(rest_p / rest_p.sum(), rest_q / rest_q.sum()).sum()
        found.append((binary, shared, rest_p.sum()))
    columns = np.array(found).T
    return columns[0], columns[1], columns[2]


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 6), st.integers(2, 7), st.integers(0, 2**32), st.floats(0.7, 10), st.floats(0, 3))
def test_equals_the_formula(batch: int, classes: int, seed: int, temperature: float, others: float) -> None:
    chance = np.random.default_rng(seed)
    student, teacher = chance.normal(0, 3, (2, batch, classes))
    labels = chance.integers(0, classes, batch)
    binary, shared, _ = parts(student, teacher, labels, temperature)
    found = dkd(
        student=torch.from_numpy(student),
        teacher=torch.from_numpy(teacher),
        labels=torch.from_numpy(labels),
        temperature=temperature,
        target=1.5,
        others=others,
    )
    expected = temperature**2 * np.mean(1.5 * binary + others * shared)
    assert float(found) == pytest.approx(expected, rel=1e-6, abs=1e-10)


def test_hinton_s_loss_is_the_case_of_coupled_weights() -> None:
    """Zhao et al. 2022, section 3: KD = TCKD + (1 - p_t of the teacher) NCKD."""
    chance = np.random.default_rng(1)
    student, teacher = chance.normal(0, 3, (2, 1, 6))
    labels = np.array([2])
    share = float(parts(student, teacher, labels, 4.0)[2][0])
    s, t, y = torch.from_numpy(student), torch.from_numpy(teacher), torch.from_numpy(labels)
    torch.testing.assert_close(
        dkd(student=s, teacher=t, labels=y, target=1.0, others=share, temperature=4.0),
        kl(student=s, teacher=t, temperature=4.0),
    )


def test_without_a_label_the_teacher_s_favourite_is_the_target() -> None:
    student, teacher = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0))
    likely = teacher.argmax(dim=1)
    known = torch.tensor([3, 0, 1, 2])
    partly = torch.where(torch.tensor([True, False, True, False]), known, -1)
    expected = dkd(student=student, teacher=teacher, labels=torch.where(partly < 0, likely, partly))
    assert float(dkd(student=student, teacher=teacher, labels=partly)) == float(expected)
    rows = torch.eye(5)[known] * 0.7 + 0.06
    rows[partly < 0] = 0
    assert float(dkd(student=student, teacher=teacher, labels=rows)) == float(expected)
    wrong = dkd(student=student, teacher=teacher, labels=torch.where(partly < 0, (likely + 1) % 5, partly))
    assert float(wrong) != float(expected)


def test_a_certain_teacher_still_teaches_how_the_rest_is_shared() -> None:
    teacher = torch.tensor([[60.0, 2.0, 0.0]])
    student = torch.tensor([[60.0, 0.0, 2.0]], requires_grad=True)
    value = dkd(student=student, teacher=teacher, labels=torch.tensor([0]), temperature=1.0, target=0.0, others=1.0)
    (gradient,) = torch.autograd.grad(value, student)
    # KL of (2, 0) and (0, 2) after softmax: 2 tanh(1)
    assert float(value.detach()) == pytest.approx(2 * np.tanh(1), rel=1e-5)
    assert gradient[0, 1] < -0.5 < 0.5 < gradient[0, 2]


def test_the_factor_keeps_the_size_of_the_gradient() -> None:
    student, teacher = torch.randn(2, 64, 10, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    labels = torch.arange(64) % 10
    student.requires_grad_()
    sizes = []
    for temperature in (20.0, 40.0, 80.0):
        value = dkd(student=student, teacher=teacher, labels=labels, temperature=temperature)
        sizes.append(float(torch.autograd.grad(value, student)[0].norm()))
    assert max(sizes) / min(sizes) < 1.05
