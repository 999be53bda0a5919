"""Formats that nothing on the target reads."""

from __future__ import annotations

from pathlib import Path

from tests.lints.places import HOST, MICRO, find


def test_onnx_on_a_microcontroller(shared_data: Path) -> None:
    path = shared_data / "models/dtln/model_1.onnx"
    (found,) = find("no_runtime", path, MICRO)
    assert (found.severity, found.what) == ("error", "no runtime of chip reads onnx; it has tflite_micro")
    assert find("no_runtime", path, HOST) == []
