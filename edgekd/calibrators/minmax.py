"""All that was seen: nothing is clipped, and one outlier widens every step."""

from __future__ import annotations

from edgekd.stats import Stream


def limits(*, stream: Stream, bits: int) -> tuple[float, float]:
    """Give the smallest and the largest number.

    Args:
        stream: Of one activation.
        bits: Of the integers; any.

    Returns:
        Lower and upper end of the range.

    >>> stream = Stream()
    >>> stream.add([-1.0, 0.0, 5.0])
    >>> limits(stream=stream, bits=8)
    (-1.0, 5.0)
    """
    del bits
    return stream.low, stream.high
