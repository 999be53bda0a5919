"""Run folders with real model files, as `edgekd run` leaves them."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgekd import store
from edgekd.pipeline.folder import ENVIRONMENT, MANIFEST, OVERRIDES, RECIPE, TEST_SPLIT
from edgekd.pipeline.manifest import FORMAT
from edgekd.records import Conditions, Manifest, ManifestFile, Measurement, Model

BUDGETS = '[[budgets]]\nmetric = "file_size"\nlimit = "10 kB"\n'
HOST = Conditions(host="h", cpu="c", runtime="onnxruntime", runtime_version="1.20", threads=1)


@dataclass(frozen=True)
class Made:
    """What a run comes to.

    Attributes:
        wrong: How many of the first samples are predicted wrong.
        bias: Makes another file of the same operators.
    """

    recipe: str = 'name = "tiny"\n[distill]\nepochs = 60\n' + BUDGETS
    files: tuple[str, ...] = ("student.fp32.onnx",)
    operators: tuple[str, ...] = ("Relu",)
    bias: float = 0.0
    samples: int = 4000
    wrong: int = 100
    latency_s: float = 1e-3
    data: str = "da7a"
    test_split: str = "7e57"
    teachers: dict[str, str] = field(default_factory=lambda: {"teacher-0": "7eac"})
    environment: dict[str, str] = field(default_factory=lambda: {"onnxruntime": "1.20", "edgekd": "0.1.0"})
    conditions: Conditions = HOST


def save_model(path: Path, operators: Sequence[str], bias: float) -> None:
    """A chain of operators, which begins with adding a bias."""
    names = [f"t{index}" for index in range(len(operators) + 1)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("x", names[-1])]
    nodes = [helper.make_node("Add", ["x", "bias"], [names[0]])]
    nodes += [helper.make_node(kind, [a], [b]) for kind, a, b in zip(operators, names, names[1:], strict=False)]
    constant = helper.make_tensor("bias", TensorProto.FLOAT, [4], [bias] * 4)
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], [constant])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


def make(folder: Path, **changes: Any) -> Path:
    """Write a run folder."""
    made = replace(Made(), **changes)
    (folder / "export").mkdir(parents=True)
    models, measured = [], []
    for name in made.files:
        path = folder / "export" / name
        save_model(path, made.operators, made.bias)
        known: dict[str, Any] = {"format": "onnx", "precision": name.split(".")[1], "role": "student"}
        sha256, size = store.sha256_of(path), path.stat().st_size
        kinds = tuple(sorted(Counter(["Add", *made.operators]).items()))
        place = Path("export") / name
        models.append(Model(name=name, path=place, sha256=sha256, size_bytes=size, operators=kinds, **known))
        right = np.ones(made.samples)
        right[: made.wrong] = 0
        random = np.random.default_rng(made.wrong)
        latency = np.rint(made.latency_s * random.lognormal(0, 0.01, 1000) * 1e9) / 1e9
        values: tuple[tuple[str, str, str, Any], ...] = (
            ("file_size", "file", "B", [size]),
            ("accuracy", "host", "1", right),
            ("latency", "host", "s", latency),
            ("peak_memory", "host", "B", [5e6]),
        )
        measured += [
            Measurement(
                model_sha256=sha256,
                model=name,
                target=target,
                metric=metric,
                unit=unit,
                samples=tuple(map(float, samples)),
                conditions=Conditions() if target == "file" else made.conditions,
                started_at="" if target == "file" else "2026-01-01T00:00:00+00:00",
                **known,
            )
            for metric, target, unit, samples in values
        ]
    store.write_json(folder / "export" / "models.json", models)
    store.write_json(folder / "export" / "measurements.json", measured)
    (folder / RECIPE).write_text(made.recipe)
    store.write_json(folder / OVERRIDES, [])
    store.write_json(folder / ENVIRONMENT, made.environment)
    if made.test_split:
        store.write_json(folder / TEST_SPLIT, {"sha256": made.test_split})
    if made.data:
        manifest = Manifest(
            edgekd_manifest=FORMAT,
            recipe=store.sha256_of(folder / RECIPE),
            overrides=(),
            data=made.data,
            teachers=made.teachers,
            environment=made.environment,
            steps={},
            findings=(),
            layers="",
            corrections="",
            files={},
        )
        store.write_json(folder / MANIFEST, manifest)
    seal(folder)
    return folder


def seal(folder: Path) -> None:
    """Say of the records of all steps that they are what the steps wrote."""
    run_folder = store.RunFolder(folder)
    listed: dict[str, ManifestFile] = {}
    for step in ("export", "benchmark"):
        files = sorted({*(folder / step).glob("*.json")} - {folder / step / "stage.json"})
        if files:
            run_folder.finish(step, "", files)
        for file in files:
            listed[f"{step}/{file.name}"] = ManifestFile(sha256=store.sha256_of(file), size_bytes=1, step=step)
    if (folder / MANIFEST).is_file():
        manifest = store.read_json(folder / MANIFEST, Manifest)
        store.write_json(folder / MANIFEST, replace(manifest, files=listed))


@pytest.fixture
def make_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write run folders by name, below the working folder."""
    monkeypatch.chdir(tmp_path)

    def begin(name: str, **changes: Any) -> Path:
        make(tmp_path / "runs" / name, **changes)
        return Path("runs") / name

    return begin


@pytest.fixture
def empty_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository without commits, as the working folder; the user's own settings are left out."""
    monkeypatch.chdir(tmp_path)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "ada@example.org")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "no-config"))
    subprocess.run(["git", "init", "--quiet", "--initial-branch", "main"], check=True)
    return tmp_path
