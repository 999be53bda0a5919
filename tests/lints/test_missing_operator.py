"""Operators without a kernel."""

from __future__ import annotations

from pathlib import Path

import pytest
from ai_edge_litert.interpreter import Interpreter

from edgekd.records import Target
from tests.lints.places import HOST, MICRO, find, refusal
from tests.lints.tflite_files import Operator, activation, write_tflite


def twice(path: Path, name: str) -> Path:
    tensors = {each: activation("float32", 1, 8) for each in "abc"}
    nodes = [Operator(name=name, inputs=[i], outputs=[o]) for i, o in (("a", "b"), ("b", "c"))]
    return write_tflite(path / "twice.tflite", tensors, nodes, ["a"], ["c"])


@pytest.mark.parametrize(("name", "target"), [("SIGN", MICRO), ("STABLEHLO_TANH", HOST)])
def test_each_is_told_once(tmp_path: Path, name: str, target: Target) -> None:
    path = twice(tmp_path, name)
    (found,) = find("missing_operator", path, target)
    assert (found.severity, found.operator) == ("error", name)
    assert found.what == f"{target.runtimes[-1]} has no {name} (2 times in the file)"
    if target is MICRO:
        assert f"'{name}'" in (refusal(path) or "")
    else:
        with pytest.raises(ValueError, match=f"opcode '{name}'"):
            Interpreter(model_path=str(path))


@pytest.mark.parametrize("target", [MICRO, HOST])
def test_known_ones_are_not_told(tmp_path: Path, target: Target) -> None:
    assert find("missing_operator", twice(tmp_path, "TANH"), target) == []
