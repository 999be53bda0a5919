"""The interval that all of this folder gives, and what samples must be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekd.errors import MeasurementError

Samples = Sequence[float] | npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate and the confidence interval around it; low <= estimate <= high."""

    estimate: float
    low: float
    high: float


def check_share(what: str, value: float) -> None:
    if not 0 < value < 1:
        raise MeasurementError(f"{what} is {value}", allowed="between 0 and 1")


def finite(samples: Samples) -> npt.NDArray[np.float64]:
    values = np.asarray(samples, dtype=np.float64)
    if values.ndim != 1 or not values.size:
        raise MeasurementError("no samples" if not values.size else f"samples of shape {values.shape}")
    if not np.isfinite(values).all():
        raise MeasurementError(f"{np.count_nonzero(~np.isfinite(values))} of {values.size} samples are not finite")
    return values
