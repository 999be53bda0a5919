"""Floats among integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.lints.places import HOST, MICRO, find
from tests.lints.tflite_files import Operator, activation, write_tflite


def test_an_island_in_tflite(tmp_path: Path) -> None:
    tensors = {name: activation("int8", 1, 8) for name in ("a", "b", "c", "f", "g")}
    tensors |= {name: activation("float32", 1, 8) for name in ("d", "e")}
    steps = [("RELU", "a", "b"), ("ABS", "b", "c"), ("DEQUANTIZE", "c", "d"), ("SIN", "d", "e"), ("QUANTIZE", "e", "f")]
    nodes = [Operator(name=name, inputs=[i], outputs=[o]) for name, i, o in [*steps, ("RELU", "f", "g")]]
    path = write_tflite(tmp_path / "island.tflite", tensors, nodes, ["a"], ["g"])
    for target in (MICRO, HOST):
        (found,) = find("float_operator", path, target)
        assert (found.severity, found.operator, found.layer) == ("warning", "SIN", "e")


@pytest.mark.parametrize("floats", [0, 1])
def test_an_island_in_onnx(tmp_path: Path, floats: int) -> None:
    constants = {
        "s": np.array(0.1, np.float32), "z": np.array(0, np.int8), "q": np.ones((4, 4), np.int8),
        "w": np.ones((4, 4), np.float32),
    }  # fmt: skip
    nodes, last = [], "a"
    for index in range(3):
        made = f"m{index}"
        if index < floats:
            nodes.append(helper.make_node("MatMul", [last, "w"], [made], name=made))
        else:
            nodes += [
                helper.make_node("QuantizeLinear", [last, "s", "z"], [f"i{index}"]),
                helper.make_node("DequantizeLinear", [f"i{index}", "s", "z"], [f"d{index}"]),
                helper.make_node("DequantizeLinear", ["q", "s", "z"], [f"w{index}"]),
                helper.make_node("MatMul", [f"d{index}", f"w{index}"], [made], name=made),
            ]
        last = made
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("a", last)]
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "island", ends[:1], ends[1:], stored)
    path = tmp_path / "island.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    assert [each.layer for each in find("float_operator", path, HOST)] == ["m0"] * floats


@pytest.mark.parametrize("name", ["tflm/hello_world_float.tflite", "tflm/hello_world_int8.tflite", "dtln/model_1.onnx"])
def test_files_of_one_kind_are_clean(shared_data: Path, name: str) -> None:
    assert find("float_operator", shared_data / "models" / name, HOST) == []
