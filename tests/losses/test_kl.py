"""Hinton's loss against its formula in NumPy float64, and against what the paper says of its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.special import log_softmax

from edgekd import registry

kl = registry.function("losses", "kl")
FINITE = st.floats(-50, 50)
PAIRS = st.integers(1, 6).flatmap(
    lambda batch: hnp.arrays(np.float64, st.tuples(st.just(2), st.just(batch), st.integers(2, 7)), elements=FINITE)
)


def formula(student: NDArray[Any], teacher: NDArray[Any], temperature: float) -> float:
    p, q = (log_softmax(each / temperature, axis=1) for each in (teacher, student))
    return float(temperature**2 * (np.exp(p) * (p - q)).sum() / len(student))


@settings(deadline=None, max_examples=50)
@given(PAIRS, st.floats(0.5, 30))
def test_equals_the_formula(logits: NDArray[np.float64], temperature: float) -> None:
    student, teacher = logits
    found = kl(
        student=torch.from_numpy(student),
        teacher=torch.from_numpy(teacher),
        temperature=temperature,
    )
    assert found.shape == ()
    assert float(found) == pytest.approx(formula(student, teacher, temperature), rel=1e-9, abs=1e-9)
    assert float(found) >= -1e-9  # Gibbs' inequality


@settings(deadline=None, max_examples=50)
@given(PAIRS, st.floats(0.5, 30), st.floats(-20, 20))
def test_is_zero_when_student_equals_teacher_up_to_a_constant(
    logits: NDArray[np.float64], temperature: float, constant: float
) -> None:
    teacher = torch.from_numpy(logits[0])
    same = kl(student=teacher.clone(), teacher=teacher, temperature=temperature)
    assert float(same) == 0
    moved = kl(student=teacher + constant, teacher=teacher, temperature=temperature)
    assert float(moved) == pytest.approx(0, abs=1e-9)


def test_the_mean_is_over_samples_not_over_classes() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    whole = kl(student=student, teacher=teacher)
    each = [kl(student=s[None], teacher=t[None]) for s, t in zip(student, teacher, strict=True)]
    torch.testing.assert_close(whole, torch.stack(each).mean())


def test_extreme_logits_stay_finite() -> None:
    student, teacher = torch.tensor([[1e4, -1e4]], requires_grad=True), torch.tensor([[-1e4, 1e4]])
    found = kl(student=student, teacher=teacher, temperature=1.0)
    assert float(found.detach()) == pytest.approx(2e4)
    (gradient,) = torch.autograd.grad(found, student)
    assert gradient.tolist() == [[1.0, -1.0]]  # q - p


@pytest.mark.parametrize("temperature", [0.7, 1.0, 4.0, 20.0])
def test_gradient_is_that_of_the_value(temperature: float) -> None:
    generator = torch.Generator().manual_seed(1)
    student, teacher = torch.randn(2, 4, 5, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda logits: kl(student=logits, teacher=teacher, temperature=temperature),
        (student.requires_grad_(),),
    )


def test_at_high_temperature_the_gradient_is_that_of_matching_logits() -> None:
    """Hinton et al. 2015, eq. 4: dC/dz = (z - v) / (N T^2) for logits of zero mean; here T^2 times that, by sample."""
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(2, 6, 10, generator=generator, dtype=torch.float64)
    student, teacher = logits - logits.mean(dim=2, keepdim=True)
    (gradient,) = torch.autograd.grad(
        kl(student=student.requires_grad_(), teacher=teacher, temperature=1000.0), student
    )
    torch.testing.assert_close(gradient, (student.detach() - teacher) / 10 / 6, rtol=0.02, atol=2e-4)


def test_the_factor_keeps_the_size_of_the_gradient() -> None:
    generator = torch.Generator().manual_seed(3)
    student, teacher = torch.randn(2, 64, 10, generator=generator, dtype=torch.float64)
    sizes = []
    for temperature in (20.0, 40.0, 80.0):
        leaf = student.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(kl(student=leaf, teacher=teacher, temperature=temperature), leaf)
        sizes.append(float(gradient.norm()))
    # Without T^2 each doubling of T would quarter it.
    assert max(sizes) / min(sizes) < 1.05
