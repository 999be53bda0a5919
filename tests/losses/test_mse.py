"""Squared error between outputs against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_squared_error

from edgekd import registry

mse = registry.function("losses", "mse")
kl = registry.function("losses", "kl")


def test_equals_another_implementation() -> None:
    student, teacher = np.random.default_rng(0).normal(0, 5, (2, 7, 4))
    found = mse(student=torch.from_numpy(student), teacher=torch.from_numpy(teacher))
    assert float(found) == pytest.approx(mean_squared_error(teacher, student), rel=1e-12)


def test_its_gradient_points_where_that_of_kl_does_at_high_temperature() -> None:
    """Hinton et al. 2015, section 2.1: for logits of zero mean, distillation at high T is matching logits."""
    logits = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    student, teacher = logits - logits.mean(dim=2, keepdim=True)
    student.requires_grad_()
    (matched,) = torch.autograd.grad(mse(student=student, teacher=teacher), student)
    (soft,) = torch.autograd.grad(kl(student=student, teacher=teacher, temperature=1e4), student)
    # mse: 2 (z - v) / (B K); kl: (z - v) / (B K), eq. 4.
    torch.testing.assert_close(matched, 2 * soft, rtol=1e-3, atol=1e-6)
