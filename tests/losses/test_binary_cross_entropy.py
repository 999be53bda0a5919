"""Cross-entropy of independent labels against scikit-learn, class by class."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.metrics import log_loss

from edgekd import registry

binary_cross_entropy = registry.function("losses", "binary_cross_entropy")


def test_is_the_mean_of_each_class_s_own_log_loss() -> None:
    chance = np.random.default_rng(0)
    logits, labels = chance.normal(0, 3, (9, 4)), chance.integers(0, 2, (9, 4)).astype(np.float64)
    expected = np.mean([log_loss(labels[:, k], expit(logits[:, k]), labels=[0, 1]) for k in range(4)])
    found = binary_cross_entropy(student=torch.from_numpy(logits), labels=torch.from_numpy(labels))
    assert float(found) == pytest.approx(expected, rel=1e-9)


def test_mixed_labels_lie_between() -> None:
    logits = torch.randn(3, 2, dtype=torch.float64)
    no, yes = (binary_cross_entropy(student=logits, labels=torch.full((3, 2), float(each))) for each in (0, 1))
    mixed = binary_cross_entropy(student=logits, labels=torch.full((3, 2), 0.25))
    torch.testing.assert_close(mixed, 0.75 * no + 0.25 * yes)


def test_its_smallest_value_is_the_labels_own_entropy() -> None:
    labels = torch.tensor([[0.2, 0.5, 0.9]], dtype=torch.float64)
    entropy = -(labels * labels.log() + (1 - labels) * (1 - labels).log()).mean()
    best = binary_cross_entropy(student=labels.logit(), labels=labels)
    torch.testing.assert_close(best, entropy)
    assert binary_cross_entropy(student=labels.logit() + 0.1, labels=labels) > best


def test_certain_and_wrong_costs_as_many_nats_as_the_logit() -> None:
    found = binary_cross_entropy(student=torch.tensor([[1e4, -1e4]]), labels=torch.tensor([[0.0, 0.0]]))
    assert float(found) == pytest.approx(5e3)
