"""Numbers of measurements as text: small, the same bytes for the same numbers, and each array once.

An array is deflated (zlib, level 9) and written in base64. What goes in is one of three kinds: `bits` of 0 and 1, eight
a byte, the first in the highest; `nanos`, int64 of whole nanos of the unit; `floats`, float64. The latter two are
little-endian, and all their first bytes come first, then all second ones and so on: upper bytes are alike.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import StoreError

# More than 20 files on 5 targets with 10,000 samples of several metrics each.
MOST_NUMBERS = 20_000_000
_PER_UNIT = 1e9
_LARGEST_NANO = 2**53  # beyond it float64 has no whole numbers one apart
_NUMBER_BYTES = 8
_DIGEST_LETTERS = 16
Kind = Literal["bits", "nanos", "floats"]


@dataclass(frozen=True, kw_only=True)
class Packed:
    """Numbers as text.

    Attributes:
        count: Of the numbers.
    """

    kind: Kind
    count: int
    data: str


def pack(numbers: Sequence[float]) -> Packed:
    """Write numbers as text, from which `unpack` gives exactly these.

    >>> pack([1.0, 0.0, 1.0]).kind, pack([1e-6, 2.5e-6]).kind, pack([0.1, float("nan")]).kind
    ('bits', 'nanos', 'floats')
    """
    values = np.asarray(numbers, dtype="<f8")
    kind: Kind = "floats"
    content = _planes(values)
    # By bits, because -0.0 is 0.0 to a comparison.
    if np.isin(values.view("<u8"), np.array([0.0, 1.0], "<f8").view("<u8")).all():
        kind, content = "bits", np.packbits(values.astype(np.uint8)).tobytes()
    elif np.isfinite(values).all() and (abs(values) < _LARGEST_NANO / _PER_UNIT).all():
        nanos = np.rint(values * _PER_UNIT).astype("<i8")
        if (nanos / _PER_UNIT).tobytes() == values.tobytes():
            kind, content = "nanos", _planes(nanos)
    data = base64.b64encode(zlib.compress(content, 9)).decode()
    return Packed(kind=kind, count=len(values), data=data)


def unpack(packed: Packed) -> tuple[float, ...]:
    """Read the numbers back.

    Raises:
        StoreError: Not what `pack` wrote, or not so many; no more is unpacked than there should be.

    >>> unpack(pack([0.1, 0.2, -0.0]))
    (0.1, 0.2, -0.0)
    """
    if not 0 <= packed.count <= MOST_NUMBERS:
        raise StoreError(f"{packed.count} numbers", allowed=f"at most {MOST_NUMBERS}")
    size = -(-packed.count // 8) if packed.kind == "bits" else packed.count * _NUMBER_BYTES
    try:
        stream = zlib.decompressobj()
        content = stream.decompress(base64.b64decode(packed.data, validate=True), size + 1)
    except (binascii.Error, ValueError, zlib.error):
        raise StoreError("numbers that can't be unpacked") from None
    if len(content) != size or not stream.eof or stream.unused_data:
        raise StoreError(f"not the {packed.count} numbers that there should be")
    return tuple(_numbers(packed, np.frombuffer(content, np.uint8)))


def _numbers(packed: Packed, content: NDArray[np.uint8]) -> list[float]:
    if packed.kind == "bits":
        # The same two objects for all of them: a million floats would take 24 MB.
        return [(0.0, 1.0)[bit] for bit in np.unpackbits(content, count=packed.count).tolist()]
    words = content.reshape(_NUMBER_BYTES, -1).T.copy()
    found = words.view("<i8") / _PER_UNIT if packed.kind == "nanos" else words.view("<f8")
    numbers: list[float] = found.ravel().tolist()
    return numbers


def _planes(values: NDArray[Any]) -> bytes:
    """All first bytes of numbers, then all second ones, and so on."""
    return values.view(np.uint8).reshape(-1, _NUMBER_BYTES).T.tobytes()


class Shelf:
    """Packed arrays by a name that their content gives, each once."""

    def __init__(self) -> None:
        self.arrays: dict[str, dict[str, Any]] = {}

    def put(self, numbers: Sequence[float]) -> str:
        """Pack numbers and give their name."""
        packed = pack(numbers)
        text = f"{packed.kind} {packed.count} {packed.data}"
        name = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LETTERS]
        self.arrays[name] = {"kind": packed.kind, "count": packed.count, "data": packed.data}
        return name
