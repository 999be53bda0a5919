from __future__ import annotations

import base64
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.errors import StoreError
from edgekd.packing import MANY, pack, unpack

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(first=st.lists(NUMBERS, min_size=1, max_size=30))
def test_numbers_come_back_bit_by_bit(first: list[float]) -> None:
    numbers = (first * (MANY + 1))[: MANY + len(first)]
    found = unpack(json.loads(json.dumps(pack(numbers))))
    assert found.astype("<f8").tobytes() == np.array(numbers, "<f8").tobytes()


@pytest.mark.parametrize(
    ("number", "kind"), [(0.0, "bytes"), (255.0, "bytes"), (256.0, "floats"), (0.5, "floats"), (-0.0, "floats")]
)
def test_only_what_a_byte_holds_is_one(number: float, kind: str) -> None:
    packed = pack([1.0] * MANY + [number])
    assert isinstance(packed, dict)
    assert list(packed) == [kind]
    assert math.copysign(1, unpack(packed)[-1].item()) == math.copysign(1, number)


def test_few_numbers_can_be_read_by_people() -> None:
    assert pack([0.5] * MANY) == [0.5] * MANY


def test_floats_are_what_the_format_says() -> None:
    packed = pack([0.1] * 300)
    assert isinstance(packed, dict)
    assert np.frombuffer(base64.b64decode(packed["floats"]), "<f8").tolist() == [0.1] * 300


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON"):
        pack([math.nan] * 300)


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        ({}, "can't be unpacked; allowed: 'floats' or 'bytes'"),
        ({"doubles": ""}, "can't be unpacked; allowed: 'floats' or 'bytes'"),
        ({"floats": "", "bytes": ""}, "can't be unpacked; allowed"),
        ({"floats": [1.0]}, "can't be unpacked; allowed"),
        ({"floats": "AAAA"}, "'floats' that can't be unpacked"),
        ({"bytes": "*"}, "'bytes' that can't be unpacked"),
    ],
)
def test_what_was_not_packed_is_refused(packed: dict[str, object], message: str) -> None:
    with pytest.raises(StoreError, match=message):
        unpack(packed)
