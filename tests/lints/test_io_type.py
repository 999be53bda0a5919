"""Types of inputs and outputs against what the target's apps hand over."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.lints.places import HOST, MICRO, find
from tests.lints.tflite_files import Operator, activation, write_tflite
from tests.packagers import texts

PHONE = dataclasses.replace(HOST, name="phone", io=("uint8", "float32"))


@pytest.mark.parametrize(("name", "errors"), [("hello_world_int8", 2), ("hello_world_float", 0)])
def test_task_libraries_take_no_int8(shared_data: Path, name: str, errors: int) -> None:
    path = shared_data / f"models/tflm/{name}.tflite"
    found = find("io_type", path, PHONE)
    assert [each.severity for each in found] == ["error"] * errors
    assert all("is int8; apps of phone hand over uint8, float32" in each.what for each in found)
    assert find("io_type", path, HOST) == []
    assert find("io_type", path, MICRO) == []


def test_floats_around_integers_on_a_microcontroller(tmp_path: Path) -> None:
    tensors = {name: activation("float32" if name in "ad" else "int8", 1, 8) for name in "abcd"}
    steps = [("QUANTIZE", "a", "b"), ("RELU", "b", "c"), ("DEQUANTIZE", "c", "d")]
    nodes = [Operator(name=name, inputs=[i], outputs=[o]) for name, i, o in steps]
    path = write_tflite(tmp_path / "wrapped.tflite", tensors, nodes, ["a"], ["d"])
    found = find("io_type", path, MICRO)
    assert [each.what.split()[0] for each in found] == ["input", "output"]
    assert find("io_type", path, HOST) == []


def test_tokens_are_handed_over_as_they_are(tmp_path: Path) -> None:
    path = texts.write_tflite(tmp_path / "texts.tflite")
    assert [each.what.split()[0] for each in find("io_type", path, dataclasses.replace(PHONE, io=("int8",)))] == [
        "output"
    ]
    assert find("io_type", path, PHONE) == []
