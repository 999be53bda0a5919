"""Generalized Jensen-Shannon against its formula in NumPy float64, and against the divergences at its ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax

from edgekd import registry
from edgekd.errors import ConfigError

jensen_shannon = registry.function("losses", "jensen_shannon")
RNG = np.random.default_rng(0)
PAIRS = [RNG.normal(size=(2, *shape)) * scale for shape in ((1, 2), (5, 7), (3, 300)) for scale in (0.1, 3.0, 20.0)]


def formula(student: NDArray[Any], teacher: NDArray[Any], beta: float, temperature: float) -> float:
    p, q = (np.exp(log_softmax(each / temperature, axis=1)) for each in (teacher, student))
    m = beta * p + (1 - beta) * q
    with np.errstate(divide="ignore", invalid="ignore"):
        forward, reverse = (np.nansum(each * np.log(each / m), axis=1).mean() for each in (p, q))
    return float(temperature**2 * (beta * forward + (1 - beta) * reverse))


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("beta", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_equals_the_formula(pair: NDArray[np.float64], beta: float, temperature: float) -> None:
    student, teacher = map(torch.from_numpy, pair)
    found = jensen_shannon(student=student, teacher=teacher, beta=beta, temperature=temperature)
    assert float(found) == pytest.approx(formula(pair[0], pair[1], beta, temperature), rel=1e-9, abs=1e-12)
    assert 0 <= float(found) <= temperature**2 * np.log(2) + 1e-9


def test_half_is_the_jensen_shannon_distance_of_scipy() -> None:
    from scipy.spatial.distance import jensenshannon

    student, teacher = PAIRS[4]
    p, q = (np.exp(log_softmax(each, axis=1)) for each in (teacher, student))
    found = jensen_shannon(student=torch.from_numpy(student), teacher=torch.from_numpy(teacher))
    assert float(found) == pytest.approx(float((jensenshannon(p, q, axis=1) ** 2).mean()), rel=1e-9)


def test_its_ends_are_forward_and_reverse_kl() -> None:
    student, teacher = map(torch.from_numpy, PAIRS[4])
    for beta, name in ((1e-6, "kl"), (1 - 1e-6, "reverse_kl")):
        end = registry.function("losses", name)(student=student, teacher=teacher, temperature=1.0)
        found = jensen_shannon(student=student, teacher=teacher, beta=beta) / 1e-6
        assert float(found) == pytest.approx(float(end), rel=1e-3)


@pytest.mark.parametrize("beta", [0.0, 1.0, -1.0])
def test_the_ends_themselves_are_other_losses(beta: float) -> None:
    with pytest.raises(ConfigError, match="kl or reverse_kl"):
        jensen_shannon(student=torch.zeros(1, 2), teacher=torch.zeros(1, 2), beta=beta)
