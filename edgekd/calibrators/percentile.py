"""The middle of the distribution: a share of the numbers is clipped, half of it at each end."""

from __future__ import annotations

from edgekd.errors import ConfigError
from edgekd.stats import Stream


def limits(*, stream: Stream, bits: int, percentile: float = 99.99) -> tuple[float, float]:
    """Give the range that holds a percentage of the numbers (Li et al. 2019, arXiv:1810.05488, section 4.1).

    An end at which many numbers are the same, as zero after a ReLU, is kept.

    Args:
        stream: Of one activation.
        bits: Of the integers; any.
        percentile: Above 50, 100 at most.

    Returns:
        Lower and upper end of the range.

    Raises:
        ConfigError: A percentile out of range.

    >>> import numpy as np
    >>> stream = Stream()
    >>> stream.add(np.arange(100_001) / 100_000)
    >>> [round(end, 3) for end in limits(stream=stream, bits=8, percentile=99)]
    [0.005, 0.995]
    """
    del bits
    if not 50 < percentile <= 100:
        raise ConfigError(f"percentile = {percentile}", where="calibrator percentile", allowed="above 50, 100 at most")
    outside = (1 - percentile / 100) / 2
    return stream.quantile(outside), stream.quantile(1 - outside)
