"""Arrays of the user's own in one .npz file: x_train, y_train and, if there is one, x_test, y_test."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgekd.datasets import Source, Split
from edgekd.errors import DataError, did_you_mean


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
        with np.load(found, allow_pickle=False) as archive:
            keys = list(archive)
            train_key = f"{inputs}_train" if f"{inputs}_train" in keys else inputs
            suffix = "_train" if train_key.endswith("_train") else ""
            train = (_take(archive, train_key, found), _take(archive, f"{labels}{suffix}", found))
            has_test = f"{inputs}_test" in keys
            test = (
                (_take(archive, f"{inputs}_test", found), _take(archive, f"{labels}_test", found)) if has_test else None
            )
    except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
        raise DataError(f"not a readable .npz file ({error})", where=str(found)) from None
    labelled = _split(*train, channels, found)
    count = int(labelled.labels.max(initial=0)) + 1
    return Source(
        train=labelled,
        test=_split(*test, channels, found) if test else None,
        classes=classes or tuple(str(number) for number in range(count)),
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


def _take(archive: np.lib.npyio.NpzFile, key: str, file: Path) -> NDArray[np.generic]:
    if key not in archive:
        raise DataError(
            f"no array '{key}'",
            where=str(file),
            allowed=", ".join(archive),
            next_step=did_you_mean(key, archive) or "name the arrays with data.inputs and data.labels",
        )
    array: NDArray[np.generic] = archive[key]
    return array


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
