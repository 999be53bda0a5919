"""A finished run that takes no training: its files are tiny, all else is as the pipeline writes it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from edgekd import store
from edgekd.pipeline import STEPS, judge, open_gate_spec, open_run
from edgekd.pipeline.manifest import write_manifest
from edgekd.records import Conditions, Measurement, Model, TensorSpec
from edgekd.stages.report import report

RECIPE = """name = "clouds"
[data]
source = "npz"
path = "clouds.npz"
[[teachers]]
model = "mlp"
[student]
model = "mlp"
[package]
licence = "MIT"
version = "1.2"
author = "A. N. Author"
limits = "Not for medicine."
[[budgets]]
metric = "file_size"
limit = "{limit}"
[[budgets]]
metric = "accuracy"
limit = "50 %"
"""
STARTED = ("2026-03-01T12:00:05Z", "2026-03-01T12:00:01+00:00")
NAME = "student.fp32.onnx"


def make_run(
    folder: Path, *, limit: str = "1 kB", accurate: int = 190, more: str = "", now: datetime | None = None
) -> Path:
    """Write a run of one ONNX file.

    Args:
        folder: Made when missing.
        limit: Of the file's size, which is 77 bytes.
        accurate: Of 200 samples so many are right; half of them must be.
        more: Behind the recipe.
        now: When it is judged.
    """
    run_folder = store.RunFolder(folder)
    store.write_bytes(folder / "recipe.toml", (RECIPE.format(limit=limit) + more).encode())
    store.write_json(folder / "overrides.json", [])
    tools = {"edgekd": "0.1.0", "torch": "2.13.0+cpu", "litert-torch": "absent"}
    store.write_json(folder / "environment.json", {"python": "3.11.7", "system": "Linux", **tools})
    teacher = _weights(run_folder, "teachers", "teacher-0", b"a teacher")
    student = _weights(run_folder, "distill", "student", b"a student", parent=teacher.sha256)
    exported = _export(run_folder, student)
    _finish(run_folder, "benchmark", [_measure(folder, exported, accurate)])
    release = judge(open_run(folder), open_gate_spec(folder), now=now)
    _finish(run_folder, "gate", [_json(folder / "gate" / "release.json", release)])
    written = report(open_run(folder), folder=folder / "report")
    _finish(run_folder, "report", [written.json_path, written.html_path])
    write_manifest(run_folder, STEPS, data="d" * 64)
    return folder


def _export(run_folder: store.RunFolder, student: Model) -> Model:
    folder = run_folder.path
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "rectifier", ends[:1], ends[1:])
    path = folder / "export" / NAME
    store.write_bytes(path, helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    onnx.checker.check_model(str(path))
    model = Model(
        name=NAME,
        path=path.relative_to(folder),
        format="onnx",
        precision="fp32",
        role="student",
        sha256=store.sha256_of(path),
        size_bytes=path.stat().st_size,
        inputs=(TensorSpec(name="x", shape=(None, 4), dtype="float32"),),
        outputs=(TensorSpec(name="y", shape=(1, 4), dtype="float32"),),
        parent_sha256=student.sha256,
        made_by="torch 2.13.0+cpu",
    )
    _finish(run_folder, "export", [path, _json(folder / "export" / "models.json", [model])])
    return model


def _measure(folder: Path, model: Model, accurate: int) -> Path:
    def measurement(metric: str, unit: str, samples: Sequence[float], started_at: str) -> Measurement:
        return Measurement(
            model_sha256=model.sha256,
            model=model.name,
            format="onnx",
            precision="fp32",
            role="student",
            target="host",
            metric=metric,
            unit=unit,
            samples=tuple(samples),
            conditions=Conditions(runtime="onnxruntime", runtime_version="1.32.0"),
            started_at=started_at,
        )

    found = [
        measurement("file_size", "B", [float(model.size_bytes)], ""),
        measurement("accuracy", "1", [1.0] * accurate + [0.0] * (200 - accurate), STARTED[0]),
        measurement("latency", "s", [1e-6 + 1e-9 * each for each in range(100)], STARTED[1]),
    ]
    return _json(folder / "benchmark" / "measurements.json", found)


def _weights(run_folder: store.RunFolder, step: str, name: str, content: bytes, parent: str | None = None) -> Model:
    path = run_folder.path / step / f"{name}.safetensors"
    store.write_bytes(path, content)
    model = Model(
        name=name,
        path=path.relative_to(run_folder.path),
        format="torch",
        precision="fp32",
        role="student" if parent else "teacher",
        sha256=store.sha256_of(path),
        size_bytes=len(content),
        parent_sha256=parent,
    )
    _finish(run_folder, step, [path, _json(path.parent / "models.json", [model])])
    return model


def _json(path: Path, value: object) -> Path:
    store.write_json(path, value)
    return path


def _finish(run_folder: store.RunFolder, step: str, outputs: Sequence[Path]) -> None:
    run_folder.finish(step, f"fingerprint of {step}", outputs)
