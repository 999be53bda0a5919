"""Reverse KL against its formula in NumPy float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax

from edgekd import registry

reverse_kl = registry.function("losses", "reverse_kl")
RNG = np.random.default_rng(0)
PAIRS = [RNG.normal(size=(2, *shape)) * scale for shape in ((1, 2), (5, 7), (3, 300)) for scale in (0.1, 3.0, 20.0)]


def formula(student: NDArray[Any], teacher: NDArray[Any], temperature: float) -> float:
    p, q = (log_softmax(each / temperature, axis=1) for each in (teacher, student))
    return float(temperature**2 * (np.exp(q) * (q - p)).sum() / len(student))


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_equals_the_formula(pair: NDArray[np.float64], temperature: float) -> None:
    student, teacher = map(torch.from_numpy, pair)
    found = reverse_kl(student=student, teacher=teacher, temperature=temperature)
    assert float(found) == pytest.approx(formula(pair[0], pair[1], temperature), rel=1e-9)


def test_is_forward_kl_with_the_roles_exchanged() -> None:
    student, teacher = map(torch.from_numpy, PAIRS[4])
    forward = registry.function("losses", "kl")(student=teacher, teacher=student, temperature=2.0)
    torch.testing.assert_close(reverse_kl(student=student, teacher=teacher, temperature=2.0), forward)
