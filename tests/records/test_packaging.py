"""Cargo against the formulas of normalization and quantization in NumPy."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from edgekd.records import Cargo, Model, TensorSpec

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def model(format_name: Literal["onnx", "tflite"], spec: TensorSpec, input_scale: float = 1.0) -> Model:
    return Model(
        name=f"student.int8.{format_name}",
        path=Path(f"student.int8.{format_name}"),
        format=format_name,
        precision="static_wi8_ai8",
        role="student",
        sha256="",
        size_bytes=1,
        inputs=(spec,),
        input_scale=input_scale,
    )


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_raw_values_are_normalized_then_quantized_and_held_within_the_type(dtype: str) -> None:
    spec = TensorSpec(name="input", shape=(1, 4, 5, 3), dtype=dtype, scale=0.0137, zero_point=-7)
    raw = np.random.default_rng(0).integers(0, 256, (4, 5, 3))
    found = Cargo(model=model("tflite", spec, 1 / 255), mean=MEAN, std=STD).quantized(raw)
    # q = round(r / S) + Z (Jacob et al. 2018, eq. 1) of r = (x / 255 - mean) / std.
    real = (raw / 255 - np.array(MEAN)) / np.array(STD)
    limits = np.iinfo(dtype)
    expected = np.clip(np.round(real / 0.0137) - 7, limits.min, limits.max)
    assert found.dtype == dtype
    # Where a value lies between two steps, the order of operations may decide.
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert (found != expected).mean() < 0.02
    if dtype == "uint8":
        assert found.min() == 0


def test_channels_come_first_in_onnx_files() -> None:
    spec = TensorSpec(name="input", shape=(None, 3, 3, 5), dtype="float32")
    raw = np.random.default_rng(0).integers(0, 256, (3, 3, 5))  # as many rows as channels
    found = Cargo(model=model("onnx", spec, 1 / 255), mean=MEAN, std=STD).quantized(raw)
    expected = np.stack([(raw[i] / 255 - MEAN[i]) / STD[i] for i in range(3)])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_names_are_the_title_or_the_file_s_own() -> None:
    spec = TensorSpec(name="input", shape=(1, 3), dtype="float32")
    cargo = Cargo(model=model("onnx", spec))
    assert (cargo.name, cargo.stem) == ("student.int8", "student.int8")
    assert Cargo(model=cargo.model, title="Student").name == "Student"
