"""What an autoencoder's outputs are held against."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import DataError
from edgekd.records import Format, Model, TensorSpec
from edgekd.stages.benchmark.samples import check_labels, rebuilt_from

CHANNELS_FIRST = np.random.default_rng(0).random((4, 3, 5, 2), dtype=np.float32)
CHANNELS_LAST = np.einsum("nchw->nhwc", CHANNELS_FIRST)


def _model(file_format: Format, shape: tuple[int, ...]) -> Model:
    return Model(
        name=f"m.{file_format}",
        path=Path(f"m.{file_format}"),
        format=file_format,
        precision="fp32",
        role="student",
        sha256="",
        size_bytes=0,
        inputs=(TensorSpec(name="x", shape=shape, dtype="float32"),),
    )


@pytest.mark.parametrize(
    ("model", "outputs"),
    [
        (_model("tflite", (1, 5, 2, 3)), CHANNELS_LAST),  # a file that somebody else made
        (_model("tflite", (1, 5, 2, 3)), CHANNELS_FIRST),  # exported: only inputs are channels last
        (_model("tflite", (1, 5, 2, 3)), CHANNELS_FIRST.reshape(4, -1)),  # exported, flattened
        (_model("onnx", (1, 3, 5, 2)), CHANNELS_FIRST),
        (_model("onnx", (1, 3, 5, 2)), CHANNELS_FIRST.reshape(4, -1)),
    ],
)
def test_a_perfect_reconstruction_has_no_error_in_any_layout(model: Model, outputs: np.ndarray) -> None:
    wanted = rebuilt_from(outputs, CHANNELS_FIRST, model)
    np.testing.assert_array_equal(wanted.reshape(4, -1), outputs.reshape(4, -1))


def test_inputs_of_another_size_are_refused() -> None:
    model = dataclasses.replace(_model("onnx", (1, 3, 5, 2)), name="other.onnx")
    with pytest.raises(DataError, match=r"other\.onnx: one sample is"):
        rebuilt_from(CHANNELS_FIRST, CHANNELS_FIRST[:, :2], model)


def test_neither_inputs_nor_labels_is_fine() -> None:
    check_labels(None, None, "regression")
