"""The streaming histogram against NumPy's on all numbers at once."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra import numpy as arrays

from edgekd.stats import Stream
from edgekd.stats.histograms import BINS

NUMBERS = some.floats(-1e6, 1e6, width=32, allow_subnormal=False)
BATCHES = some.lists(arrays.arrays(np.float32, some.integers(1, 40), elements=NUMBERS), min_size=1, max_size=6)


@given(BATCHES)
def test_no_number_is_in_the_wrong_bin(batches: list[np.ndarray[tuple[int], np.dtype[np.float32]]]) -> None:
    stream = Stream()
    for batch in batches:
        stream.add(batch)
    values = np.concatenate(batches).astype(np.float64)
    assert (stream.low, stream.high) == (values.min(), values.max())
    assert stream.counts.sum() == len(values)
    assert stream.origin <= values.min()
    # A number on an edge may fall to either side of it, by rounding.
    edges = stream.origin + stream.width * np.arange(BINS + 1)
    below = np.cumsum(np.append(0, stream.counts))
    slack = 1e-9 * np.maximum(np.abs(edges), np.abs(values).max()) + 1e-9 * stream.width
    assert (below >= [(values < edge - near).sum() for edge, near in zip(edges, slack, strict=True)]).all()
    assert (below <= [(values < edge + near).sum() for edge, near in zip(edges, slack, strict=True)]).all()


def test_quantiles_are_numpys_to_within_a_bin() -> None:
    values = np.random.default_rng(0).gamma(2.0, size=50_000).astype(np.float32)
    stream = Stream()
    for part in np.array_split(values, 20):
        stream.add(part)
    for share in (0.001, 0.25, 0.5, 0.99, 1.0):
        assert abs(stream.quantile(share) - np.quantile(values, share)) <= stream.width


def test_memory_does_not_grow_with_what_is_added() -> None:
    stream = Stream()
    for scale in (1e-20, 1.0, 1e12):
        stream.add(np.full(1000, scale, np.float32))
        assert stream.counts.shape == (BINS,)
