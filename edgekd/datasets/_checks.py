"""Checks of what a source gives, which may be the user's own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgekd.datasets._splits import UNLABELLED
from edgekd.errors import DataError
from edgekd.records import TOKEN_TASKS, Task, Tokens

if TYPE_CHECKING:
    from edgekd.datasets import Dataset, Source, Split

# What the front end of standardised data says of it.
STANDARDISATION = ("standardised_axis", "mean", "deviation")
_NUMBERS = "biuf"  # numpy's kinds: bool, int, unsigned int, float


def check_source(source: Source, where: str) -> None:
    """Check the splits of a source.

    Raises:
        DataError: Its splits can't be meant.
    """
    _check_split(source.train, source, where)
    for name, split in (("validation", source.validation), ("test", source.test)):
        if split is None:
            continue
        _check_split(split, source, where)
        if split.inputs.shape[1:] != source.train.inputs.shape[1:]:
            raise DataError(f"training and {name} samples differ in shape", where=where)
        if split.inputs.dtype != source.train.inputs.dtype:  # one scale would not fit both
            raise DataError(f"training and {name} samples differ in type", where=where)


def check_like(source: Source, data: Dataset, where: str) -> None:
    """Check that other data can be used in the place of a dataset's own.

    Raises:
        DataError: Its samples differ in shape, type, scale, or in how they were made.
    """
    if (
        source.train.inputs.shape[1:] != data.train.inputs.shape[1:]
        or source.train.inputs.dtype != data.train.inputs.dtype
    ):
        raise DataError(
            f"samples of shape {source.train.inputs.shape[1:]} and type {source.train.inputs.dtype}",
            where=where,
            allowed=f"those of the data: {data.input_shape}, {data.train.inputs.dtype}",
        )
    if not math.isclose(source.scale, data.scale):
        raise DataError(f"its scale is {source.scale:g}", where=where, allowed=f"the data's, {data.scale:g}")
    for key in sorted({*source.front_end, *data.front_end} - {*STANDARDISATION}):
        other, wanted = source.front_end.get(key), data.front_end.get(key)
        if other != wanted:
            raise DataError(f"its front end has {key} = {other}", where=where, allowed=f"the data's, {wanted}")
    if source.tokens != data.tokens:
        raise DataError("other tokens", where=where, allowed="those of the data: the same tokenizer")
    if source.standardise != data.front_end.get("standardised_axis"):
        raise DataError("the one is standardised and the other is not", where=where, allowed="both or none")


def _check_split(split: Split, source: Source, where: str) -> None:
    inputs, labels = split.inputs, split.labels
    if not 2 <= inputs.ndim <= 4:
        raise DataError(
            f"inputs of shape {inputs.shape}", where=where, allowed="(N, C, H, W), (N, C, T) or (N, features)"
        )
    if inputs.dtype.kind not in _NUMBERS or not inputs.dtype.isnative:
        raise DataError(f"inputs of type {inputs.dtype}", where=where, allowed="numbers in native byte order")
    if len(inputs) != len(labels):
        raise DataError(f"{len(inputs)} inputs but {len(labels)} labels", where=where)
    if split.groups is not None and split.groups.shape != labels.shape[:1]:
        raise DataError(f"{len(inputs)} inputs but groups of shape {split.groups.shape}", where=where)
    if inputs.dtype.kind == "f" and not np.isfinite(inputs).all():
        raise DataError("inputs hold NaN or infinity", where=where)
    if source.standardise is not None and (inputs.dtype.kind != "f" or not 0 < source.standardise < inputs.ndim):
        raise DataError(
            f"can't standardise axis {source.standardise} of {inputs.dtype} inputs of shape {inputs.shape}",
            where=where,
            allowed="an axis of floats, from 1",
        )
    if source.tokens is not None:
        _check_tokens(inputs, source.tokens, where)
    elif source.task in TOKEN_TASKS:
        raise DataError(f"the task is {source.task}, and nobody says what the tokens are", where=where)
    check_labels(labels, source.task, len(source.classes), where)


def _check_tokens(inputs: NDArray[np.generic], tokens: Tokens, where: str) -> None:
    if inputs.ndim != 2 or inputs.dtype.kind not in "iu":
        raise DataError(
            f"tokens of shape {inputs.shape} and type {inputs.dtype}", where=where, allowed="integers of shape (N, T)"
        )
    low, high = (int(inputs.min()), int(inputs.max())) if inputs.size else (0, 0)
    if low < 0 or high >= tokens.vocabulary:
        raise DataError(
            f"tokens from {low} to {high}",
            where=where,
            allowed=f"0 to {tokens.vocabulary - 1}, the tokenizer's",
            next_step="take the tokenizer that made them",
        )


def check_labels(labels: NDArray[Any], task: Task, classes: int, where: str) -> None:
    """Check that labels are what the task wants.

    Raises:
        DataError: Other shapes or types, classes that do not exist, or values that are no numbers.

    >>> check_labels(np.array([0, 1, -1]), "single_label", 2, "data")
    """
    wide = task in ("multi_label", "regression")
    if labels.shape[1:] != ((classes,) if wide else ()):
        raise DataError(
            f"labels of shape {labels.shape} for {task}", where=where, allowed=f"(N, {classes})" if wide else "(N,)"
        )
    if task == "regression":
        if labels.dtype.kind != "f" or not np.isfinite(labels).all():
            raise DataError(f"labels of type {labels.dtype}", where=where, allowed="finite floats")
        return
    if labels.dtype.kind not in "iub":
        raise DataError(f"labels of type {labels.dtype}", where=where, allowed="integers")
    if task in TOKEN_TASKS:
        if labels.size and labels.min() < 0:
            raise DataError(f"{labels.min()} bytes of text behind a sample", where=where, allowed="0 or more")
        return
    low, high = (UNLABELLED if task == "single_label" else 0), (classes - 1 if task == "single_label" else 1)
    if labels.size and not low <= labels.min() <= labels.max() <= high:
        raise DataError(f"labels from {labels.min()} to {labels.max()} for {classes} classes", where=where)
