"""Operators on LiteRT's plain kernels, against the delegate itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ai_edge_litert.interpreter import Interpreter

from tests.lints.places import HOST, MICRO, PHONE, find


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("mlperf_tiny/image_classification/pretrainedResnet_quant", ["AVERAGE_POOL_2D", "SOFTMAX"]),
        ("mlperf_tiny/image_classification/pretrainedResnet", []),
        ("tflm/micro_speech_quantized", ["SOFTMAX"]),
    ],
)
def test_operators_left(shared_data: Path, name: str, left: list[str]) -> None:
    path = shared_data / "models" / f"{name}.tflite"
    found = find("xnnpack_fallback", path, HOST)
    assert [each.operator for each in found] == left
    assert {each.severity for each in found} <= {"warning"}
    assert find("xnnpack_fallback", path, MICRO) == []
    assert [each.operator for each in find("xnnpack_fallback", path, PHONE)] == left
    assert find("xnnpack_fallback", path, replace(HOST, xnnpack=False)) == []  # known, and wanted
    # What is left between two parts of the network splits it: one delegate for each part.
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    parts = sum(each["op_name"] == "DELEGATE" for each in interpreter._get_ops_details())
    assert parts == (2 if "AVERAGE_POOL_2D" in left else 1)
