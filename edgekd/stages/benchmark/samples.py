"""Which test samples a target sees, in which layout, and what their labels must be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import DataError
from edgekd.metrics import metrics_of
from edgekd.records import Model, Task


def choose_samples(labels: NDArray[Any], limit: int | None) -> NDArray[np.intp]:
    """Choose at most `limit` samples, evenly spread over the labels and, among equal ones, over the split.

    Args:
        labels: (N,), class indices; or (N, outputs), of which the first counts most.
        limit: `None` takes all.

    Returns:
        (min(N, limit),), rising indices; the same ones at every call.

    >>> choose_samples(np.array([0, 1, 0, 1, 0, 1]), 2)
    array([0, 5])
    """
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    # Every k-th sample of the split would meet few classes where classes take turns.
    by_label = np.lexsort(labels.reshape(len(labels), -1).T[::-1])
    return np.sort(by_label[np.linspace(0, len(labels) - 1, limit).round().astype(np.intp)])


def check_labels(inputs: NDArray[np.float32] | None, labels: NDArray[Any] | None, task: Task) -> None:
    """Check that there is one label for each sample, of the shape that the task has.

    Raises:
        DataError: There is not; or a sample has no label.

    >>> check_labels(np.zeros((2, 3), np.float32), np.array([0, 1]), "single_label")
    """
    if inputs is None and labels is None:
        return
    if inputs is None or labels is None or len(inputs) != len(labels):
        raise DataError(f"{metrics_of(task)[0]} needs inputs and as many labels")
    wanted = 2 if task in ("multi_label", "regression") else 1
    if labels.ndim != wanted:
        raise DataError(f"labels of shape {labels.shape} for {task}", allowed="(N, outputs)" if wanted == 2 else "(N,)")
    if task == "single_label" and (missing := np.count_nonzero(labels < 0)):
        raise DataError(
            f"{missing} of {len(labels)} samples have no label", next_step="measure on samples that have one"
        )


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


def scores_of(classes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn numbers of classes, (N,) or (N, 1), into scores, (N, classes), of which the named one is the largest.

    >>> scores_of(np.array([2.0, 0.0], "f")).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    numbers = classes.reshape(-1).astype(np.int64)
    return np.eye(int(numbers.max()) + 1, dtype=np.float32)[numbers]


def rebuilt_from(outputs: NDArray[np.float32], inputs: NDArray[np.float32], model: Model) -> NDArray[np.float32]:
    """Find the inputs that outputs of an autoencoder are to be held against, in the outputs' layout.

    A file whose outputs have the shape of its input has their layout too; all others, such as flattened ones, have the
    layout of the network that the file was made from.

    Args:
        outputs: (N, …), of the file.
        inputs: (N, channels, height, width) or (N, …), as the network takes them.
        model: Its first input counts.

    Returns:
        (N, …), in the order of the outputs.

    >>> from pathlib import Path
    >>> from edgekd.records import TensorSpec
    >>> model = Model(
    ...     name="m.tflite", path=Path("m.tflite"), format="tflite", precision="fp32", role="student",
    ...     sha256="", size_bytes=0, inputs=(TensorSpec(name="x", shape=(1, 2, 2, 3), dtype="float32"),))
    >>> x = np.zeros((5, 3, 2, 2), np.float32)
    >>> [rebuilt_from(np.zeros(shape, np.float32), x, model).shape for shape in ((5, 2, 2, 3), (5, 12))]
    [(5, 2, 2, 3), (5, 3, 2, 2)]
    """
    fitted = fit_layout(inputs, model)
    return fitted if fitted.shape == outputs.shape else inputs
