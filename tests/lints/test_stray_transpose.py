"""Transposes that move data for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tests.lints.places import HOST, find
from tests.lints.tflite_files import Operator, Tensor, activation, numbers, write_tflite

FIRST, LAST = (0, 3, 1, 2), (0, 2, 3, 1)


def chain(path: Path, steps: Sequence[str | tuple[int, ...]]) -> Path:
    """Operators one after another; a permutation is a TRANSPOSE."""
    shape: tuple[int, ...] = (1, 4, 6, 8)
    tensors: dict[str, Tensor] = {"t0": activation("float32", *shape)}
    nodes = []
    for index, step in enumerate(steps):
        inputs = [f"t{index}"]
        if not isinstance(step, str):
            tensors[f"p{index}"] = numbers(*step)
            inputs.append(f"p{index}")
            shape = tuple(shape[axis] for axis in step)
        tensors[f"t{index + 1}"] = activation("float32", *shape)
        nodes.append(
            Operator(name=step if isinstance(step, str) else "TRANSPOSE", inputs=inputs, outputs=[f"t{index + 1}"])
        )
    return write_tflite(path / "chain.tflite", tensors, nodes, ["t0"], [f"t{len(steps)}"])


@pytest.mark.parametrize(
    ("steps", "layers"),
    [
        ((FIRST, "RELU"), ["t1"]),
        (("RELU", FIRST), ["t2"]),
        (("SOFTMAX", FIRST, "RELU", LAST, "SOFTMAX"), ["t2"]),
        (("SOFTMAX", FIRST, "SOFTMAX", LAST, "SOFTMAX"), []),
        (("SOFTMAX", FIRST, "RELU", FIRST, "SOFTMAX"), []),
    ],
)
def test_tflite(tmp_path: Path, steps: Sequence[str | tuple[int, ...]], layers: list[str]) -> None:
    found = find("stray_transpose", chain(tmp_path, steps), HOST)
    assert [each.layer for each in found] == layers
    assert {each.severity for each in found} <= {"warning"}


def test_onnx_keeps_the_order_of_its_input(tmp_path: Path) -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, 6, 8]) for name in ("a", "b")]
    nodes = [
        helper.make_node("Transpose", ["a"], ["x"], name="there", perm=FIRST),
        helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("Transpose", ["y"], ["b"], name="back", perm=LAST),
    ]
    graph = helper.make_graph(nodes, "transposes", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), tmp_path / "t.onnx")
    (found,) = find("stray_transpose", tmp_path / "t.onnx", HOST)
    assert (found.layer, "back turns it back" in found.what) == ("there", True)
