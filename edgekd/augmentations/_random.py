"""Random numbers that depend on nothing but (seed, view, sample index, stream)."""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special

# SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", fig. 15).
_GAMMA = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB


def uniform(seed: int, view: int, indices: torch.Tensor, stream: int) -> torch.Tensor:
    """Draw one number in [0, 1) for each sample.

    Args:
        seed: Of the run.
        view: Number of the augmented view, or the epoch.
        indices: (B,) int64 sample indices.
        stream: Tells the draws of one augmentation apart.

    Returns:
        (B,) float32.

    >>> draws = uniform(0, 1, torch.arange(3), 0)
    >>> bool((draws == uniform(0, 1, torch.arange(3), 0)).all())
    True
    """
    key = _mix_int(_mix_int(_mix_int(seed) ^ view) ^ stream)
    state = _mix(indices * _signed(_GAMMA) + _signed(key))
    return (_shift(state, 40)).to(torch.float32) * 2.0**-24


def beta(seed: int, view: int, indices: torch.Tensor, *, stream: int, alpha: float) -> torch.Tensor:
    """Draw one number from Beta(alpha, alpha) for each sample.

    It is read from a table of its quantiles: exact up to a 4096th of probability, and the same on every machine.

    Returns:
        (B,) float32 in [0, 1].

    >>> draws = beta(0, 0, torch.arange(1000), stream=0, alpha=1.0)
    >>> 0.45 < float(draws.mean()) < 0.55
    True
    """
    table = torch.from_numpy(_beta_quantiles(alpha)).to(indices.device)
    return table[(uniform(seed, view, indices, stream) * len(table)).long()]


@functools.cache
def _beta_quantiles(alpha: float) -> NDArray[np.float32]:
    middles = (np.arange(4096) + 0.5) / 4096
    return np.asarray(special.betaincinv(alpha, alpha, middles), np.float32)


def _mix(state: torch.Tensor) -> torch.Tensor:
    state = (state ^ _shift(state, 30)) * _signed(_MIX_1)
    state = (state ^ _shift(state, 27)) * _signed(_MIX_2)
    return state ^ _shift(state, 31)


def _mix_int(value: int) -> int:
    return int(_mix(torch.tensor([_signed(value + _GAMMA)]))[0])


def _shift(state: torch.Tensor, bits: int) -> torch.Tensor:
    """Shift right without the sign: torch has no unsigned 64-bit arithmetic."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value
