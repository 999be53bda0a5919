"""What both formats keep beside tensors: small integer constants and the options of operators."""

from __future__ import annotations

import struct
from collections.abc import Mapping


def integers(content: bytes, dtype: str) -> tuple[int, ...]:
    """Decode little-endian integers.

    Args:
        content: As stored.
        dtype: `int32` or `int64`.

    >>> integers(bytes([1, 0, 0, 0, 255, 255, 255, 255]), "int32")
    (1, -1)
    """
    code, size = ("i", 4) if dtype == "int32" else ("q", 8)
    return struct.unpack(f"<{len(content) // size}{code}", content)


def options_of(found: Mapping[str, object]) -> dict[str, int | float | str | tuple[int, ...]]:
    """Keep those options of an operator that are numbers, texts or lists of integers.

    >>> options_of({"strideH": 2, "axes": [1, 2], "body": object()})
    {'strideH': 2, 'axes': (1, 2)}
    """
    kept: dict[str, int | float | str | tuple[int, ...]] = {}
    for name, value in found.items():
        if isinstance(value, (bool, int, float, str)):
            kept[name] = value
        elif isinstance(value, bytes):
            kept[name] = value.decode("utf-8", "replace")
        elif isinstance(value, (list, tuple)) and all(isinstance(each, int) for each in value):
            kept[name] = tuple(value)
    return kept
