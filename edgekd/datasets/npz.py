"""Arrays of the user's own in one .npz file: x_train, y_train and, if there is one, x_test, y_test."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgekd.datasets import Source, Split
from edgekd.datasets._archive import Archive
from edgekd.datasets._labels import NORMAL_AND_ANOMALY, number_groups
from edgekd.datasets._places import find
from edgekd.datasets._splits import UNLABELLED
from edgekd.errors import DataError


def load(
    *,
    path: Path,
    inputs: str = "x",
    labels: str = "y",
    groups: str | None = None,
    task: Literal["single_label", "multi_label", "regression", "reconstruction"] = "single_label",
    classes: tuple[str, ...] | None = None,
    channels: Literal["first", "last"] = "last",
    scale: float | None = None,
) -> Source:
    """Load arrays; images without a channel axis get one.

    Args:
        path: The file; a relative one is also looked for in the folders of `EDGEKD_DATA`.
        inputs: Key prefix of the samples: `x` reads `x_train` and `x_test` (or `x` alone).
        labels: Key prefix of the labels; `none` where there are none to read. By task: (N,) of integers, -1 where
            one is missing; (N, classes) of 0 and 1; (N, outputs) or (N,) of floats; (N,), 0 normal and 1 anomaly.
        groups: Key prefix of what belongs together (speakers, patients), numbers or text; no split parts a group.
        task: What is learned.
        classes: Their names, or those of the outputs; numbers by default.
        channels: Where the channel axis of 4-D images is.
        scale: What values are multiplied by; 1/255 for bytes and 1 for floats by default.

    Raises:
        DataError: Missing, not an .npz, or without these keys.
    """
    found = find(path)
    if labels == "none" and task in ("multi_label", "regression"):
        raise DataError(f"{task} without labels", where="data.labels", allowed="the key of an array")
    with Archive(
        found, 'name the arrays with data.inputs and data.labels; labels = "none" where there are none'
    ) as archive:
        suffix = "_train" if f"{inputs}_train" in archive else ""
        train = _read(archive, inputs, labels, groups, suffix, task, channels)
        has_test = bool(suffix) and f"{inputs}_test" in archive
        test = _read(archive, inputs, labels, None, "_test", task, channels) if has_test else None
    return Source(
        train=train,
        test=test,
        classes=NORMAL_AND_ANOMALY if task == "reconstruction" else tuple(classes or _count(train, task, found)),
        scale=scale if scale is not None else (1 / 255 if train.inputs.dtype == np.uint8 else 1.0),
        task=task,
    )


def files(*, path: Path, **_: object) -> list[Path]:
    """The file, looked for as given and then in the folders of `EDGEKD_DATA`."""
    return [find(path)]


def _read(
    archive: Archive, inputs: str, labels: str, groups: str | None, suffix: str, task: str, channels: str
) -> Split:
    samples = archive.take(f"{inputs}{suffix}")
    if labels == "none":
        known = np.full(samples.shape[:1], 0 if task == "reconstruction" else UNLABELLED)
    else:
        known = archive.take(f"{labels}{suffix}")
    together = None if groups is None else archive.take(f"{groups}{suffix}")
    if together is not None and together.shape != known.shape[:1]:
        raise DataError(
            f"'{groups}{suffix}' of shape {together.shape}", where=str(archive.path), allowed=f"({len(known)},)"
        )
    if samples.ndim == 3:
        samples = samples[:, None]
    elif samples.ndim == 4 and channels == "last":
        samples = np.ascontiguousarray(samples.transpose(0, 3, 1, 2))
    return Split(
        inputs=samples,
        labels=_as_labels(known, task, archive.path),
        groups=None if together is None else number_groups(together),
    )


def _as_labels(labels: NDArray[np.generic], task: str, file: Path) -> NDArray[np.generic]:
    kinds, axes, allowed = {
        "single_label": ("iu", 1, "(N,) of integers"),
        "multi_label": ("iub", 2, "(N, classes) of integers"),
        "regression": ("f", 2, "(N, outputs) of floats"),
        "reconstruction": ("iub", 1, "(N,) of integers"),
    }[task]
    if task == "regression" and labels.ndim == 1:
        labels = labels[:, None]
    if labels.ndim != axes or labels.dtype.kind not in kinds:
        raise DataError(f"labels of shape {labels.shape} and type {labels.dtype}", where=str(file), allowed=allowed)
    return labels.astype(np.float32 if task == "regression" else np.int64)


def _count(split: Split, task: str, file: Path) -> list[str]:
    """Numbers for the names that were not given."""
    wide = task != "single_label"
    count = split.labels.shape[1] if wide else int(split.labels.max(initial=0)) + 1
    if not wide and count > max(len(split), 1):
        raise DataError(
            f"labels up to {count - 1} for {len(split)} samples",
            where=str(file),
            allowed="indices of classes, from 0",
            next_step="number the classes from 0, or name them with data.classes",
        )
    return [str(number) for number in range(count)]
