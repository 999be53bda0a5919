"""Which test samples a target sees, and in which layout."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import DataError
from edgekd.records import Model


def choose_samples(labels: NDArray[np.integer], limit: int | None) -> NDArray[np.intp]:
    """Choose at most `limit` samples, evenly spread over the classes and, within each, over the split.

    Args:
        labels: (N,), class indices.
        limit: `None` takes all.

    Returns:
        (min(N, limit),), rising indices; the same ones at every call.

    >>> choose_samples(np.array([0, 1, 0, 1, 0, 1]), 2)
    array([0, 5])
    """
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    # Every k-th sample of the split would meet few classes where classes take turns.
    by_class = np.argsort(labels, kind="stable")
    return np.sort(by_class[np.linspace(0, len(labels) - 1, limit).round().astype(np.intp)])


def fit_layout(inputs: NDArray[np.float32], model: Model) -> NDArray[np.float32]:
    """Bring samples to the layout of a file's input: channels last, or without dimensions of one.

    Args:
        inputs: (N, channels, height, width), or already as the file has them.
        model: Its first input counts.

    Returns:
        (N, …) as in the file.

    Raises:
        DataError: They don't fit.

    >>> from pathlib import Path
    >>> from edgekd.records import TensorSpec
    >>> model = Model(
    ...     name="m.tflite", path=Path("m.tflite"), format="tflite", precision="fp32", role="student",
    ...     sha256="", size_bytes=0, inputs=(TensorSpec(name="x", shape=(1, 32, 24, 3), dtype="float32"),))
    >>> fit_layout(np.zeros((10, 3, 32, 24), np.float32), model).shape
    (10, 32, 24, 3)
    """
    if not model.inputs:
        return inputs
    wanted, given = model.inputs[0].shape[1:], inputs.shape[1:]
    as_given = _fits(given, wanted)
    channels_last = len(given) == 3 and _fits((*given[1:], given[0]), wanted)
    # A shape such as (3, 3, 3) fits both ways: TFLite files have channels last.
    if channels_last and (model.format == "tflite" or not as_given):
        return np.moveaxis(inputs, 1, -1)
    if as_given:
        return inputs
    if [each for each in given if each != 1] == [each for each in wanted if each != 1]:
        return inputs.reshape(len(inputs), *(each or 1 for each in wanted))
    raise DataError(f"one sample is {given}, the input '{model.inputs[0].name}' is {wanted}", where=model.name)


def _fits(shape: Sequence[int], wanted: Sequence[int | None]) -> bool:
    return len(shape) == len(wanted) and all(b in (None, a) for a, b in zip(shape, wanted, strict=True))
