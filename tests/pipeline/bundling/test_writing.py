"""Equal runs give equal bundles; what is no finished run gives none."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from edgekd import pipeline, store
from edgekd.config import load_recipe
from edgekd.errors import StoreError
from edgekd.pipeline.bundling.archive import write_archive
from edgekd.pipeline.manifest import update_manifest
from tests.finished import NAME, make_run

Files = dict[str, Any]


def test_it_holds_what_ships_and_what_proves_it_but_no_weights(held: Files, finished_once: Path) -> None:
    assert list(held) == [
        "bundle.json",
        "benchmark/measurements.json",
        "distill/models.json",
        "environment.json",
        "export/models.json",
        f"export/{NAME}",
        "gate/release.json",
        "licences.json",
        "licences/edgekd.txt",
        "manifest.json",
        "overrides.json",
        "provenance.json",
        "recipe.toml",
        "report/report.html",
        "report/report.json",
        "sbom.cdx.json",
        "teachers/models.json",
    ]
    for name in held:
        if (finished_once / name).is_file():
            assert held[name] == (finished_once / name).read_bytes()
    licences = json.loads(held["licences.json"])
    assert (licences["files"]["spdx"], licences["edgekd"]["spdx"], licences["data"]["spdx"]) == (
        "MIT",
        "Apache-2.0",
        None,
    )
    assert held["licences/edgekd.txt"].split()[:2] == [b"Apache", b"License"]
    assert str(finished_once.parent).encode() not in b"".join(held.values())


def test_a_copy_elsewhere_at_another_time_gives_the_same_bytes(bundle: Path, finished: Path, tmp_path: Path) -> None:
    for file in finished.rglob("*"):
        os.utime(file, (0, 0))
        file.chmod(0o755)
    again = pipeline.write_bundle(pipeline.collect(finished), tmp_path / "some" / "where" / "other.name")
    assert again.path.read_bytes() == bundle.read_bytes()
    assert (again.sha256, again.size_bytes) == (store.sha256_of(bundle), bundle.stat().st_size)
    assert list(again.path.parent.iterdir()) == [again.path]


def test_a_run_that_the_gate_refused_is_bundled_with_its_verdict(tmp_path: Path) -> None:
    contents = pipeline.collect(make_run(tmp_path / "run", limit="10 B"))
    assert contents.release is not None
    assert contents.release.status == "fail"
    made = pipeline.write_bundle(contents, tmp_path / "x.tar")
    found = pipeline.verify_bundle(made.path)
    assert found.is_right
    assert found.release == contents.release


def test_a_benchmark_of_bare_files_has_no_verdict(finished: Path, tmp_path: Path) -> None:
    bench = tmp_path / "bench"
    bench.mkdir()
    for source in ("benchmark/measurements.json", "report/report.json", "report/report.html"):
        shutil.copy(finished / source, bench)
    contents = pipeline.collect(bench)
    assert contents.release is None
    made = pipeline.write_bundle(contents, tmp_path / "x.tar")
    found = pipeline.verify_bundle(made.path)
    assert found.is_right
    assert found.release is None
    assert [claim.name for claim in found.claims] == ["files", "run", "provenance", "materials", "signature"]


def _change(name: str) -> Any:
    return lambda run: (run / name).write_bytes(b"{}")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda run: (run / "manifest.json").unlink(), "no manifest: not a run folder, or a run that is not finished"),
        (shutil.rmtree, "no manifest: not a run folder"),
        (_change(f"export/{NAME}"), f"not what its manifest says: export/{NAME} \\(changed\\); see: edgekd verify"),
        (_change("benchmark/measurements.json"), r"benchmark/measurements.json \(changed\)"),
        (lambda run: (run / "teachers" / "teacher-0.safetensors").unlink(), r"teacher-0.safetensors \(missing\)"),
        (lambda run: (run / "export" / "more.onnx").touch(), r"export/more.onnx \(extra\)"),
        (_change("manifest.json"), "not what edgekd wrote"),
    ],
)
def test_what_does_not_hold_is_not_bundled(finished: Path, spoil: Any, words: str) -> None:
    spoil(finished)
    with pytest.raises(StoreError, match=words) as refused:
        pipeline.collect(finished)
    assert len(str(refused.value).splitlines()) == 1


def test_a_run_without_a_verdict_is_not_finished(finished: Path) -> None:
    listed = json.loads((finished / "manifest.json").read_text())
    del listed["steps"]["gate"], listed["steps"]["report"]
    (finished / "manifest.json").write_text(json.dumps(listed))
    with pytest.raises(StoreError, match="not finished: no gate and no report"):
        pipeline.collect(finished)


def test_a_file_that_changes_meanwhile_leaves_no_bundle(finished: Path, tmp_path: Path) -> None:
    contents = pipeline.collect(finished)
    (finished / "export" / NAME).write_bytes(b"other")
    with pytest.raises(StoreError, match=f"{NAME} changed while it was bundled"):
        pipeline.write_bundle(contents, tmp_path / "x.tar")
    assert [file.name for file in tmp_path.iterdir()] == ["run"]


def test_a_verdict_that_the_gate_does_not_repeat_is_not_bundled(finished: Path, tmp_path: Path) -> None:
    """As of an edgekd that judged otherwise: everything else fits."""
    run_folder = store.RunFolder(finished)
    path = finished / "gate" / "release.json"
    path.write_text(path.read_text().replace('"limit": 1000.0', '"limit": 2000.0'))
    run_folder.finish("gate", "", [path])
    update_manifest(run_folder)
    with pytest.raises(StoreError, match=r"verdict: file_size of student.fp32.onnx has other numbers"):
        pipeline.write_bundle(pipeline.collect(finished), tmp_path / "x.tar")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_leaves_the_earlier_bundle(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "x.tar"
    out.write_bytes(b"earlier")

    def write(_: Any, files: Any) -> Any:
        with Path("/dev/full").open("wb", buffering=0) as full:
            return write_archive(full, files)

    monkeypatch.setattr("edgekd.pipeline.bundling.writing.write_archive", write)
    with pytest.raises(StoreError, match="the disk is full"):
        pipeline.write_bundle(pipeline.collect(finished), out)
    assert out.read_bytes() == b"earlier"
    assert {file.name for file in tmp_path.iterdir()} == {"run", "x.tar"}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of exporters
def test_a_run_as_the_pipeline_makes_it(packaged: Path, recipe: Path, tmp_path: Path) -> None:
    pipeline.run(load_recipe(str(recipe)), folder=packaged)
    made = pipeline.write_bundle(pipeline.collect(packaged), tmp_path / "x.tar")
    found = pipeline.verify_bundle(made.path)
    assert {claim.name: claim.state for claim in found.claims} == {
        **dict.fromkeys(("files", "manifest", "models", "provenance", "materials", "evidence", "verdict"), "ok"),
        "signature": "unchecked",
    }
    packed = [name for name in found.files if name.startswith("package/onnx/")]
    assert len(packed) >= 7
