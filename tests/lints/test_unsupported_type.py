"""Types of data and weights that a runtime has no kernel for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tests.lints import one_operator
from tests.lints.places import HOST, MICRO, find, refusal
from tests.lints.tflite_files import Operator, Tensor, activation, weights, write_tflite


@pytest.mark.parametrize(("dtype", "errors"), [("int8", 0), ("uint8", 1)])
def test_unsigned_bytes_on_a_microcontroller(tmp_path: Path, dtype: str, errors: int) -> None:
    path = one_operator.write(tmp_path / "conv.tflite", "CONV_2D", dtype)
    assert [each.severity for each in find("unsupported_type", path, MICRO)] == ["error"] * errors
    assert (refusal(path) is not None) == bool(errors)


def test_half_precision_on_a_microcontroller(tmp_path: Path) -> None:
    half = Tensor(shape=(1, 8), dtype="float16", data=np.ones((1, 8), np.float16))
    tensors = {
        "w": half,
        "d": activation("float32", 1, 8),
        "a": activation("float32", 1, 8),
        "o": activation("float32", 1, 8),
    }
    nodes = [
        Operator(name="DEQUANTIZE", inputs=["w"], outputs=["d"]),
        Operator(name="ADD", inputs=["a", "d"], outputs=["o"], table="AddOptions"),
    ]
    path = write_tflite(tmp_path / "half.tflite", tensors, nodes, ["a"], ["o"])
    (found,) = find("unsupported_type", path, MICRO)
    assert found.what == "tflite_micro's DEQUANTIZE takes int8, uint8, int16, not float16"
    assert "DEQUANTIZE" in (refusal(path) or "")
    assert find("unsupported_type", path, HOST) == []
    Interpreter(model_path=str(path)).allocate_tensors()


@pytest.mark.parametrize(("scales", "errors"), [(1, 0), (4, 1)])
def test_four_bits(tmp_path: Path, scales: int, errors: int) -> None:
    kernel = weights("int4", 4, 8)
    tensors = {
        "a": activation("int8", 1, 8),
        "w": Tensor(shape=kernel.shape, dtype="int4", data=kernel.data, scale=[0.02] * scales),
        "b": Tensor(shape=(4,), dtype="int32", data=np.zeros(4, np.int32), scale=[0.001] * scales),
        "o": activation("int8", 1, 4),
    }
    node = Operator(name="FULLY_CONNECTED", inputs=["a", "w", "b"], outputs=["o"], table="FullyConnectedOptions")
    path = write_tflite(tmp_path / "dense.tflite", tensors, [node], ["a"], ["o"])
    assert [each.severity for each in find("unsupported_type", path, MICRO)] == ["error"] * errors
    assert (refusal(path) is not None) == bool(errors)
