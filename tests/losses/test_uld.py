"""Universal logit distillation against its formula, and against SciPy's distance of sorted probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax

from edgekd import registry

uld = registry.function("losses", "uld")
RNG = np.random.default_rng(0)
PAIRS = [RNG.normal(size=(2, *shape)) * scale for shape in ((1, 2), (5, 7), (3, 300)) for scale in (0.1, 3.0, 20.0)]


def formula(student: NDArray[Any], teacher: NDArray[Any], temperature: float) -> float:
    p, q = (np.sort(np.exp(log_softmax(each / temperature, axis=1)), axis=1)[:, ::-1] for each in (teacher, student))
    size = max(p.shape[1], q.shape[1])
    p, q = (np.pad(each, ((0, 0), (0, size - each.shape[1]))) for each in (p, q))
    return float(np.abs(p - q).sum(axis=1).mean())


@pytest.mark.parametrize("own", [2, 7, 300])
@pytest.mark.parametrize("others", [2, 40])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_equals_the_formula_whatever_the_vocabularies(own: int, others: int, temperature: float) -> None:
    student, teacher = RNG.normal(size=(5, own)), RNG.normal(size=(5, others))
    found = uld(student=torch.from_numpy(student), teacher=torch.from_numpy(teacher), temperature=temperature)
    assert float(found) == pytest.approx(formula(student, teacher, temperature), rel=1e-9)


@pytest.mark.parametrize("pair", PAIRS)
def test_which_token_it_is_does_not_matter(pair: NDArray[np.float64]) -> None:
    student, teacher = map(torch.from_numpy, pair)
    shuffled = teacher[:, torch.randperm(teacher.shape[1])]
    torch.testing.assert_close(uld(student=student, teacher=teacher), uld(student=student, teacher=shuffled))
