"""The threshold that loses the least information: smallest Kullback-Leibler divergence (Migacz 2017, GTC s7310)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgekd.stats import Stream

_BINS = 2048


def limits(*, stream: Stream, bits: int) -> tuple[float, float]:
    """Choose a threshold of absolute values whose clipped and quantized histogram is nearest to the clipped one.

    For each candidate T: P is the histogram below T with the outliers added to its last bin, Q is the histogram below
    T in 2^(bits-1) levels, spread evenly over the bins that are not empty; T minimises KL(P || Q).

    Args:
        stream: Of one activation.
        bits: Of the integers.

    Returns:
        Lower and upper end of the range: -T and T, held within what was seen.

    >>> import numpy as np
    >>> stream = Stream()
    >>> stream.add(np.append(np.random.default_rng(0).normal(size=100_000), 50.0))
    >>> limits(stream=stream, bits=8)[1] < 25
    True
    """
    largest = max(abs(stream.low), abs(stream.high))
    levels = 2 ** (bits - 1)
    if largest == 0 or levels >= _BINS:
        return stream.low, stream.high
    places = np.minimum((np.abs(stream.centres()) / largest * _BINS).astype(np.int64), _BINS - 1)
    counts = np.bincount(places, weights=stream.counts, minlength=_BINS).astype(np.float64)
    # Numbers that are exactly zero say nothing of the threshold, and a ReLU makes half of them.
    counts[0] = counts[1]
    candidates = range(levels, _BINS + 1, 8)
    best = min(candidates, key=lambda bins: _divergence(counts, bins, levels))
    threshold = largest * best / _BINS
    return max(stream.low, -threshold), min(stream.high, threshold)


def _divergence(counts: NDArray[np.float64], bins: int, levels: int) -> float:
    clipped = counts[:bins].copy()
    clipped[-1] += counts[bins:].sum()
    level_of = np.arange(bins) * levels // bins
    filled = counts[:bins] > 0
    sums = np.bincount(level_of, weights=counts[:bins], minlength=levels)
    used = np.bincount(level_of, weights=filled, minlength=levels)
    spread = np.where(filled, (sums / np.maximum(used, 1))[level_of], 0.0)
    p, q = clipped / clipped.sum(), spread / spread.sum()
    support = p > 0
    # Where outliers fall into an empty bin Q has nothing: a small number stands for the infinite divergence.
    return float((p[support] * np.log(p[support] / np.maximum(q[support], 1e-12))).sum())
