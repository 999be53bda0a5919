"""Whether calibration samples are worth calibrating with: noise, constants or another range spoil every int8 file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import DataError
from edgekd.stages.export.calibrating import SampleSource, batches_of

_log = logging.getLogger("edgekd")
# How much of the range of validation samples those for calibration may miss or exceed.
_SPAN = 0.5
# Roughness of white noise is 1. Photographs, spectrograms and recordings have 0.01 to 0.4.
_ROUGH, _SMOOTH = 0.85, 0.6
_NEXT_STEP = "calibrate with samples of the training split"


@dataclass(frozen=True, kw_only=True)
class Portrait:
    """What samples look like.

    Attributes:
        low: Smallest number.
        high: Largest number.
        roughness: E[(x[i+1] - x[i])^2] / (2 Var[x]) along the last dimension: 1 - r, with the lag-1 autocorrelation r
            (von Neumann 1941), so near 1 for white noise and near 0 for what changes slowly.
    """

    low: float
    high: float
    roughness: float


def portray(samples: SampleSource) -> Portrait:
    """Look at samples a batch at a time.

    Raises:
        DataError: Numbers that are not finite.

    >>> round(portray(np.sin(np.arange(1000, dtype="f") / 10).reshape(10, 100)).roughness, 3)
    0.005
    """
    low, high = np.inf, -np.inf
    total = squares = steps = 0.0
    count = pairs = 0
    for batch in batches_of(samples):
        if not np.isfinite(batch).all():
            raise DataError("calibration samples hold numbers that are not finite", where="export")
        values = batch.astype(np.float64)
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        total, squares, count = total + values.sum(), squares + (values**2).sum(), count + values.size
        steps += (np.diff(values, axis=-1) ** 2).sum()
        pairs += values.size - values.size // values.shape[-1]
    variance = squares / count - (total / count) ** 2
    rough = float(steps / pairs / (2 * variance)) if pairs and variance > 0 else 0.0
    return Portrait(low=low, high=high, roughness=rough)


def audit(calibration: Portrait, check: Portrait, *, tokens: bool = False) -> None:
    """Refuse calibration samples that are nothing like those of validation.

    Args:
        calibration: What those for calibration look like.
        check: What those of validation look like.
        tokens: Whether their numbers are names of words: how near these are to each other says nothing.

    Raises:
        DataError: Constant; or, of what is no text, of another range, or noise.

    >>> audit(Portrait(low=0, high=255, roughness=0.1), Portrait(low=0, high=1, roughness=0.1))
    Traceback (most recent call last):
        ...
    edgekd.errors.DataError: export: calibration samples go from 0 to 255, those of validation from 0 to 1; ...
    """
    if calibration.low == calibration.high:
        raise DataError(
            f"all calibration samples are {calibration.low:g} everywhere", where="export", next_step=_NEXT_STEP
        )
    if tokens:
        return
    span = check.high - check.low
    ends = (calibration.low - check.low, calibration.high - check.high)
    if span > 0 and max(abs(end) for end in ends) > _SPAN * span:
        raise DataError(
            f"calibration samples go from {calibration.low:g} to {calibration.high:g}, "
            f"those of validation from {check.low:g} to {check.high:g}",
            where="export",
            next_step="scale them as the network takes them",
        )
    if calibration.roughness > _ROUGH and check.roughness < _SMOOTH:
        raise DataError(
            f"calibration samples are noise: neighbouring numbers correlate by {1 - calibration.roughness:.2f}, "
            f"those of validation samples by {1 - check.roughness:.2f}",
            where="export",
            next_step=_NEXT_STEP,
        )


def warn_of_noise(samples: Portrait) -> None:
    """Say that images look like noise, where there are no others to compare them with."""
    if samples.roughness > _ROUGH:
        _log.warning(
            "export: neighbouring numbers of the samples correlate by %.2f, as in noise: calibrate with real data",
            1 - samples.roughness,
        )


def warn_of_missing_classes(labels: NDArray[np.int64], classes: Sequence[str]) -> tuple[str, ...]:
    """Name the classes that no calibration sample is of, and say so in the log.

    >>> warn_of_missing_classes(np.array([0, 2]), ("cat", "dog", "frog"))
    ('dog',)
    """
    missing = tuple(name for index, name in enumerate(classes) if index not in set(labels.tolist()))
    if missing:
        some = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
        _log.warning(
            "export: no calibration sample is of %d of %d classes (%s): give export.calibration more samples",
            len(missing),
            len(classes),
            some,
        )
    return missing
