"""What a run says of itself is read in one way; a time that is none is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgekd.errors import StoreError
from edgekd.pipeline.bundling.evidence import Evidence, is_bundled
from edgekd.records import Measurement

SIZE = Measurement(
    model_sha256="5e1f",
    model="a.onnx",
    format="onnx",
    precision="fp32",
    role="student",
    target="host",
    metric="file_size",
    unit="B",
    samples=(1.0,),
)


def between(*times: str) -> tuple[str, str] | None:
    measurements = [replace(SIZE, started_at=time) for time in times]
    return Evidence(manifest=None, recipe={}, models=(), measurements=measurements, release=None).measured_between


def test_times_are_of_the_first_and_last_measurement_whatever_their_zone() -> None:
    assert between("", "") is None
    assert between("2026-01-01T01:00:00+02:00", "", "2026-01-01T00:00:00") == (
        "2025-12-31T23:00:00Z",
        "2026-01-01T00:00:00Z",
    )


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(StoreError, match="began at 'yesterday'"):
        between("yesterday")


def test_files_of_one_name_are_told_apart() -> None:
    measurements = [SIZE, replace(SIZE, model_sha256="0" * 64), replace(SIZE, model="b.onnx")]
    evidence = Evidence(manifest=None, recipe={}, models=(), measurements=measurements, release=None)
    assert evidence.shipped == {"a.onnx 5e1f": "5e1f", f"a.onnx {'0' * 12}": "0" * 64, "b.onnx": "5e1f"}


@pytest.mark.parametrize(
    ("name", "step", "goes"),
    [
        ("recipe.toml", "", True),
        ("export/a.onnx", "export", True),
        ("benchmark/measurements.json", "benchmark", True),
        ("teachers/teacher-0.safetensors", "teachers", False),
        ("distill/student.safetensors", "distill", False),
        ("distill/histories.json", "distill", True),
    ],
)
def test_weights_that_do_not_ship_stay(name: str, step: str, goes: bool) -> None:
    assert is_bundled(name, step) is goes
