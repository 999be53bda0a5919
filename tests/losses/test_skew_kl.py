"""Skewed KL against its formulas in NumPy float64, and against its bound."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax

from edgekd import registry
from edgekd.errors import ConfigError

skew_kl = registry.function("losses", "skew_kl")
RNG = np.random.default_rng(0)
PAIRS = [RNG.normal(size=(2, *shape)) * scale for shape in ((1, 2), (5, 7), (3, 300)) for scale in (0.1, 3.0, 20.0)]


def formula(student: NDArray[Any], teacher: NDArray[Any], skew: float, temperature: float, *, reverse: bool) -> float:
    p, q = (np.exp(log_softmax(each / temperature, axis=1)) for each in (teacher, student))
    first, mixture = (q, (1 - skew) * p + skew * q) if reverse else (p, skew * p + (1 - skew) * q)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(temperature**2 * np.nansum(first * np.log(first / mixture), axis=1).mean())


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("skew", [0.1, 0.7])
def test_equals_the_formula(pair: NDArray[np.float64], skew: float, reverse: bool) -> None:
    student, teacher = map(torch.from_numpy, pair)
    for temperature in (1.0, 3.0):
        found = skew_kl(student=student, teacher=teacher, skew=skew, reverse=reverse, temperature=temperature)
        assert float(found) == pytest.approx(
            formula(pair[0], pair[1], skew, temperature, reverse=reverse), rel=1e-9, abs=1e-12
        )
        assert 0 <= float(found) <= -np.log(skew) * temperature**2


@pytest.mark.parametrize("skew", [0.0, 1.0])
def test_without_skew_it_is_another_loss(skew: float) -> None:
    with pytest.raises(ConfigError, match="kl or reverse_kl"):
        skew_kl(student=torch.zeros(1, 2), teacher=torch.zeros(1, 2), skew=skew)
