"""Arrays of the user's own in one .npz file: x_train, y_train and, if there is one, x_test, y_test."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgekd.datasets import Source, Split
from edgekd.errors import DataError, did_you_mean

# What NumPy and zipfile raise on damaged or hostile files.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    ValueError,
    EOFError,
    OSError,
    RuntimeError,  # encrypted, or compressed in an unknown way
    TypeError,
    LookupError,
    SyntaxError,
    OverflowError,
    MemoryError,
)


def load(
    *,
    path: Path,
    inputs: str = "x",
    labels: str = "y",
    classes: tuple[str, ...] | None = None,
    channels: Literal["first", "last"] = "last",
    scale: float | None = None,
) -> Source:
    """Load arrays; images without a channel axis get one.

    Args:
        path: The file; a relative one is also looked for in the folders of `EDGEKD_DATA`.
        inputs: Key prefix of the samples: `x` reads `x_train` and `x_test` (or `x` alone).
        labels: Key prefix of the labels.
        classes: Their names; numbers by default.
        channels: Where the channel axis of 4-D images is.
        scale: What values are multiplied by; 1/255 for bytes and 1 for floats by default.

    Raises:
        DataError: Missing, not an .npz, or without these keys.
    """
    found = files(path=path)[0]
    try:
        with found.open("rb") as file:  # given a path, np.load leaves damaged files open
            if not zipfile.is_zipfile(file):  # np.load would take other files for arrays or pickles
                raise DataError("not an .npz file", where=str(found), next_step="make one with numpy.savez")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                suffix = "_train" if f"{inputs}_train" in archive else ""
                train = _take_pair(archive, f"{inputs}{suffix}", f"{labels}{suffix}", found)
                has_test = f"{inputs}_test" in archive
                test = _take_pair(archive, f"{inputs}_test", f"{labels}_test", found) if has_test else None
    except _UNREADABLE as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"not a readable .npz file ({reason})", where=str(found)) from None
    labelled = _split(*train, channels, found)
    count = int(labelled.labels.max(initial=0)) + 1
    if count > max(len(labelled), 1) and not classes:
        raise DataError(
            f"labels up to {count - 1} for {len(labelled)} samples",
            where=str(found),
            allowed="indices of classes, from 0",
            next_step="number the classes from 0, or name them with data.classes",
        )
    return Source(
        train=labelled,
        test=_split(*test, channels, found) if test else None,
        classes=tuple(classes) if classes else tuple(str(number) for number in range(count)),
        scale=scale if scale is not None else (1 / 255 if labelled.inputs.dtype == np.uint8 else 1.0),
    )


def files(*, path: Path, **_: object) -> list[Path]:
    """The file, looked for as given and then in the folders of `EDGEKD_DATA`."""
    places = [Path(), *(Path(place) for place in os.environ.get("EDGEKD_DATA", "").split(os.pathsep) if place)]
    for place in places:
        for candidate in (place / path, place / Path(path).stem / Path(path).name):
            if candidate.is_file():
                return [candidate]
    raise DataError(
        f"no file '{path}'",
        where="data.path",
        next_step="give its place with --set data.path=..., or put its folder into the variable EDGEKD_DATA",
    )


def _take_pair(
    archive: np.lib.npyio.NpzFile, inputs: str, labels: str, file: Path
) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    return _take(archive, inputs, file), _take(archive, labels, file)


def _take(archive: np.lib.npyio.NpzFile, key: str, file: Path) -> NDArray[np.generic]:
    if key not in archive:
        raise DataError(
            f"no array '{key}'",
            where=str(file),
            allowed=", ".join(name if name.isprintable() else repr(name) for name in archive) or "none: it is empty",
            next_step=did_you_mean(key, archive) or "name the arrays with data.inputs and data.labels",
        )
    array: NDArray[np.generic] | bytes = archive[key]
    if isinstance(array, bytes):  # what NumPy gives for a member that is no array
        raise DataError(f"'{key}' is no array", where=str(file))
    # Files from other machines may hold the other byte order, which torch does not take.
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _split(inputs: NDArray[np.generic], labels: NDArray[np.generic], channels: str, file: Path) -> Split:
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(
            f"labels of shape {labels.shape} and type {labels.dtype}", where=str(file), allowed="(N,) of integers"
        )
    if inputs.ndim == 3:
        inputs = inputs[:, None]
    elif inputs.ndim == 4 and channels == "last":
        inputs = np.ascontiguousarray(inputs.transpose(0, 3, 1, 2))
    return Split(inputs=inputs, labels=labels.astype(np.int64))
