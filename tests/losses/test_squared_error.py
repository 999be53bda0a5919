"""Squared error against labels, beside scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_squared_error

from edgekd import registry

squared_error = registry.function("losses", "squared_error")


def test_equals_another_implementation() -> None:
    student, labels = np.random.default_rng(0).normal(0, 5, (2, 7, 3))
    found = squared_error(student=torch.from_numpy(student), labels=torch.from_numpy(labels))
    assert float(found) == pytest.approx(mean_squared_error(labels, student), rel=1e-12)


def test_is_zero_when_the_targets_are_met() -> None:
    labels = torch.randn(4, 2)
    assert float(squared_error(student=labels.clone(), labels=labels)) == 0


def test_the_student_s_precision_counts() -> None:
    student, labels = torch.full((1, 1), 1 + 1e-12, dtype=torch.float64), torch.ones(1, 1)
    assert float(squared_error(student=student, labels=labels)) == pytest.approx(1e-24, rel=1e-3)
