"""Statistics of a stream of numbers in memory that does not grow with it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

BINS = 2048
# Of the newest batch, in the moving average.
_NEWEST = 0.1
_TINY = 1e-30
# Numbers binned at a time: what is computed of them stays in the processor's cache.
_CHUNK = 65_536


@dataclass(kw_only=True)
class Stream:
    """What ranges are chosen from: extremes, their moving average over batches, and a histogram.

    The histogram covers what came so far with bins of one width. Where a number lies outside, neighbouring bins are
    merged until it does not, so that no number is ever counted in the wrong bin.

    Attributes:
        low: Smallest number so far.
        high: Largest number so far.
        average_low: Moving average of the batches' smallest numbers.
        average_high: Moving average of the batches' largest numbers.
        origin: Where the first bin begins.
        width: Of a bin; 0 before the first batch.
        counts: Numbers in each bin, shape (2048,).

    >>> stream = Stream()
    >>> stream.add(np.array([0.0, 1.0], "f"))
    >>> stream.add(np.array([-3.0], "f"))
    >>> stream.low, stream.high, int(stream.counts.sum())
    (-3.0, 1.0, 3)
    """

    low: float = float("inf")
    high: float = float("-inf")
    average_low: float = 0.0
    average_high: float = 0.0
    origin: float = 0.0
    width: float = 0.0
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, batch: NDArray[np.float32]) -> None:
        """Take in a batch of finite numbers of any shape."""
        values = np.asarray(batch, np.float32).ravel()
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        if self.width == 0:
            self.average_low, self.average_high = low, high
            # Twice what is seen leaves room for what comes, and the merging for the rest.
            self.origin, self.width = low, max(2 * (high - low), abs(high), _TINY) / BINS
        else:
            self.average_low += _NEWEST * (low - self.average_low)
            self.average_high += _NEWEST * (high - self.average_high)
        self.low, self.high = min(self.low, low), max(self.high, high)
        while low < self.origin:
            self._merge(upwards=False)
        while high >= self.origin + BINS * self.width:
            self._merge(upwards=True)
        for start in range(0, values.size, _CHUNK):
            places = ((values[start : start + _CHUNK] - np.float64(self.origin)) / self.width).astype(np.int32)
            self.counts += np.bincount(np.minimum(places, BINS - 1), minlength=BINS)

    def centres(self) -> NDArray[np.float64]:
        """The middle of each bin, shape (2048,), held within what was seen."""
        middles = self.origin + self.width * (np.arange(BINS) + 0.5)
        return np.clip(middles, self.low, self.high)

    def quantile(self, share: float) -> float:
        """The number below which a share of all lies, to within a bin; the smallest or largest in the outer bins."""
        cumulated = np.cumsum(self.counts)
        place = int(np.searchsorted(cumulated, share * cumulated[-1]))
        filled = np.flatnonzero(self.counts)
        if place <= filled[0] or place >= filled[-1]:
            return self.low if place <= filled[0] else self.high
        within = share * cumulated[-1] - (cumulated[place - 1] if place else 0)
        value = self.origin + self.width * (place + within / max(int(self.counts[place]), 1))
        return float(np.clip(value, self.low, self.high))

    def _merge(self, *, upwards: bool) -> None:
        """Double what the histogram covers, towards larger or smaller numbers."""
        merged = self.counts.reshape(-1, 2).sum(axis=1)
        empty = np.zeros_like(merged)
        if not upwards:
            self.origin -= BINS * self.width
        self.counts = np.concatenate((merged, empty) if upwards else (empty, merged))
        self.width *= 2
