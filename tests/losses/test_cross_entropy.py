"""Cross-entropy against its formula in NumPy float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from edgekd import registry

cross_entropy = registry.function("losses", "cross_entropy")


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(2, 7), st.integers(0, 2**32), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_equals_the_formula(batch: int, classes: int, seed: int, smoothing: float) -> None:
    chance = np.random.default_rng(seed)
    logits, labels = chance.normal(0, 5, (batch, classes)), chance.integers(0, classes, batch)
    # Szegedy et al. 2016, section 7: q'(k) = (1 - e) [k = y] + e / K.
    target = (1 - smoothing) * np.eye(classes)[labels] + smoothing / classes
    expected = -(target * log_softmax(logits, axis=1)).sum() / batch
    found = cross_entropy(
        student=torch.from_numpy(logits), teacher=None, labels=torch.from_numpy(labels), label_smoothing=smoothing
    )
    assert float(found) == pytest.approx(expected, rel=1e-9)


def test_gradient_is_that_of_the_value_and_the_teacher_has_no_part_in_it() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 4, 5, generator=generator, dtype=torch.float64).requires_grad_()
    labels = torch.tensor([0, 4, 2, 2])
    assert torch.autograd.gradcheck(
        lambda logits: cross_entropy(student=logits, teacher=teacher, labels=labels, label_smoothing=0.1),
        (student.detach().requires_grad_(),),
    )
    value = cross_entropy(student=student, teacher=teacher, labels=labels)
    assert torch.autograd.grad(value, teacher, allow_unused=True) == (None,)
