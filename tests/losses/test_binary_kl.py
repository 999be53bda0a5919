"""Soft labels for several classes against the formula in SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, rel_entr

from edgekd import registry

binary_kl = registry.function("losses", "binary_kl")
kl = registry.function("losses", "kl")


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 6), st.integers(1, 7), st.integers(0, 2**32), st.floats(0.5, 20))
def test_equals_the_formula(batch: int, classes: int, seed: int, temperature: float) -> None:
    student, teacher = np.random.default_rng(seed).normal(0, 3, (2, batch, classes))
    p, q = expit(teacher / temperature), expit(student / temperature)
    expected = temperature**2 * np.mean(rel_entr(p, q) + rel_entr(1 - p, 1 - q))
    found = binary_kl(student=torch.from_numpy(student), teacher=torch.from_numpy(teacher), temperature=temperature)
    assert float(found) == pytest.approx(expected, rel=1e-7, abs=1e-12)


def test_one_label_is_hinton_s_loss_with_two_classes() -> None:
    student, teacher = torch.randn(2, 8, 1, dtype=torch.float64)
    nothing = torch.zeros_like(student)
    torch.testing.assert_close(
        binary_kl(student=student, teacher=teacher, temperature=3.0),
        kl(student=torch.cat([student, nothing], 1), teacher=torch.cat([teacher, nothing], 1), temperature=3.0),
    )


def test_the_factor_keeps_the_size_of_the_gradient() -> None:
    student, teacher = torch.randn(2, 64, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    student.requires_grad_()
    sizes = [
        float(torch.autograd.grad(binary_kl(student=student, teacher=teacher, temperature=t), student)[0].norm())
        for t in (20.0, 40.0, 80.0)
    ]
    assert max(sizes) / min(sizes) < 1.02
