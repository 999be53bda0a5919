"""The range with the smallest mean squared error of the quantized numbers (Choukroun et al. 2019, arXiv:1902.06822)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgekd.stats import Stream

# Shares of the whole range that are tried at each end, the whole first.
_SHARES = np.linspace(1.0, 0.02, 50)
_PASSES = 3


def limits(*, stream: Stream, bits: int) -> tuple[float, float]:
    """Minimise E[(x - q(x))^2] over the two ends, one after the other, on the histogram.

    Args:
        stream: Of one activation.
        bits: Of the integers.

    Returns:
        Lower and upper end of the range.

    >>> import numpy as np
    >>> stream = Stream()
    >>> stream.add(np.append(np.random.default_rng(0).normal(size=100_000), 50.0))
    >>> limits(stream=stream, bits=4)[1] < 25
    True
    """
    kept = stream.counts > 0
    values, counts = stream.centres()[kept], stream.counts[kept]

    def error(low: float, high: float) -> float:
        return float((counts * (values - _quantized(values, low, high, bits)) ** 2).sum())

    low, high = min(stream.low, 0.0), max(stream.high, 0.0)
    best_low, best_high = low, high
    # Each end depends on the other but little: later passes change what the first one mistook.
    for _ in range(_PASSES):
        best_high = min((high * share for share in _SHARES), key=lambda end: error(best_low, end))
        best_low = min((low * share for share in _SHARES), key=lambda end: error(end, best_high))
    return float(best_low), float(best_high)


def _quantized(values: NDArray[np.float64], low: float, high: float, bits: int) -> NDArray[np.float64]:
    steps = 2**bits - 1
    scale = (high - low) / steps or 1.0
    zero = np.round(-low / scale)
    quantized: NDArray[np.float64] = (np.clip(np.round(values / scale) + zero, 0, steps) - zero) * scale
    return quantized
