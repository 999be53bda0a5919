"""Changes of type that undo each other."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.lints.places import HOST, find
from tests.lints.tflite_files import Operator, activation, write_tflite


def chain(path: Path, dtypes: list[str], names: list[str], scale: float | None = None) -> Path:
    tensors = {f"t{index}": activation(dtype, 1, 8) for index, dtype in enumerate(dtypes)}
    if scale is not None:
        tensors["t1"] = dataclasses.replace(tensors["t1"], scale=[scale])
    nodes = [Operator(name=name, inputs=[f"t{i}"], outputs=[f"t{i + 1}"]) for i, name in enumerate(names)]
    return write_tflite(path / "chain.tflite", tensors, nodes, ["t0"], [f"t{len(names)}"])


def test_a_pair_is_found(tmp_path: Path) -> None:
    path = chain(tmp_path, ["int8", "float32", "int8", "int8"], ["DEQUANTIZE", "QUANTIZE", "RELU"])
    (found,) = find("quantize_pair", path, HOST)
    assert (found.severity, found.operator, found.layer) == ("warning", "DEQUANTIZE", "t1")


def test_a_quantize_that_changes_nothing_is_found(tmp_path: Path) -> None:
    (found,) = find("quantize_pair", chain(tmp_path, ["int8", "int8"], ["QUANTIZE"]), HOST)
    assert "changes nothing" in found.what
    assert find("quantize_pair", chain(tmp_path, ["int8", "int8"], ["QUANTIZE"], 0.2), HOST) == []


def test_what_stands_between_is_a_reason(tmp_path: Path) -> None:
    path = chain(tmp_path, ["int8", "float32", "float32", "int8"], ["DEQUANTIZE", "SIN", "QUANTIZE"])
    assert find("quantize_pair", path, HOST) == []


@pytest.mark.parametrize("name", ["tflm/hello_world_int8", "ai_edge_quantizer/mnist_quantized"])
def test_files_of_converters_are_clean(shared_data: Path, name: str) -> None:
    assert find("quantize_pair", shared_data / "models" / f"{name}.tflite", HOST) == []
