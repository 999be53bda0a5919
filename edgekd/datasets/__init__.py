"""Datasets: what a source gives, and how it is split so that the test split stays unseen."""

from __future__ import annotations

import functools
import hashlib
import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd import registry, store
from edgekd.datasets._arrays import measure, standardise, take_mapped
from edgekd.datasets._checks import STANDARDISATION as STANDARDISATION
from edgekd.datasets._checks import check_labels as check_labels
from edgekd.datasets._checks import check_like as check_like
from edgekd.datasets._checks import check_source as check_source
from edgekd.datasets._places import root_of
from edgekd.datasets._samples import Scaled as Scaled
from edgekd.datasets._samples import read_samples as read_samples
from edgekd.datasets._splits import UNLABELLED, choose_held_out
from edgekd.datasets._splits import hash_of_split as hash_of_split
from edgekd.datasets._texts import Texts
from edgekd.datasets._tokenizers import read_tokens as read_tokens
from edgekd.errors import ConfigError, DataError, did_you_mean
from edgekd.records import TOKEN_TASKS, DataSpec, Preprocessing, Task, Tokens, TransferSpec


@dataclass(frozen=True, kw_only=True)
class Split:
    """Samples and what is known of them.

    Attributes:
        inputs: (N, C, H, W), (N, C, T) or (N, F), raw values as stored; (N, T) integers where they are tokens; may be
            memory-mapped.
        labels: By task. `single_label`: (N,) int64, indices of classes, -1 where there is no label. `multi_label`:
            (N, classes) of 0 and 1. `regression`: (N, outputs) float32. `reconstruction`: (N,) int64, 0 for normal
            samples and 1 for anomalies; what is learned are the inputs. `next_token` and `masked_token`: (N,) int64,
            bytes of text behind the tokens that a sample predicts; what is learned are the inputs.
        groups: (N,) int64, what belongs together (a speaker, a patient); a split never parts a group.
        positions: (N,) int64, where each sample lies in its source; `None` for 0 to N - 1.
    """

    inputs: NDArray[np.generic]
    labels: NDArray[Any]
    groups: NDArray[np.int64] | None = None
    positions: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Split:
        """Choose samples by a mask or by their numbers; memory-mapped ones stay on disk."""
        positions = np.arange(len(self)) if self.positions is None else self.positions
        return Split(
            inputs=take_mapped(self.inputs, chosen) if isinstance(self.inputs, np.memmap) else self.inputs[chosen],
            labels=self.labels[chosen],
            groups=None if self.groups is None else self.groups[chosen],
            positions=positions[chosen],
        )


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a plug-in of this folder returns.

    Attributes:
        classes: Names of the classes; of the outputs where the task is regression; "normal" and "anomaly" where
            it is reconstruction; empty where tokens are predicted.
        scale: What raw values are multiplied by before they enter a network (1/255 for bytes).
        standardise: Axis of the inputs whose entries (channels, features) are each made mean 0 and deviation 1 over
            the training split, once it is drawn; floats only. `front_end` then tells both, and comes before `scale`.
        test: The source's own test split; without one, a share of `train` is held out.
        validation: The source's own validation split, drawn by the shares and the seed that it was told, where what it
            makes of samples (a tokenizer) is learned from the training split; without one, a share of `train`.
        front_end: How inputs were made of what was recorded (a spectrogram's parameters), for the firmware that
            must do the same.
        tokens: What the inputs' numbers mean, where they are tokens of texts.
        texts: Where inputs are (N, 1), numbers of texts: those. They become tokens once the training split is drawn,
            so that a tokenizer learns from no other.
    """

    train: Split
    classes: tuple[str, ...]
    scale: float
    test: Split | None = None
    validation: Split | None = None
    task: Task = "single_label"
    front_end: Mapping[str, Any] = field(default_factory=dict)
    standardise: int | None = None
    tokens: Tokens | None = None
    texts: Texts | None = None


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Training, validation and test samples, kept apart.

    >>> split = Split(inputs=np.zeros((4, 1, 2, 2), np.uint8), labels=np.array([0, 1, 0, 1]))
    >>> data = Dataset(classes=("no", "yes"), scale=1 / 255, train=split, validation=split, test=split)
    >>> data.input_shape, data.outputs, len(data)
    ((1, 2, 2), 2, 4)
    """

    classes: tuple[str, ...]
    scale: float
    train: Split
    validation: Split
    test: Split
    name: str = "data"
    task: Task = "single_label"
    front_end: Mapping[str, Any] = field(default_factory=dict)
    tokens: Tokens | None = None

    def __len__(self) -> int:
        return len(self.train)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample: (C, H, W), (C, T) or (F,)."""
        return tuple(self.train.inputs.shape[1:])

    @property
    def outputs(self) -> int:
        """How many numbers a network gives for one sample; for each position of one where tokens are predicted."""
        if self.task in TOKEN_TASKS and self.tokens is not None:
            return self.tokens.vocabulary
        return math.prod(self.input_shape) if self.task == "reconstruction" else len(self.classes)

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of every sample and label that training and choices depend on."""
        digest = hashlib.sha256(repr((self.classes, self.scale, self.task)).encode())
        if self.tokens is not None:
            digest.update(repr(self.tokens).encode())
        for split in (self.train, self.validation):
            digest.update(np.ascontiguousarray(split.inputs).data)
            digest.update(np.ascontiguousarray(split.labels).data)
        return digest.hexdigest()

    @property
    def preprocessing(self) -> Preprocessing:
        """What made the network's inputs of raw values."""
        if "standardised_axis" not in self.front_end:
            return Preprocessing(scale=self.scale)
        return Preprocessing(
            scale=self.scale,
            mean=tuple(self.front_end["mean"]),
            deviation=tuple(self.front_end["deviation"]),
            axis=self.front_end["standardised_axis"],
        )

    def samples(self, inputs: NDArray[np.generic], *, raw: bool = False) -> Scaled:
        """Give samples of a split a slice at a time: as a network takes them, or `raw`, before any preprocessing."""
        if not raw:
            return Scaled(inputs, self.scale)
        done, shape = self.preprocessing, [1] * inputs.ndim
        if not done.mean:
            return Scaled(inputs, 1.0)
        shape[done.axis] = -1
        return Scaled(inputs, np.reshape(done.deviation, shape), np.reshape(done.mean, shape))

    def ready(self, split: Split, count: int | None = None, seed: int = 0, *, raw: bool = False) -> NDArray[np.float32]:
        """Give samples as a network takes them.

        Args:
            split: One of this dataset's.
            count: So many, drawn by `seed` and kept in order; `None` for all.
            seed: Of the draw.
            raw: Before any preprocessing instead.

        Returns:
            (N, ...) float32.
        """
        inputs = split.inputs
        if count is not None and count < len(split):
            drawn = np.random.default_rng(seed).choice(len(split), count, replace=False)
            inputs = inputs[np.sort(drawn)]
        return self.samples(inputs, raw=raw)[:]


def open_dataset(spec: DataSpec) -> Dataset:
    """Load a dataset and split it.

    Where the task is reconstruction, normal samples alone are trained on; validation and test hold anomalies too.

    Raises:
        DataError: Missing, malformed, or a split would be empty.
        ConfigError: No such plug-in.
    """
    source = _load(spec.source, spec.options, spec)
    rest, test = source.train, source.test
    if test is None:  # a group must be left for validation, and one to train on
        rest, test = _part(source.train, source, spec.test, spec.seed, leave=1 + (spec.validation > 0))
    if source.validation is None:
        train, validation = _part(rest, source, spec.validation, spec.seed + 1)
    else:
        train, validation = rest, source.validation
    if source.task == "reconstruction":
        train = train.take(train.labels == 0)
    for name, split in (("training", train), ("validation", validation), ("test", test)):
        if not len(split):
            raise DataError(
                f"the {name} split is empty",
                where=f"data source '{spec.source}'",
                next_step="give more samples (or groups), or another share in data.validation or data.test",
            )
    tokens = source.tokens
    if source.texts is not None:
        tokens = source.texts.learn(train.inputs[:, 0].astype(np.int64))
        train, validation, test = _tokenise(source.texts, tokens, train, validation, test)
    front_end = dict(source.front_end)
    if source.standardise is not None:
        mean, deviation = measure(train.inputs, source.standardise)
        front_end |= {"standardised_axis": source.standardise, "mean": mean, "deviation": deviation}
        train, validation, test = (_standardise(split, front_end) for split in (train, validation, test))
    return Dataset(
        classes=source.classes,
        scale=source.scale,
        train=train,
        validation=validation,
        test=test,
        name=spec.source,
        task=source.task,
        front_end=front_end,
        tokens=tokens,
    )


def transfer_split(spec: TransferSpec, data: Dataset) -> Split:
    """Find what the student learns from in place of the training split.

    Args:
        spec: Other data, or a part of the training split.
        data: Its inputs have the shape, type and scale that other data must have.

    Returns:
        Samples; -1 for labels that are missing, not to be used, or of classes that `data` does not have.

    Raises:
        DataError: Other shapes, nothing left, or a task that has no classes.
        ConfigError: Unknown classes.

    >>> split = Split(inputs=np.zeros((4, 2), np.uint8), labels=np.array([0, 1, 0, 1]))
    >>> data = Dataset(classes=("no", "yes"), scale=1.0, train=split, validation=split, test=split)
    >>> transfer_split(TransferSpec(drop_classes=("no",)), data).labels.tolist()
    [1, 1]
    """
    where = "transfer"
    if data.task != "single_label" and (spec.keep_classes or spec.drop_classes or spec.labelled):
        raise DataError(
            f"the task is {data.task}", where=where, allowed="labelled = false, without keep_classes and drop_classes"
        )
    if spec.source is None:
        split, classes = data.train, data.classes
    else:
        source = _load(spec.source, spec.options, DataSpec(source=spec.source, validation=0, test=0), data.tokens)
        if source.texts is not None and data.tokens is not None:
            (train,) = _tokenise(source.texts, data.tokens, source.train)
            source = replace(source, train=train, tokens=data.tokens)
        split, classes = source.train, source.classes
        check_like(source, data, where)
        split = _standardise(split, data.front_end)
    for key in ("keep_classes", "drop_classes"):
        for name in getattr(spec, key):
            if name not in classes:
                raise ConfigError(
                    f"no class '{name}'",
                    where=f"{where}.{key}",
                    allowed=", ".join(classes),
                    next_step=did_you_mean(name, classes),
                )
    if spec.keep_classes or spec.drop_classes:
        names = np.array([*classes, ""])[split.labels]
        kept = np.isin(names, spec.keep_classes) if spec.keep_classes else np.ones(len(split), bool)
        split = split.take(kept & ~np.isin(names, spec.drop_classes))
    if not len(split):
        raise DataError("no samples are left", where=where, next_step="keep more classes")
    if data.task == "single_label":
        # Of other data, only classes that the data has too can be told to the student.
        here = np.array([*(data.classes.index(name) if name in data.classes else UNLABELLED for name in classes), -1])
        labels = here[split.labels] if spec.labelled else np.full(len(split), UNLABELLED)
        split = replace(split, labels=labels.astype(np.int64))
    return split


def fingerprint_of(spec: DataSpec) -> str:
    """Hash the bytes behind a dataset, without loading it where the plug-in names its files.

    What is in the files counts, and what they are called below a folder that was given (its folders may be classes),
    not where they lie.
    """
    plug_in = registry.describe("datasets", spec.source)
    places = [
        option.name for option in plug_in.parameters if "Path" in option.annotation and option.name in spec.options
    ]
    options = {key: value for key, value in spec.options.items() if key not in places}
    spec_alone = replace(spec, options=options)
    files = None if ":" in spec.source else getattr(registry.load("datasets", spec.source), "files", None)
    if files is None:
        data = open_dataset(spec)
        test = hashlib.sha256(np.ascontiguousarray(data.test.inputs).data)
        test.update(np.ascontiguousarray(data.test.labels).data)
        return store.fingerprint(spec_alone, data.sha256, test.hexdigest())
    roots = [root for key in places if spec.options[key] and (root := root_of(spec.options[key]))]
    paths: list[Path] = files(**spec.options)
    names = [next((str(path.relative_to(root)) for root in roots if root in path.parents), "") for path in paths]
    return store.fingerprint(spec_alone, names, [store.sha256_of(path) for path in paths])


def _load(name: str, options: Mapping[str, Any], spec: DataSpec, tokens: Tokens | None = None) -> Source:
    where = f"data source '{name}'"
    told = {"validation": spec.validation, "test": spec.test, "seed": spec.seed, "tokens": tokens}
    load = registry.function("datasets", name)
    takes = inspect.signature(load).parameters.keys() & registry.PASSED["datasets"]
    try:
        source: Source = load(**{key: told[key] for key in takes}, **options)
    except OSError as error:
        raise DataError(f"can't read it: {error.strerror or error}", where=where) from None
    if not isinstance(source, Source):
        raise DataError(f"gives a {type(source).__name__}", where=where, allowed="an edgekd.datasets.Source")
    check_source(source, where)
    return source


def _part(split: Split, source: Source, share: float, seed: int, *, leave: int = 1) -> tuple[Split, Split]:
    """Hold out a share, drawn by `seed`; both parts keep the order of the source."""
    by_class = source.task in ("single_label", "reconstruction")
    held = choose_held_out(split.labels, split.groups, share, seed, by_class=by_class, leave=leave)
    return split.take(~held), split.take(held)


def _tokenise(texts: Texts, tokens: Tokens, *splits: Split) -> tuple[Split, ...]:
    encoded = texts.encode([split.inputs[:, 0].astype(np.int64) for split in splits], tokens)
    return tuple(replace(split, inputs=inputs) for split, inputs in zip(splits, encoded, strict=True))


def _standardise(split: Split, front_end: Mapping[str, Any]) -> Split:
    if "standardised_axis" not in front_end:
        return split
    axis, mean, deviation = (front_end[key] for key in ("standardised_axis", "mean", "deviation"))
    return replace(split, inputs=standardise(split.inputs, axis, mean, deviation))
