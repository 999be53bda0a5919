"""Files that are newer than the target's runtime."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import onnx
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper

from tests.lints.places import HOST, MICRO, find
from tests.lints.tflite_files import Operator, activation, write_tflite

OLD = dataclasses.replace(HOST, name="phone", runtime_versions={"onnxruntime": "1.17.3", "litert": "2.5.0"})


def relu(path: Path, ir: int, opset: int) -> Path:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in ("a", "b")]
    graph = helper.make_graph([helper.make_node("Relu", ["a"], ["b"])], "relu", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir), path)
    return path


@pytest.mark.parametrize(
    ("ir", "opset", "said"), [(9, 20, []), (10, 20, ["IR"]), (9, 21, ["op"]), (10, 22, ["IR", "op"])]
)
def test_stamps_of_onnx(tmp_path: Path, ir: int, opset: int, said: list[str]) -> None:
    path = relu(tmp_path / "relu.onnx", ir, opset)
    found = find("format_version", path, OLD)
    assert [each.what.split()[2][:2] for each in found] == said
    assert all("ONNX Runtime 1.17.3 reads up to" in each.what for each in found)
    # What edgekd installs reads them all.
    assert find("format_version", path, HOST) == []
    onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def tanh(path: Path, version: int, needs: str | None = None) -> Path:
    end = activation("float32", 1, 4)
    metadata = None if needs is None else {"min_runtime_version": needs.encode().ljust(16, b"\0")}
    nodes = [Operator(name="TANH", inputs=["a"], outputs=["b"], version=version)]
    return write_tflite(path, {"a": end, "b": end}, nodes, ["a"], ["b"], metadata)


def test_operators_that_litert_does_not_know_yet(tmp_path: Path) -> None:
    path = tanh(tmp_path / "new.tflite", 99)
    (found,) = find("format_version", path, HOST)
    assert (found.severity, found.operator) == ("error", "TANH")
    assert "of version 99" in found.what
    with pytest.raises(ValueError, match="Didn't find op for builtin opcode 'TANH' version '99'"):
        Interpreter(model_path=str(path))
    assert find("format_version", path, MICRO) == []  # which does not look at versions


def test_operators_that_a_release_did_not_have(tmp_path: Path) -> None:
    path = tanh(tmp_path / "tanh.tflite", 3)  # since 2.3.0
    assert find("format_version", path, OLD) == []
    older = dataclasses.replace(OLD, runtime_versions={"litert": "2.2.0"})
    (found,) = find("format_version", path, older)
    assert found.what == "TANH of version 3 is in TFLite since 2.3.0; phone has 2.2.0"


def test_metadata_counts_where_no_operator_says_it(tmp_path: Path) -> None:
    path = tanh(tmp_path / "tanh.tflite", 1, "2.10.0")
    (found,) = find("format_version", path, OLD)
    assert found.what == "the file needs a runtime of TensorFlow 2.10.0; phone has 2.5.0"
    assert find("format_version", path, HOST) == []
