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
    found = cross_entropy(student=torch.from_numpy(logits), labels=torch.from_numpy(labels), label_smoothing=smoothing)
    assert float(found) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_mixed_labels_are_probabilities(smoothing: float) -> None:
    chance = np.random.default_rng(1)
    logits, labels = chance.normal(0, 3, (6, 4)), chance.dirichlet(np.ones(4), 6)
    target = (1 - smoothing) * labels + smoothing / 4
    expected = -(target * log_softmax(logits, axis=1)).sum() / 6
    found = cross_entropy(student=torch.from_numpy(logits), labels=torch.from_numpy(labels), label_smoothing=smoothing)
    assert float(found) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_samples_without_label_have_no_part_in_it(smoothing: float) -> None:
    chance = np.random.default_rng(2)
    logits = torch.from_numpy(chance.normal(0, 3, (5, 4)))
    labels = torch.tensor([2, -1, 0, -1, 3])
    labelled = cross_entropy(student=logits[labels >= 0], labels=labels[labels >= 0], label_smoothing=smoothing)
    torch.testing.assert_close(cross_entropy(student=logits, labels=labels, label_smoothing=smoothing), labelled)
    rows = torch.eye(4)[labels] * (labels >= 0)[:, None]  # float32, as views are mixed
    torch.testing.assert_close(cross_entropy(student=logits, labels=rows, label_smoothing=smoothing), labelled)


@pytest.mark.parametrize("labels", [torch.full((3,), -1), torch.zeros(3, 4)])
def test_without_any_label_it_is_zero_and_teaches_nothing(labels: torch.Tensor) -> None:
    student = torch.randn(3, 4, requires_grad=True)
    value = cross_entropy(student=student, labels=labels, label_smoothing=0.1)
    (gradient,) = torch.autograd.grad(value, student)
    assert float(value.detach()) == 0
    assert not gradient.any()
