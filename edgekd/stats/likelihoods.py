"""Perplexity and bits per byte: what a language model's likelihood of texts comes to, window by window."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edgekd.errors import MeasurementError
from edgekd.stats._interval import Interval, Samples, check_share
from edgekd.stats.distributions import t_quantile
from edgekd.stats.means import paired, ratio_interval

# Of which e to the power of it is still a number.
_MOST_NATS = 700.0
_Numbers = npt.NDArray[np.float64]


def perplexity(nats: Samples, counts: Samples) -> float:
    """Compute e to the power of the mean negative log-likelihood of a token.

    Jelinek et al., JASA 62:S63 (1977): with the mean negative log-likelihood x_i of a token in window i, and n_i tokens
    there,

        PP = exp(sum_i n_i x_i / sum_i n_i)

    Args:
        nats: Shape (n,), in nats per token, mean over each window.
        counts: Shape (n,), tokens of each window.

    Returns:
        1 or more.

    Raises:
        MeasurementError: Other lengths, no windows, counts that are none, or likelihoods too small for a number.

    >>> print(f"{perplexity([0.0, math.log(16)], [3, 1]):.1f}")
    2.0
    """
    return _exp(_mean(*_windows(nats, counts)))


def bits_per_byte(nats: Samples, counts: Samples) -> float:
    """Compute the mean negative log-likelihood of a byte in bits, which does not depend on the tokenizer.

    Gao et al., "The Pile" (2020), section 3.1: sum_i n_i x_i / (ln 2 sum_i n_i) over windows of n_i bytes.

    Args:
        nats: Shape (n,), in nats per byte, mean over each window.
        counts: Shape (n,), bytes of each window.

    Returns:
        0 or more.

    Raises:
        MeasurementError: Other lengths, no windows, or counts that are none.

    >>> print(f"{bits_per_byte([math.log(2), math.log(4)], [1, 1]):.1f}")
    1.5
    """
    return _mean(*_windows(nats, counts)) / math.log(2)


def perplexity_interval(nats: Samples, counts: Samples, confidence: float = 0.95) -> Interval:
    """Bound a perplexity over texts like these windows.

    The ends are e to the power of those of the mean, which is a ratio of nats to tokens over windows (see
    `ratio_interval`). It takes windows for drawn at random: those of one long text are more alike than that.

    Args:
        nats: Shape (n,), n >= 2, in nats per token, mean over each window.
        counts: Shape (n,), tokens of each window.
        confidence: In (0, 1).

    Returns:
        Perplexities, 1 or more.

    Raises:
        MeasurementError: As `perplexity`; or a single window.

    >>> interval = perplexity_interval([1.0, 1.2, 1.4], [8, 8, 8])
    >>> print(f"{interval.estimate:.3f} {interval.low:.3f} {interval.high:.3f}")
    3.320 2.020 5.457
    """
    mean = _bound(*_windows(nats, counts), confidence)
    return Interval(estimate=_exp(mean.estimate), low=_exp(max(mean.low, 0.0)), high=_exp(mean.high))


def bits_interval(nats: Samples, counts: Samples, confidence: float = 0.95) -> Interval:
    """Bound bits per byte over texts like these windows, as `perplexity_interval` does.

    Args:
        nats: Shape (n,), n >= 2, in nats per byte, mean over each window.
        counts: Shape (n,), bytes of each window.
        confidence: In (0, 1).

    Returns:
        In bits, 0 or more.

    Raises:
        MeasurementError: As `bits_per_byte`; or a single window.

    >>> print(f"{bits_interval([1.0, 1.2, 1.4], [8, 8, 8]).estimate:.3f}")
    1.731
    """
    mean = _bound(*_windows(nats, counts), confidence)
    low, estimate, high = (each / math.log(2) for each in (max(mean.low, 0.0), mean.estimate, mean.high))
    return Interval(estimate=estimate, low=low, high=high)


def perplexity_drop_interval(
    reference: Samples, candidate: Samples, counts: Samples, confidence: float = 0.95, *, relative: bool = False
) -> Interval:
    """Bound how much lower a perplexity is for one model than for another on the same windows.

    As a share of the reference it is 1 - exp(d) with the mean d of the differences of nats, whose interval is that of
    `ratio_interval`. In itself it is bounded by Student's interval of its linear part (the delta method): with
    perplexities P, P' and means m, m', each window adds n_i (P (x_i - m) - P' (x'_i - m')).

    Args:
        reference: Shape (n,), n >= 2, in nats per token, mean over each window.
        candidate: Shape (n,), of the same windows in the same order.
        counts: Shape (n,), tokens of each window.
        confidence: In (0, 1).
        relative: As a share of the reference's perplexity.

    Returns:
        Perplexity of the reference minus that of the candidate, or that as a share; below 0 where it grew.

    Raises:
        MeasurementError: As `perplexity_interval`, or samples that can't be paired.

    >>> interval = perplexity_drop_interval([1.0, 1.2, 1.4], [1.1, 1.2, 1.5], [8, 8, 8], relative=True)
    >>> print(f"{interval.estimate:.3f} {interval.low:.3f} {interval.high:.3f}")
    -0.069 -0.234 0.074
    """
    check_share("confidence", confidence)
    first, second = paired(reference, candidate)
    first, weights = _windows(first, counts)
    second, _ = _windows(second, counts)
    if relative:
        grown = _bound(second - first, weights, confidence)
        low, estimate, high = (1 - _exp(each) for each in (grown.high, grown.estimate, grown.low))
        return Interval(estimate=estimate, low=low, high=high)
    if len(first) < 2:
        raise MeasurementError("one window says nothing of the spread", next_step="take 2 or more")
    one, two = _mean(first, weights), _mean(second, weights)
    parts = weights / weights.mean() * (_exp(one) * (first - one) - _exp(two) * (second - two))
    half = t_quantile(parts.size - 1, confidence) * float(parts.std(ddof=1)) / math.sqrt(parts.size)
    lost = _exp(one) - _exp(two)
    return Interval(estimate=lost, low=lost - half, high=lost + half)


def bits_drop_interval(
    reference: Samples, candidate: Samples, counts: Samples, confidence: float = 0.95, *, relative: bool = False
) -> Interval:
    """Bound how many bits per byte one model needs less than another on the same windows (see `ratio_interval`).

    Args:
        reference: Shape (n,), n >= 2, in nats per byte, mean over each window.
        candidate: Shape (n,), of the same windows in the same order.
        counts: Shape (n,), bytes of each window.
        confidence: In (0, 1).
        relative: As a share of the reference's.

    Returns:
        Bits per byte of the reference minus those of the candidate, or that as a share; below 0 where they grew.

    Raises:
        MeasurementError: As `bits_interval`, samples that can't be paired, or a reference that may need no bits.

    >>> interval = bits_drop_interval([1.0, 1.2, 1.4], [1.1, 1.2, 1.5], [8, 8, 8], relative=True)
    >>> print(f"{interval.estimate:.3f}")
    -0.056
    """
    first, second = paired(reference, candidate)
    first, weights = _windows(first, counts)
    second, _ = _windows(second, counts)
    if relative:
        return ratio_interval((first - second) * weights, first * weights, confidence, what="the reference")
    lost = _bound(first - second, weights, confidence)
    low, estimate, high = (each / math.log(2) for each in (lost.low, lost.estimate, lost.high))
    return Interval(estimate=estimate, low=low, high=high)


def _windows(nats: Samples, counts: Samples) -> tuple[_Numbers, _Numbers]:
    values, weights = paired(nats, counts)
    if not (weights > 0).all():
        raise MeasurementError(f"a window of {weights.min():g} tokens or bytes", allowed="1 or more")
    return values, weights


def _mean(values: _Numbers, weights: _Numbers) -> float:
    return float(values @ weights / weights.sum())


def _bound(values: _Numbers, weights: _Numbers, confidence: float) -> Interval:
    check_share("confidence", confidence)
    return ratio_interval(values * weights, weights, confidence, what="the number of tokens or bytes in a window")


def _exp(nats: float) -> float:
    if nats > _MOST_NATS:
        raise MeasurementError(
            f"e to the power of {nats:g} nats is no number", next_step="the model is broken, or has too few windows"
        )
    return math.exp(nats)
