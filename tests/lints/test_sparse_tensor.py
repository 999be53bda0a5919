"""Weights without their zeros."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.lints.places import HOST, MICRO, find
from tests.lints.tflite_files import Operator, activation, weights, write_tflite


@pytest.mark.parametrize("sparse", [True, False])
def test_sparse_weights(tmp_path: Path, sparse: bool) -> None:
    tensors = {
        "a": activation("float32", 1, 8), "w": dataclasses.replace(weights("float32", 4, 8), sparse=sparse),
        "b": weights("float32", 4), "o": activation("float32", 1, 4),
    }  # fmt: skip
    node = Operator(name="FULLY_CONNECTED", inputs=["a", "w", "b"], outputs=["o"], table="FullyConnectedOptions")
    path = write_tflite(tmp_path / "dense.tflite", tensors, [node], ["a"], ["o"])
    assert [each.severity for each in find("sparse_tensor", path, MICRO)] == ["error"] * sparse
    assert find("sparse_tensor", path, HOST) == []
