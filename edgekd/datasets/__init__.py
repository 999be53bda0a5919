"""Datasets: what a source gives, and how it is split so that the test split stays unseen."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekd import registry, store
from edgekd.errors import DataError
from edgekd.records import DataSpec

_NUMBERS = "biuf"  # numpy's kinds: bool, int, unsigned int, float


@dataclass(frozen=True, kw_only=True)
class Split:
    """Samples and their labels.

    Attributes:
        inputs: (N, C, H, W) or (N, F), raw values as stored.
        labels: (N,) int64, indices of classes.
    """

    inputs: NDArray[np.generic]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a plug-in of this folder returns.

    Attributes:
        scale: What raw values are multiplied by before they enter a network (1/255 for bytes).
        test: The source's own test split; without one, a share of `train` is held out.
    """

    train: Split
    classes: tuple[str, ...]
    scale: float
    test: Split | None = None


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Training, validation and test samples, kept apart.

    >>> split = Split(inputs=np.zeros((4, 1, 2, 2), np.uint8), labels=np.array([0, 1, 0, 1]))
    >>> data = Dataset(classes=("no", "yes"), scale=1 / 255, train=split, validation=split, test=split)
    >>> data.input_shape, len(data)
    ((1, 2, 2), 4)
    """

    classes: tuple[str, ...]
    scale: float
    train: Split
    validation: Split
    test: Split
    name: str = "data"

    def __len__(self) -> int:
        return len(self.train)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample: (C, H, W) or (F,)."""
        return tuple(self.train.inputs.shape[1:])

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of every sample and label that training and choices depend on."""
        digest = hashlib.sha256(repr((self.classes, self.scale)).encode())
        for split in (self.train, self.validation):
            digest.update(np.ascontiguousarray(split.inputs).data)
            digest.update(np.ascontiguousarray(split.labels).data)
        return digest.hexdigest()

    def ready(self, split: Split, count: int | None = None, seed: int = 0) -> NDArray[np.float32]:
        """Give samples as a network takes them.

        Args:
            split: One of this dataset's.
            count: So many, drawn by `seed` and kept in order; `None` for all.
            seed: Of the draw.

        Returns:
            (N, ...) float32, raw values times `scale`.
        """
        inputs = split.inputs
        if count is not None and count < len(split):
            drawn = np.random.default_rng(seed).choice(len(split), count, replace=False)
            inputs = inputs[np.sort(drawn)]
        scaled: NDArray[np.float32] = np.multiply(inputs, self.scale, dtype=np.float32)
        return scaled


def open_dataset(spec: DataSpec) -> Dataset:
    """Load a dataset and split it.

    Raises:
        DataError: Missing, malformed, or a split would be empty.
        ConfigError: No such plug-in.
    """
    try:
        source: Source = registry.function("datasets", spec.source)(**spec.options)
    except OSError as error:
        raise DataError(f"can't read it: {error.strerror or error}", where=f"data source '{spec.source}'") from None
    _check_source(source, spec.source)
    rest, test = _hold_out(source.train, spec.test, spec.seed) if source.test is None else (source.train, source.test)
    train, validation = _hold_out(rest, spec.validation, spec.seed + 1)
    for name, split in (("training", train), ("validation", validation), ("test", test)):
        if not len(split):
            raise DataError(
                f"the {name} split is empty",
                where=f"data source '{spec.source}'",
                next_step="give more samples, or another share in data.validation or data.test",
            )
    return Dataset(
        classes=source.classes, scale=source.scale, train=train, validation=validation, test=test, name=spec.source
    )


def fingerprint_of(spec: DataSpec) -> str:
    """Hash the bytes behind a dataset, without loading it where the plug-in names its files."""
    files = None if ":" in spec.source else getattr(registry.load("datasets", spec.source), "files", None)
    if files is None:
        data = open_dataset(spec)
        test = hashlib.sha256(np.ascontiguousarray(data.test.inputs).data)
        test.update(np.ascontiguousarray(data.test.labels).data)
        return store.fingerprint(spec, data.sha256, test.hexdigest())
    paths: list[Path] = files(**spec.options)
    # What is in the files counts, not where they lie.
    names = {path.name for path in paths}
    options = {key: value for key, value in spec.options.items() if Path(str(value)).name not in names}
    return store.fingerprint(replace(spec, options=options), [store.sha256_of(path) for path in paths])


def _check_source(source: Source, name: str) -> None:
    where = f"data source '{name}'"
    if not isinstance(source, Source):  # the user's own function may return anything
        raise DataError(f"gives a {type(source).__name__}", where=where, allowed="an edgekd.datasets.Source")
    _check_split(source.train, len(source.classes), where)
    if source.test is None:
        return
    _check_split(source.test, len(source.classes), where)
    if source.test.inputs.shape[1:] != source.train.inputs.shape[1:]:
        raise DataError("training and test samples differ in shape", where=where)
    if source.test.inputs.dtype != source.train.inputs.dtype:  # one scale would not fit both
        raise DataError("training and test samples differ in type", where=where)


def _check_split(split: Split, classes: int, where: str) -> None:
    if split.inputs.ndim not in (2, 4):
        raise DataError(f"inputs of shape {split.inputs.shape}", where=where, allowed="(N, C, H, W) or (N, features)")
    if split.inputs.dtype.kind not in _NUMBERS or not split.inputs.dtype.isnative:
        raise DataError(f"inputs of type {split.inputs.dtype}", where=where, allowed="numbers in native byte order")
    if len(split.inputs) != len(split.labels):
        raise DataError(f"{len(split.inputs)} inputs but {len(split.labels)} labels", where=where)
    if split.inputs.dtype.kind == "f" and not np.isfinite(split.inputs).all():
        raise DataError("inputs hold NaN or infinity", where=where)
    if len(split) and not 0 <= split.labels.min() <= split.labels.max() < classes:
        raise DataError(
            f"labels from {split.labels.min()} to {split.labels.max()} for {classes} classes",
            where=where,
        )


def _hold_out(split: Split, share: float, seed: int) -> tuple[Split, Split]:
    """Hold out a share of every class, drawn by `seed`; both parts keep the order of the source."""
    order = np.random.default_rng(seed).permutation(len(split))
    held = np.zeros(len(split), bool)
    for label in np.unique(split.labels):
        members = order[split.labels[order] == label]
        held[members[: round(share * len(members))]] = True
    return (
        Split(inputs=split.inputs[~held], labels=split.labels[~held]),
        Split(inputs=split.inputs[held], labels=split.labels[held]),
    )
