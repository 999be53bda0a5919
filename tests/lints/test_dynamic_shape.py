"""Open dimensions, the batch aside."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.lints.places import HOST, MICRO, NPU, find
from tests.lints.tflite_files import Operator, activation, write_tflite


def tanh(path: Path, *signature: int) -> Path:
    shape = [max(size, 1) for size in signature]
    end = dataclasses.replace(activation("float32", *shape), signature=signature)
    return write_tflite(
        path / "it.tflite", {"a": end, "b": end}, [Operator(name="TANH", inputs=["a"], outputs=["b"])], ["a"], ["b"]
    )


@pytest.mark.parametrize(("signature", "errors"), [((-1, 8), 0), ((1, 8), 0), ((1, -1, 8), 2), ((-1, -1), 2)])
def test_only_the_first_may_be_open(tmp_path: Path, signature: tuple[int, ...], errors: int) -> None:
    path = tanh(tmp_path, *signature)
    for target in (MICRO, NPU):
        found = find("dynamic_shape", path, target)
        assert [each.severity for each in found] == ["error"] * errors
    assert find("dynamic_shape", path, HOST) == []


def test_shapes_are_shown(tmp_path: Path) -> None:
    found = find("dynamic_shape", tanh(tmp_path, 1, -1, 8), MICRO)
    assert found[0].what == "the shape of input 'a' is open: (1, ?, 8)"
