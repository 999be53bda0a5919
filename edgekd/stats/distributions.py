"""Distributions of counts and of Student's t, by the sums that define them.

SciPy has them too and is what the tests hold these against; importing `scipy.special` takes about as long as all the
rest of a gate.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

_LARGEST_STEPS = 200  # of a search that halves its range at worst


def normal_quantile(confidence: float) -> float:
    """Quantile of the standard normal distribution that leaves (1 - confidence) / 2 above it.

    >>> round(normal_quantile(0.95), 3)
    1.96
    """
    return NormalDist().inv_cdf((1 + confidence) / 2)


@lru_cache(maxsize=256)
def t_quantile(degrees: int, confidence: float) -> float:
    r"""Student's quantile that leaves (1 - confidence) / 2 above it.

    With :math:`\theta = \arctan(t / \sqrt{\nu})` the probability between -t and t is a polynomial of its cosine
    (Abramowitz & Stegun, Handbook of Mathematical Functions, 1964, 26.7.3 and 26.7.4), which is searched.

    Args:
        degrees: Of freedom, a whole number from 1.
        confidence: In (0, 1).

    >>> round(t_quantile(9, 0.95), 3)
    2.262
    """
    odd = degrees % 2
    # Of 2/3, 2/3 · 4/5, ... or 1/2, 1/2 · 3/4, ...
    steps = np.arange(2 if odd else 1, degrees - 1, 2)
    weights = np.concatenate([[1.0], np.cumprod(steps / (steps + 1))]) if degrees > 1 else np.zeros(1)
    powers = 2 * np.arange(len(weights)) + odd

    def between(theta: float) -> float:
        inside = math.sin(theta) * float(weights @ math.cos(theta) ** powers)
        return 2 / math.pi * (theta + inside) if odd else inside

    low, high = 0.0, math.pi / 2
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if between(middle) < confidence else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def binomial(n: int, p: float) -> npt.NDArray[np.float64]:
    """Probabilities of 0 to n successes in n trials.

    Neighbours' ratios, (n - k + 1) / k · p / (1 - p), are multiplied outward from the likeliest count, and the sum made
    1: no factorials, whose logarithms lose digits.

    Args:
        n: Trials, at least 1.
        p: Of a success, in (0, 1).

    Returns:
        Shape (n + 1,).

    >>> binomial(2, 0.5).tolist()
    [0.25, 0.5, 0.25]
    """
    counts = np.arange(1, n + 1)
    ratios = (n - counts + 1) / counts * (p / (1 - p))
    top = min(math.floor((n + 1) * p), n)
    above, below = np.cumprod(ratios[top:]), np.cumprod(1 / ratios[:top][::-1])[::-1]
    weights = np.concatenate([below, [1.0], above])
    probabilities: npt.NDArray[np.float64] = weights / weights.sum()
    return probabilities


@lru_cache(maxsize=4096)  # the same file gives the same answers on every target
def least_share(successes: int, n: int, tail: float) -> float:
    """The p for which so many successes or more have the probability `tail`: that quantile of Beta(k, n - k + 1).

    Newton's method on the logarithm of that probability, which is concave in p; inside of a range that shrinks.

    Args:
        successes: k, 1 to n.
        n: Trials.
        tail: Above 0, below 1.

    >>> round(least_share(8766, 10000, 0.025), 4)
    0.87
    """
    k = successes
    later = np.arange(k + 1, n + 1)
    ratios = (n - later + 1) / later
    log_ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    low, high, p = 0.0, 1.0, k / (n + 1)
    for _ in range(_LARGEST_STEPS):
        log_first = log_ways + k * math.log(p) + (n - k) * math.log1p(-p)
        # So many or more, over exactly so many: of a p far too large infinite, and then the range is halved.
        with np.errstate(over="ignore"):
            over = 1 + float(np.cumprod(ratios * (p / (1 - p))).sum())
        log_excess = log_first + math.log(over) - math.log(tail)
        low, high = (p, high) if log_excess < 0 else (low, p)
        step = log_excess * p * over / k
        p, before = (p - step if low < p - step < high else (low + high) / 2), p
        if abs(p - before) <= 1e-15 * p:
            break
    return p
