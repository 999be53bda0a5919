"""A manifest lists every file and what it was made from; `verify` finds what no longer holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekd import pipeline, registry
from edgekd.config import load_recipe
from edgekd.errors import StoreError

pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("default")  # of exporters


@pytest.fixture
def folder(packaged: Path) -> Path:
    return packaged


def manifest(folder: Path) -> dict[str, Any]:
    listed: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return listed


def wrong(folder: Path) -> dict[str, str]:
    return {name: state for name, state in pipeline.verify(folder).items() if state != "ok"}


def test_every_file_has_its_hash_size_step_and_parents(folder: Path, recipe: Path) -> None:
    listed = manifest(folder)
    files = listed["files"]
    for name, file in files.items():
        content = (folder / name).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (file["sha256"], file["size_bytes"])
        assert file["step"] == (name.split("/")[0] if "/" in name else "")
    student, teacher = files["distill/student.safetensors"], files["teachers/teacher-0.safetensors"]
    exported = files["export/student.fp32.onnx"]
    assert student["parents"] == [teacher["sha256"]]
    assert exported["parents"] == [student["sha256"]]
    assert "torch" in exported["made_by"]
    packed = {name: file for name, file in files.items() if name.startswith("package/onnx/")}
    assert {name.rsplit(".", 1)[1] for name in packed} == {"onnx", "ort", "config", "py", "kt", "cpp", "md"}
    assert {tuple(file["parents"]) for file in packed.values()} == {(exported["sha256"],)}
    assert files["package/onnx/student.fp32/student.fp32.metadata.onnx"]["made_by"] == "packager onnx_metadata"
    assert listed["recipe"] == hashlib.sha256(recipe.read_bytes()).hexdigest()
    assert listed["teachers"] == {"teacher-0": teacher["sha256"]}
    assert (listed["layers"], listed["corrections"]) == ("export/layers.json", "export/corrections.json")
    steps = ["teachers", "assistants", "distill", "export", "kernels", "lint", "benchmark", "package"]
    assert list(listed["steps"]) == steps
    assert "onnxruntime" in listed["steps"]["export"]["tools"]
    assert {"python", "edgekd"} <= listed["environment"].keys()
    # Nothing of this machine's folders.
    assert str(recipe.parent) not in json.dumps(listed)


def test_a_run_as_it_was_made_is_right(folder: Path) -> None:
    assert wrong(folder) == {}


def test_a_changed_file_orphans_what_was_made_of_it(folder: Path) -> None:
    model = folder / "export" / "student.fp32.onnx"
    model.write_bytes(model.read_bytes() + b"\0")
    found = wrong(folder)
    assert found.pop("export/student.fp32.onnx") == "changed"
    assert {*found.values()} == {"orphan"}
    assert {*found} == {name for name in manifest(folder)["files"] if name.startswith("package/onnx/")}


def test_a_missing_parent_is_found_two_steps_up(folder: Path) -> None:
    (folder / "teachers" / "teacher-0.safetensors").unlink()
    assert wrong(folder) == {"teachers/teacher-0.safetensors": "missing", "distill/student.safetensors": "orphan"}


def test_a_parent_that_nobody_knows_is_a_broken_chain(folder: Path) -> None:
    listed = manifest(folder)
    listed["files"]["export/student.fp32.onnx"]["parents"] = ["0" * 64]
    (folder / "manifest.json").write_text(json.dumps(listed))
    assert wrong(folder) == {"export/student.fp32.onnx": "orphan"}


@pytest.mark.parametrize("place", ["export/other.onnx", "package/onnx/student.fp32/more.txt", "package/.hidden"])
def test_a_file_that_the_run_did_not_make_is_extra_where_files_ship(folder: Path, place: str) -> None:
    (folder / place).write_text("more")
    (folder / "notes.txt").write_text("does not ship")
    (folder / "benchmark" / "notes.txt").write_text("nor does this")
    assert wrong(folder) == {place: "extra"}


def test_a_teacher_from_elsewhere_is_a_parent_whose_file_is_not_looked_for(folder: Path) -> None:
    listed = manifest(folder)
    student = listed["files"]["distill/student.safetensors"]
    listed["teachers"]["teacher-1"] = "1" * 64
    student["parents"].append("1" * 64)
    (folder / "manifest.json").write_text(json.dumps(listed))
    assert wrong(folder) == {}


def test_another_format_of_manifest_is_refused(folder: Path) -> None:
    (folder / "manifest.json").write_text(json.dumps({**manifest(folder), "edgekd_manifest": 3}))
    with pytest.raises(StoreError, match="a manifest of format 3"):
        pipeline.verify(folder)
    (folder / "manifest.json").write_text('{"export/student.onnx": "00"}')  # as edgekd wrote it once
    with pytest.raises(StoreError, match="not what edgekd wrote"):
        pipeline.verify(folder)


def test_a_report_written_again_leaves_the_rest_of_the_manifest(folder: Path, recipe: Path) -> None:
    out = folder
    assert pipeline.run(load_recipe(str(recipe)), folder=out).made == ("gate", "report")
    before = manifest(out)
    pipeline.rewrite_report(out)
    assert manifest(out) == before
    assert wrong(out) == {}


@pytest.mark.slow
def test_two_folders_get_the_same_files_to_ship(folder: Path, run: Callable[..., pipeline.Outcome]) -> None:
    again = run(out="again", until="package").run.folder
    # ONNX Runtime's converter orders by addresses, which not every container lets us fix.
    unlike = () if registry.load("packagers", "ort")._fixed_addresses() else (".ort",)
    one, two = (
        {
            name: file["sha256"]
            for name, file in manifest(each)["files"].items()
            if name.startswith(("export/", "package/onnx/")) and not name.endswith(unlike)
        }
        for each in (folder, again)
    )
    # A card holds measured times; nothing else in it may differ.
    card = "package/onnx/student.fp32/README.md"
    texts = [
        [line for line in (each / card).read_text().splitlines() if "latency" not in line] for each in (folder, again)
    ]
    measured = [[line for line in lines if "peak_memory" not in line] for lines in texts]
    assert measured[0] == measured[1]
    del one[card], two[card]
    assert one == two
    assert len(one) >= 9
