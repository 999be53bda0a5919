"""What single operators of a file take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class OperatorTime:
    """Raw times of one operator of a file, as its runtime tells them; all together are more than an inference takes.

    Attributes:
        layer: Its name in the graph as the runtime has optimized it.
        operator: Its type.
        samples: Seconds, one an inference.
    """

    model: str
    model_sha256: str
    target: str
    layer: str
    operator: str
    samples: tuple[float, ...]
