"""The facts of LiteRT against the installed package."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from edgekd.lints import _litert
from tests.lints import one_operator
from tests.lints.tflite_files import Operator, activation, write_tflite

pytestmark = pytest.mark.skipif(
    metadata.version("ai-edge-litert") != _litert.VERSION, reason=f"the facts are of {_litert.VERSION}"
)
ABSENT = {"CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES"}
NAMES = [
    name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int) and name not in ABSENT
]  # fmt: skip


def knows(path: Path, name: str, version: int) -> bool:
    """Whether LiteRT has a kernel for a version of an operator; what else it dislikes of the file does not matter."""
    ends = {"a": activation("float32", 1, 4), "b": activation("float32", 1, 4)}
    write_tflite(path, ends, [Operator(name=name, inputs=["a"], outputs=["b"], version=version)], ["a"], ["b"])
    try:
        Interpreter(model_path=str(path))
    except (RuntimeError, ValueError) as error:
        return "find op for builtin opcode" not in str(error)
    return True


@pytest.mark.parametrize("name", NAMES)
def test_versions_are_those_that_load(tmp_path: Path, name: str) -> None:
    path, newest = tmp_path / "one.tflite", _litert.VERSIONS.get(name, 0)
    assert newest == 0 or knows(path, name, newest)
    assert not knows(path, name, newest + 1)


def takes(path: Path) -> bool:
    """Whether XNNPACK takes the one operator of a file."""
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    return any(each["op_name"] == "DELEGATE" for each in interpreter._get_ops_details())


@pytest.mark.parametrize("name", sorted(_litert.ASKED & set(one_operator.OPERATORS)))
@pytest.mark.parametrize("dtype", ["float32", "int8", "int16"])
def test_xnnpack_takes_what_the_table_says(tmp_path: Path, name: str, dtype: str) -> None:
    path = one_operator.write(tmp_path / "one.tflite", name, dtype)
    try:
        taken = takes(path)
    except RuntimeError:  # LiteRT has no kernel of this type at all
        taken = False
    assert taken == (name in _litert.XNNPACK[dtype])
