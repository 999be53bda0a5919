"""Float data with integer weights: TFLite Micro refuses it, LiteRT runs it."""

from __future__ import annotations

from pathlib import Path

import pytest
from ai_edge_litert.interpreter import Interpreter

from tests.lints.places import HOST, MICRO, find, refusal
from tests.lints.tflite_files import Operator, activation, weights, write_tflite


@pytest.mark.parametrize(("kernel", "hybrid"), [("int8", True), ("float32", False)])
def test_dense_layer(tmp_path: Path, kernel: str, hybrid: bool) -> None:
    tensors = {
        "a": activation("float32", 1, 8), "w": weights(kernel, 4, 8), "b": weights("float32", 4),
        "o": activation("float32", 1, 4),
    }  # fmt: skip
    node = Operator(name="FULLY_CONNECTED", inputs=["a", "w", "b"], outputs=["o"], table="FullyConnectedOptions")
    path = write_tflite(tmp_path / "dense.tflite", tensors, [node], ["a"], ["o"])
    found = find("hybrid_operator", path, MICRO)
    assert [each.severity for each in found] == ["error"] * hybrid
    assert (refusal(path) is not None) == hybrid
    assert find("hybrid_operator", path, HOST) == []
    Interpreter(model_path=str(path)).allocate_tensors()
