"""Custom operators are named; those that the runtime brings are not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from edgekd.records import Target
from tests.lints.places import HOST, MICRO, NPU, find
from tests.lints.tflite_files import Operator, activation, write_tflite


def one(path: Path, name: str) -> Path:
    ends = {"a": activation("float32", 1, 4), "b": activation("float32", 1, 4)}
    return write_tflite(path / "custom.tflite", ends, [Operator(name=name, inputs=["a"], outputs=["b"])], ["a"], ["b"])


@pytest.mark.parametrize(
    ("name", "target", "errors"),
    [
        ("FlexErf", MICRO, 1), ("FlexErf", HOST, 1), ("Mfcc", HOST, 0), ("Mfcc", MICRO, 1), ("SignalWindow", MICRO, 0),
        ("CIRCULAR_BUFFER", MICRO, 0), ("ethos-u", NPU, 0), ("ethos-u", MICRO, 1),
        ("TFLite_Detection_PostProcess", HOST, 0),
    ],
)  # fmt: skip
def test_tflite(tmp_path: Path, name: str, target: Target, errors: int) -> None:
    found = find("custom_operator", one(tmp_path, name), target)
    assert [each.severity for each in found] == ["error"] * errors
    assert all(name in each.what for each in found)


def test_foreign_domains_of_onnx(tmp_path: Path) -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in ("a", "b")]
    nodes = [
        helper.make_node("Gelu", ["a"], ["x"], domain="com.microsoft"),
        helper.make_node("Mine", ["x"], ["b"], domain="my.company", name="last"),
    ]
    graph = helper.make_graph(nodes, "custom", ends[:1], ends[1:])
    opsets = [helper.make_opsetid(domain, 1) for domain in ("com.microsoft", "my.company")]
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20), *opsets], ir_version=10)
    onnx.save(model, tmp_path / "custom.onnx")
    (found,) = find("custom_operator", tmp_path / "custom.onnx", dataclasses.replace(HOST, name="phone"))
    assert (found.target, found.operator, found.layer) == ("phone", "Mine", "last")
    assert "'my.company'" in found.what
