"""Samples for calibration: as a network takes them, and read from files of the user's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekd.datasets._archive import Archive
from edgekd.errors import DataError

_NUMBERS = "biuf"  # numpy's kinds: bool, int, unsigned int, float


class Scaled:
    """Samples as a network takes them, computed as they are read: no copy of them all is held.

    Args:
        inputs: (N, ...), values as stored; may be memory-mapped.
        scale: What they are multiplied by; an array is broadcast.
        offset: What is added then.

    >>> Scaled(np.full((4, 2), 255, np.uint8), 1 / 255)[1:2].tolist()
    [[1.0, 1.0]]
    """

    def __init__(
        self,
        inputs: NDArray[np.generic],
        scale: float | NDArray[np.float64],
        offset: float | NDArray[np.float64] = 0.0,
    ) -> None:
        self._inputs, self._scale, self._offset = inputs, np.float32(scale), np.float32(offset)
        self.shape = tuple(inputs.shape)

    def __len__(self) -> int:
        return len(self._inputs)

    def __getitem__(self, chosen: slice, /) -> NDArray[np.float32]:
        scaled: NDArray[np.float32] = np.multiply(self._inputs[chosen], self._scale, dtype=np.float32)
        if np.any(self._offset):
            scaled += self._offset
        return scaled


def read_samples(path: Path, array: str | None = None) -> NDArray[np.float32]:
    """Read one array of samples, as they are, for a model file.

    Args:
        path: An .npy, or an .npz.
        array: Which one of the .npz; `None` takes its only one, else `x` or `x_train`.

    Returns:
        (N, ...) float32.

    Raises:
        DataError: Missing, damaged, not of numbers, or it can't be told which array is meant.
    """
    if path.suffix == ".npy":
        try:
            values = np.load(path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            raise DataError("no such file", where=str(path)) from None
        except (ValueError, OSError) as error:
            raise DataError(f"not an array: {error}", where=str(path)) from None
    else:
        with Archive(path, "name the array with --array") as archive:
            names = archive.names()
            wanted = (
                [array] if array else names if len(names) == 1 else [each for each in ("x", "x_train") if each in names]
            )
            if not wanted:
                raise DataError(
                    f"{len(names)} arrays", where=str(path), next_step=f"choose with --array: {', '.join(names)}"
                )
            values = archive.take(wanted[0])
    if values.dtype.kind not in _NUMBERS or not values.ndim:
        raise DataError(f"an array of {values.dtype}", where=str(path), allowed="numbers of shape (N, ...)")
    return np.asarray(values, np.float32)
