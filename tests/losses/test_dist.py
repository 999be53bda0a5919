"""Correlation of predictions against SciPy's Pearson coefficient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import pearsonr

from edgekd import registry

dist = registry.function("losses", "dist")


@settings(deadline=None, max_examples=40)
@given(st.integers(3, 7), st.integers(3, 6), st.integers(0, 2**32), st.floats(1, 8))
def test_equals_the_formula(batch: int, classes: int, seed: int, temperature: float) -> None:
    student, teacher = np.random.default_rng(seed).normal(0, 2, (2, batch, classes))
    p, q = (softmax(each / temperature, axis=1) for each in (teacher, student))
    inter = np.mean([1 - pearsonr(p[b], q[b]).statistic for b in range(batch)])
    intra = np.mean([1 - pearsonr(p[:, k], q[:, k]).statistic for k in range(classes)])
    s, t = torch.from_numpy(student), torch.from_numpy(teacher)
    found = dist(student=s, teacher=t, temperature=temperature, inter=0.7, intra=2.0)
    assert float(found) == pytest.approx(0.7 * inter + 2.0 * intra, rel=1e-7, abs=1e-10)


def test_a_batch_of_one_has_no_relation_between_samples() -> None:
    student, teacher = torch.randn(2, 1, 4)
    assert float(dist(student=student, teacher=teacher, inter=0.0)) == 0
    assert float(dist(student=student, teacher=teacher)) > 0


def test_classes_that_the_teacher_never_sees_count_as_met() -> None:
    teacher = torch.tensor([[1e4, 0.0, -1e4], [0.0, 1e4, -1e4]])
    # The first two classes of the student rise and fall as the teacher's do; the third changes on its own.
    student = torch.tensor([[2.0, 0.0, 1.0], [0.0, 2.0, -1.0]])
    assert float(dist(student=student, teacher=teacher, inter=0.0)) == pytest.approx(0, abs=1e-12)


def test_opposite_relations_cost_the_most() -> None:
    teacher = torch.tensor([[5.0, 0.0], [0.0, 5.0]])
    assert float(dist(student=teacher.flip(1), teacher=teacher)) == pytest.approx(4.0)


def test_temperature_does_not_shrink_it() -> None:
    """Softmax at high temperature is linear in the logits, and correlation knows no factor: no T^2 is due."""
    student, teacher = torch.randn(2, 32, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = [float(dist(student=student, teacher=teacher, temperature=t)) for t in (100.0, 1000.0)]
    assert values[0] == pytest.approx(values[1], rel=0.02)
    assert values[0] > 0.1
