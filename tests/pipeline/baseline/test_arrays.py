"""Numbers as text, there and back."""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.errors import StoreError
from edgekd.pipeline.baseline.arrays import MOST_NUMBERS, Packed, pack, unpack

FLOATS = st.lists(st.floats(allow_nan=False), max_size=40)
BITS = st.lists(st.sampled_from([0.0, 1.0]), max_size=40)
NANOS = st.lists(st.integers(-(10**12), 10**12).map(lambda each: each / 1e9), max_size=40)


@given(st.one_of(FLOATS, BITS, NANOS))
def test_all_numbers_come_back_to_the_last_bit(numbers: list[float]) -> None:
    found = unpack(pack(numbers))
    assert np.asarray(found, "<f8").tobytes() == np.asarray(numbers, "<f8").tobytes()


def test_what_is_no_number_comes_back_too() -> None:
    found = unpack(pack([math.nan, math.inf, -0.0]))
    assert math.isnan(found[0])
    assert found[1] == math.inf
    assert math.copysign(1, found[2]) == -1


def test_the_layout_is_the_one_that_is_documented() -> None:
    random = np.random.default_rng(0)
    bits, nanos, floats = random.integers(0, 2, 50), random.integers(1, 10**9, 50), random.normal(size=50)
    content = zlib.decompress(base64.b64decode(pack(bits.astype(float).tolist()).data))
    assert np.unpackbits(np.frombuffer(content, np.uint8), count=50).tolist() == bits.tolist()
    content = zlib.decompress(base64.b64decode(pack((nanos / 1e9).tolist()).data))
    assert np.frombuffer(content, np.uint8).reshape(8, 50).T.copy().view("<i8").ravel().tolist() == nanos.tolist()
    content = zlib.decompress(base64.b64decode(pack(floats.tolist()).data))
    planes = np.frombuffer(content, np.uint8).reshape(8, 50)
    assert planes.T.copy().view("<f8").ravel().tolist() == floats.tolist()


def test_it_is_small() -> None:
    random = np.random.default_rng(0)
    right = (random.random(10_000) < 0.9).astype(float).tolist()
    times = (np.rint(random.lognormal(0, 0.05, 10_000) * 78_000) / 1e9).tolist()
    assert len(pack(right).data) < 1_500  # 1,250 bytes of bits at most, a third more in base64
    assert len(pack(times).data) < 30_000  # of 80,000 bytes


def packed(numbers: Sequence[float], **changes: object) -> Packed:
    return replace(pack(numbers), **changes)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    "broken",
    [
        packed([0.1, 0.2], count=3),
        packed([0.1, 0.2], count=1),
        packed([0.1, 0.2], count=-1),
        packed([0.1, 0.2], count=MOST_NUMBERS + 1),
        packed([0.0, 1.0], count=20),
        packed([0.1], data="no base64!"),
        packed([0.1], data="ü"),
        packed([0.1], data=base64.b64encode(b"no zlib").decode()),
        packed([0.1], data=base64.b64encode(zlib.compress(bytes(8)) + b"more").decode()),
        packed([0.1], data=base64.b64encode(zlib.compress(bytes(8))[:-2]).decode()),
    ],
)
def test_what_was_not_packed_is_refused(broken: Packed) -> None:
    with pytest.raises(StoreError):
        unpack(broken)


def test_a_bomb_is_not_unpacked() -> None:
    bomb = base64.b64encode(zlib.compress(bytes(200_000_000), 9)).decode()
    with pytest.raises(StoreError, match="not the 2 numbers"):
        unpack(Packed(kind="floats", count=2, data=bomb))
