"""The facts of TFLite Micro against its wheel."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ai_edge_litert import schema_py_generated as schema

from edgekd.lints import _tflite_micro
from tests.lints import one_operator
from tests.lints.places import refusal
from tests.lints.tflite_files import Operator, activation, write_tflite

# Opened one after another; each ends at SKIP_GRAM at the latest, which TFLite Micro lacks, and so never runs.
_LOAD = """
import sys
from tflite_micro.python.tflite_micro import runtime
for path in sys.argv[1:]:
    sys.stderr.write(f"file {path}\\n"); sys.stderr.flush()
    try:
        runtime.Interpreter.from_file(path, arena_size=100_000)
    except RuntimeError:
        pass
"""


def loaded(folder: Path, names: list[str]) -> set[str]:
    """Those of the operators that the wheel knows."""
    pytest.importorskip("tflite_micro")
    ends = {"a": activation("int8", 1, 4), "b": activation("int8", 1, 4)}
    for name in names:
        first = Operator(name=name, inputs=["a"], outputs=["b"])
        if name == "VAR_HANDLE":  # the interpreter counts variables before it looks for kernels
            first = dataclasses.replace(first, table="VarHandleOptions", options={"sharedName": "x"})
        nodes = [first, Operator(name="SKIP_GRAM", inputs=["a"], outputs=["b"])]
        write_tflite(folder / name, ends, nodes, ["a"], ["b"])
    command = [sys.executable, "-c", _LOAD, *(str(folder / name) for name in names)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = dict(zip(names, re.split(r"^file .*\n", done.stderr, flags=re.MULTILINE)[1:], strict=True))
    return {name for name, text in said.items() if "'SKIP_GRAM'" in text}


def test_operators_are_those_of_the_wheel(tmp_path: Path) -> None:
    none = {"CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES", "SKIP_GRAM"}
    names = [name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int) and name not in none]
    assert loaded(tmp_path, names) == set(_tflite_micro.OPERATORS)


def test_custom_operators_are_those_of_the_wheel(tmp_path: Path) -> None:
    others = ["Mfcc", "AudioSpectrogram", "FlexErf", "NumericVerify"]
    assert loaded(tmp_path, [*sorted(_tflite_micro.CUSTOM), *others]) == set(_tflite_micro.CUSTOM)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(one_operator.OPERATORS) & set(_tflite_micro.TYPES)))
def test_types_are_those_that_run(tmp_path: Path, name: str) -> None:
    asked = ("float32", "int8", "int16", "uint8", "int32")
    ran = {dtype for dtype in asked if refusal(one_operator.write(tmp_path / dtype, name, dtype)) is None}
    assert ran == set(_tflite_micro.TYPES[name])


@pytest.mark.parametrize("name", ["CONV_2D", "SOFTMAX", "ELU", "L2_POOL_2D"])
@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8"])
def test_a_type_runs_where_the_table_says_so(tmp_path: Path, name: str, dtype: str) -> None:
    runs = refusal(one_operator.write(tmp_path / "one.tflite", name, dtype)) is None
    assert runs == (dtype in _tflite_micro.TYPES[name])
