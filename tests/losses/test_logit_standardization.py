"""Distillation of standardized logits against SciPy, and what the paper promises of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr, softmax
from scipy.stats import zscore

from edgekd import registry

logit_standardization = registry.function("losses", "logit_standardization")


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 6), st.integers(2, 9), st.integers(0, 2**32), st.floats(0.5, 10))
def test_equals_the_formula(batch: int, classes: int, seed: int, temperature: float) -> None:
    student, teacher = np.random.default_rng(seed).normal(0, 3, (2, batch, classes))
    p, q = (softmax(zscore(each, axis=1) / temperature, axis=1) for each in (teacher, student))
    expected = temperature**2 * rel_entr(p, q).sum() / batch
    found = logit_standardization(
        student=torch.from_numpy(student), teacher=torch.from_numpy(teacher), temperature=temperature
    )
    # The 1e-7 in the denominator shows where logits are close together.
    assert float(found) == pytest.approx(expected, rel=1e-4, abs=1e-6)


@given(st.floats(0.01, 1000), st.floats(-100, 100))
@settings(deadline=None, max_examples=30)
def test_scale_and_shift_of_the_logits_are_free(factor: float, shift: float) -> None:
    student, teacher = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(
        logit_standardization(student=factor * student + shift, teacher=teacher),
        logit_standardization(student=student, teacher=teacher),
        rtol=1e-4,
        atol=1e-8,
    )


def test_the_order_of_classes_is_not_free() -> None:
    teacher = torch.tensor([[3.0, 1.0, 0.0]])
    assert logit_standardization(student=teacher.flip(1), teacher=teacher) > 0.5


def test_the_factor_keeps_the_size_of_the_gradient() -> None:
    student, teacher = torch.randn(2, 64, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    student.requires_grad_()
    sizes = []
    for temperature in (20.0, 40.0, 80.0):
        value = logit_standardization(student=student, teacher=teacher, temperature=temperature)
        sizes.append(float(torch.autograd.grad(value, student)[0].norm()))
    assert max(sizes) / min(sizes) < 1.05
