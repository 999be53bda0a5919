"""What a file takes of energy, by what its target told while it ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# A gauge that shows the same all the time was not read again: it may tell of before.
_FEWEST_READINGS = 2


def joules_of(told: Mapping[str, Any]) -> list[float]:
    """Energy of one inference in each part of the time, in J; none where the target told too little.

    Args:
        told: The runner's event `energy`, if there is one.

    >>> part = {"s": 0.5, "runs": 100, "j": 2.0}
    >>> joules_of({"source": "rapl", "parts": [part, {**part, "j": 3.0}, {**part, "j": None}]})
    [0.02, 0.03]
    """
    read = [each for each in told.get("parts", ()) if each["j"] is not None]
    if len({f"{each['j'] / each['s']:.6g}" for each in read}) < _FEWEST_READINGS:
        return []
    return [each["j"] / each["runs"] for each in read]


def watts_of(parts: Sequence[Mapping[str, Any]]) -> float | None:
    """Mean power over parts of time, in W.

    >>> watts_of([{"s": 0.5, "j": 2.0}, {"s": 1.5, "j": 2.0}, {"s": 1.0, "j": None}])
    2.0
    """
    read = [each for each in parts if each["j"] is not None]
    return sum(each["j"] for each in read) / sum(each["s"] for each in read) if read else None
