"""What is done to arrays that memory may not hold twice: choosing samples, standardising them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHUNK = 4096  # samples at a time


def measure(inputs: NDArray[np.generic], axis: int) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each entry of an axis, in float64; 1 for the deviation of what never changes.

    >>> measure(np.array([[1.0, 5.0], [3.0, 5.0]]), 1)
    ([2.0, 5.0], [1.0, 1.0])
    """
    others = tuple(each for each in range(inputs.ndim) if each != axis)
    mean = inputs.mean(axis=others, dtype=np.float64)
    deviation = inputs.std(axis=others, dtype=np.float64)
    # Below this it is the rounding of the float32 values and of their mean.
    deviation[deviation <= 1e-6 * np.abs(mean)] = 1.0
    return mean.tolist(), deviation.tolist()


def standardise(
    inputs: NDArray[np.generic], axis: int, mean: Sequence[float], deviation: Sequence[float]
) -> NDArray[np.generic]:
    """Give (inputs - mean) / deviation along an axis, computed in float64 and stored as the inputs are.

    >>> standardise(np.array([[1.0, 5.0], [3.0, 5.0]]), 1, [2.0, 5.0], [1.0, 1.0]).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    shape = [1] * inputs.ndim
    shape[axis] = -1
    lower, width = np.reshape(mean, shape), np.reshape(deviation, shape)
    outcome = np.empty_like(inputs, subok=False)
    for start in range(0, len(inputs), _CHUNK):
        part: NDArray[Any] = inputs[start : start + _CHUNK]
        outcome[start : start + _CHUNK] = (part - lower) / width
    return outcome


def take_mapped(inputs: np.memmap[Any, Any], chosen: NDArray[np.bool_] | NDArray[np.int64]) -> NDArray[np.generic]:
    """Copy chosen samples from one file to another that goes away with the array, never all through memory.

    Args:
        inputs: (N, ...), memory-mapped.
        chosen: (N,) mask, or numbers of samples.

    Returns:
        The chosen samples, memory-mapped.
    """
    numbers = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen
    if not len(numbers):
        return np.empty((0, *inputs.shape[1:]), inputs.dtype)
    # Beside the data, because temporary folders are often memory; without a name, so that no crash leaves it behind.
    folder = Path(inputs.filename).parent if inputs.filename else None
    writable = folder if folder and os.access(folder, os.W_OK) else None
    with tempfile.TemporaryFile(dir=writable) as file:
        taken: NDArray[np.generic] = np.memmap(
            file, dtype=inputs.dtype, mode="w+", shape=(len(numbers), *inputs.shape[1:])
        )
        for start in range(0, len(numbers), _CHUNK):
            taken[start : start + _CHUNK] = inputs[numbers[start : start + _CHUNK]]
        return taken
