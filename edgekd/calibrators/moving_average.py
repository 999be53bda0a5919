"""Moving average of the extremes of batches, which forgets rare outliers (Jacob et al. 2018, section 3.1)."""

from __future__ import annotations

from edgekd.stats import Stream


def limits(*, stream: Stream, bits: int) -> tuple[float, float]:
    """Give the moving averages of the batches' smallest and largest numbers; a new batch counts a tenth.

    Args:
        stream: Of one activation.
        bits: Of the integers; any.

    Returns:
        Lower and upper end of the range.

    >>> stream = Stream()
    >>> stream.add([0.0, 1.0])
    >>> stream.add([0.0, 2.0])
    >>> limits(stream=stream, bits=8)
    (0.0, 1.1)
    """
    del bits
    return stream.average_low, stream.average_high
