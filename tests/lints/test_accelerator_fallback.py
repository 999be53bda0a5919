"""What is said to be left on the CPU against Vela, operator by operator."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgekd.inspection import inspect
from edgekd.lints._vela import why_left
from tests.lints import one_operator
from tests.lints.places import HOST, NPU, find, vela, vela_says
from tests.lints.tflite_files import Operator, activation, weights, write_tflite


@pytest.mark.parametrize("accelerator", ["ethos-u55-128", "ethos-u85-256"])
def test_vela_leaves_what_the_rule_says(tmp_path: Path, accelerator: str) -> None:
    path = one_operator.write_all(tmp_path / "all.tflite", "int8")
    warning = r"^Warning \((?:supported operators|semantic checks)\) operator: \w+, ofm: '(\w+)'"
    left = set(re.findall(warning, vela_says(path, tmp_path, accelerator), re.MULTILINE))
    assert left
    assert {node.name for node in inspect(path).nodes if why_left(node, accelerator)} == left


@pytest.mark.parametrize(("stride", "padding", "taken"), [(3, 0, True), (4, 0, False), (4, 1, True)])
def test_strides(tmp_path: Path, stride: int, padding: int, taken: bool) -> None:
    size = -(-18 // stride) if padding == 0 else (18 - 3) // stride + 1
    tensors = {
        "a": activation("int8", 1, 18, 18, 4),
        "w": weights("int8", 4, 3, 3, 4),
        "b": weights("int32", 4),
        "o": activation("int8", 1, size, size, 4),
    }
    options = {"strideW": stride, "strideH": stride, "padding": padding, "dilationWFactor": 1, "dilationHFactor": 1}
    node = Operator(name="CONV_2D", inputs=["a", "w", "b"], outputs=["o"], table="Conv2DOptions", options=options)
    path = write_tflite(tmp_path / "conv.tflite", tensors, [node], ["a"], ["o"])
    assert (find("accelerator_fallback", path, NPU) == []) == taken
    assert find("accelerator_fallback", path, HOST) == []
    assert (vela(path, tmp_path) == 0) == taken


def test_one_operator_of_several_is_a_warning_with_its_reason(tmp_path: Path) -> None:
    tensors = {name: activation("int8", 1, 8, 8, 4) for name in "abc"}
    nodes = [
        Operator(name="ABS", inputs=["a"], outputs=["b"]),
        Operator(name="SIGN", inputs=["b"], outputs=["c"]),
    ]
    path = write_tflite(tmp_path / "two.tflite", tensors, nodes, ["a"], ["c"])
    (found,) = find("accelerator_fallback", path, NPU)
    assert (found.severity, found.operator, found.layer) == ("warning", "SIGN", "c")
    assert found.what == "SIGN runs on the CPU, not on ethos-u55-128: it is none that the accelerator has"
