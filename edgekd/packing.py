"""Many numbers in JSON: the bytes that they are, in base64. To read them as text would take most of a gate's time."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgekd.errors import StoreError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Fewer can be read by people, and cost nothing.
MANY = 256
_TYPES = {"floats": "<f8", "bytes": "u1"}


def pack(numbers: Sequence[float]) -> object:
    """Give numbers as JSON takes them: a list of a few; of many `floats` or, where all are 0 to 255, `bytes`.

    `floats` are float64, little-endian; `bytes` are one for each number, of right and wrong or of classes.

    Raises:
        ValueError: One is not finite.

    >>> pack([0.5, 0.25]), pack([1.0, 0.0] * 150)["bytes"][:8]
    ([0.5, 0.25], 'AQABAAEA')
    """
    if len(numbers) <= MANY:
        return list(numbers)
    import numpy as np  # of few commands

    values = np.asarray(numbers, dtype="<f8")
    if not np.isfinite(values).all():
        raise ValueError("Out of range float values are not JSON compliant")  # as `json` says it of a few
    if (values >= 0).all() and (values <= 255).all():
        small = values.astype(np.uint8)
        if small.astype("<f8").tobytes() == values.tobytes():  # not of fractions, nor of -0.0
            return {"bytes": base64.b64encode(small.tobytes()).decode()}
    return {"floats": base64.b64encode(values.tobytes()).decode()}


def unpack(packed: dict[str, Any]) -> NDArray[np.generic]:
    """Read what `pack` made of many numbers.

    Returns:
        Shape (n,), float64 or uint8; read-only.

    Raises:
        StoreError: It is not.

    >>> unpack(pack([0.25] * 300))[-1], unpack(pack([1.0] * 300)).dtype
    (np.float64(0.25), dtype('uint8'))
    """
    import numpy as np  # of few commands

    ((kind, text),) = packed.items() if len(packed) == 1 else (("", ""),)
    if kind not in _TYPES or not isinstance(text, str):
        raise StoreError("numbers that can't be unpacked", allowed=" or ".join(f"'{each}'" for each in _TYPES))
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), _TYPES[kind])
    except (binascii.Error, ValueError):
        raise StoreError(f"'{kind}' that can't be unpacked") from None
