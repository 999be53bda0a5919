"""From teacher to file: the chain that the page shows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edgekd.records import Manifest, ManifestStep, Model, Run
from edgekd.stages.report import report
from edgekd.stages.report.provenance import origins_of, recipe_hash, tools_of


def test_files_come_from_students_and_these_from_their_teachers(distilled: Callable[[], Run]) -> None:
    run = distilled()
    student = next(each for each in run.models if each.name == "student")
    file = replace(
        student, name="student.fp32.onnx", format="onnx", sha256="f" * 64, parent_sha256=student.sha256, path=Path("x")
    )
    quantized = replace(file, name="student.int8.onnx", sha256="e" * 64, parent_sha256=file.sha256)
    stranger = replace(file, name="stranger.onnx", sha256="d" * 64, parent_sha256="c" * 64)
    run = replace(run, models=(*run.models, file, quantized, stranger))
    steps = {each.model.name: each.steps for each in origins_of(run)}
    assert steps["teacher-0"] == ()
    assert steps["assistant-0"] == ("teacher-0, teacher-1",)
    assert steps["student"] == ("teacher-0, teacher-1", "assistant-0")
    assert steps["student.fp32.onnx"] == ("teacher-0, teacher-1", "assistant-0", "student")
    assert steps["student.int8.onnx"] == (*steps["student.fp32.onnx"], "student.fp32.onnx")
    assert [each.unknown_parent for each in origins_of(run) if each.model.name == "stranger.onnx"] == ["c" * 64]


def test_files_that_name_each_other_do_not_hang(distilled: Callable[[], Run]) -> None:
    one: Model = replace(distilled().models[-1], sha256="1", parent_sha256="2", role="teacher")
    two = replace(one, name="two", sha256="2", parent_sha256="1")
    assert len(origins_of(Run(name="r", folder=Path(), recipe="", models=(one, two)))) == 2


def test_the_recipe_s_hash_is_that_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text('name = "größe"\n', encoding="utf-8")
    run = Run(name="r", folder=tmp_path, recipe=file.read_text(encoding="utf-8"))
    assert recipe_hash(run) == hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_page_names_the_data_and_the_tools_of_each_step(tmp_path: Path) -> None:
    manifest = Manifest(
        edgekd_manifest=2,
        recipe="",
        overrides=(),
        data="d" * 64,
        teachers={"teacher-0": "e" * 64},
        environment={},
        steps={
            "export": ManifestStep(fingerprint="", tools={"onnx": "1.20", "torch": "2.11"}),
            "gate": ManifestStep(fingerprint="", tools={}),
        },
        findings=(),
        layers="",
        corrections="",
        files={},
    )
    run = Run(name="r", folder=Path(), recipe="", manifest=manifest)
    assert tools_of(run) == [("export", ["onnx 1.20", "torch 2.11"])]
    made = report(run, folder=tmp_path)
    html = made.html_path.read_text(encoding="utf-8")
    assert f'<dd class="hash">{"d" * 64}</dd>' in html
    assert f'<dd class="hash">{"e" * 64}</dd>' in html
    assert "<td>onnx 1.20, torch 2.11</td>" in html
    assert json.loads(made.json_path.read_text())["data_sha256"] == "d" * 64
