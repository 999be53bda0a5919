"""A baseline is found wherever it is kept, and said to be missing in one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgekd import store
from edgekd.errors import StoreError
from edgekd.pipeline import open_run
from edgekd.pipeline.baseline import find_baseline, promote, write_baseline
from edgekd.pipeline.baseline.file import MOST_BYTES
from edgekd.records import Baseline, Release

MakeRun = Callable[..., Path]
RELEASE = Release(model_sha256s=(), checks=())


def keep(run: Path, out: str = ".edgekd/baseline.json") -> Baseline:
    baseline = promote(open_run(run), RELEASE)
    write_baseline(Path(out), baseline)
    return baseline


def commit(message: str) -> None:
    subprocess.run(["git", "add", ".edgekd"], check=True)
    subprocess.run(["git", "commit", "--quiet", "--message", message], check=True)


def refused(text: str) -> str:
    with pytest.raises(StoreError) as caught:
        find_baseline(text)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_what_is_promoted_holds_what_a_later_gate_needs(make_run: MakeRun) -> None:
    run = make_run("v1", operators=("Relu", "Relu", "Abs"))
    kept = promote(open_run(run), RELEASE)
    write_baseline(Path(".edgekd/baseline.json"), kept)
    (file,) = kept.files
    assert dict(file.operators) == {"Abs": 1, "Add": 1, "Relu": 2}
    assert file.path == "runs/v1/export/student.fp32.onnx"
    assert (file.sha256, file.size_bytes) == (store.sha256_of(Path(file.path)), Path(file.path).stat().st_size)
    assert (kept.name, kept.data, kept.test_split) == ("v1", "da7a", "7e57")
    assert kept.recipe == (run / "recipe.toml").read_text()
    assert kept.teachers == {"teacher-0": "7eac"}
    assert kept.environment["onnxruntime"] == "1.20"
    assert {each.metric for each in kept.measurements} == {"file_size", "accuracy", "latency", "peak_memory"}
    assert kept.commit == ""
    assert find_baseline(".edgekd/baseline.json").baseline == kept


def test_it_is_found_in_folders_and_files(make_run: MakeRun) -> None:
    run = make_run("v1")
    kept = keep(run, "kept/release.json")
    samples = {each.metric: each.samples for each in kept.measurements}
    for text in ("runs/v1", "runs/v1/", "runs/v1/manifest.json", "kept/release.json"):
        found = find_baseline(text)
        assert found.baseline.name == "v1"
        assert {each.metric: each.samples for each in found.baseline.measurements} == samples
        assert found.places["student.fp32.onnx"].samefile(run / "export" / "student.fp32.onnx")
    # A folder in which one was promoted.
    keep(run)
    assert find_baseline(".").baseline.promoted_at
    assert find_baseline(".edgekd").source == ".edgekd/baseline.json"


def test_a_benchmark_of_files_and_files_alone_are_releases_too(make_run: MakeRun) -> None:
    run = make_run("v1")
    bench = Path("bench")
    bench.mkdir()
    shutil.copy(run / "export" / "measurements.json", bench / "measurements.json")
    found = find_baseline("bench").baseline
    assert [each.name for each in found.files] == ["student.fp32.onnx"]
    assert (found.data, found.environment) == ("", {})
    shutil.copytree(run / "export", "models", ignore=shutil.ignore_patterns("*.json"))
    found = find_baseline("models").baseline
    assert {each.metric for each in found.measurements} >= {"file_size", "compressed_size"}


def test_it_is_found_at_a_commit(make_run: MakeRun, empty_repository: Path) -> None:
    keep(make_run("v1"))
    commit("first")
    subprocess.run(["git", "tag", "v1.0.0"], check=True)
    keep(make_run("v2", bias=1.0))
    keep(Path("runs/v1"), ".edgekd/other.json")
    commit("second")
    (empty_repository / ".edgekd" / "baseline.json").write_text("not committed")
    assert find_baseline("v1.0.0").baseline.name == "v1"
    assert find_baseline("HEAD").baseline.name == "v2"
    found = find_baseline("main:.edgekd/other.json")
    assert found.baseline.name == "v1"
    assert found.title.startswith("v1 (main:.edgekd/other.json, commit ")
    # The file lies where it lay, so that it can be compared with.
    assert found.places["student.fp32.onnx"] == Path("runs/v1/export/student.fp32.onnx")
    shutil.rmtree("runs/v1")
    assert find_baseline("v1.0.0").places == {}


def test_a_file_of_that_name_goes_before_a_branch(make_run: MakeRun, empty_repository: Path) -> None:
    keep(make_run("v1"))
    commit("first")
    keep(make_run("v2", bias=1.0), "main")
    assert find_baseline("main").baseline.name == "v2"
    assert (empty_repository / "main").is_file()


def test_a_file_that_changed_since_is_not_where_it_lay(make_run: MakeRun) -> None:
    run = make_run("v1")
    keep(run)
    (run / "export" / "student.fp32.onnx").write_bytes(b"other")
    assert find_baseline(".edgekd/baseline.json").places == {}
    assert "not the file that was measured" in refused("runs/v1")


@pytest.mark.usefixtures("empty_repository")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("v9.9.9", "no baseline 'v9.9.9': there is no such file or folder, and as a git ref: no such git ref"),
        ("--output=x", "as a git ref: '--output=x' is no git ref"),
        ("runs/gone", "there is no such file or folder, and as a git ref: no such git ref 'runs/gone'"),
        ("", "a run folder, a baseline.json, a manifest.json"),
        ("a\nb", r"no baseline: 'a\nb'"),
        ("x" * 5000, "no such git ref"),
        ("http://example.org/baseline.json", "'http' is not allowed here"),
        ("s3://bucket/baseline.json", "'s3' is not allowed here"),
    ],
)
def test_what_is_nowhere_is_said_with_what_was_tried(text: str, words: str) -> None:
    assert words in refused(text)


def test_what_is_there_but_no_baseline_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("key").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n")
    assert refused("key") == "key: no baseline: it is not JSON, or was cut off; promote the run again"
    Path("empty").mkdir()
    assert "neither a run folder nor one with .onnx or .tflite files" in refused("empty")
    os.mkfifo("pipe")
    assert "pipe: no regular file" in refused("pipe")
    assert "no regular file" in refused("/dev/zero")
    with Path("large.json").open("wb") as large:
        large.truncate(MOST_BYTES + 1)
    assert f"allowed: at most {MOST_BYTES}" in refused("large.json")
    Path("manifest.json").write_text("{}")
    assert "neither a run folder" in refused("manifest.json")


def test_names_that_would_be_commands_are_refused(make_run: MakeRun) -> None:
    kept = keep(make_run("v1"))
    table = json.loads(Path(".edgekd/baseline.json").read_text())
    table |= {"name": "v1\n::error::gone"}
    del table["sha256"]
    Path("other.json").write_text(json.dumps(table | {"sha256": store.fingerprint(table)}))
    assert "is a name that can't be printed" in refused("other.json")
    assert kept.name == "v1"


@pytest.mark.parametrize("path", ["/etc/passwd", "../../etc/passwd"])
def test_no_place_outside_is_looked_at(make_run: MakeRun, path: str) -> None:
    keep(make_run("v1"))
    table = json.loads(Path(".edgekd/baseline.json").read_text())
    table["files"][0] |= {"path": path, "sha256": store.sha256_of(Path("/etc/passwd"))}
    del table["sha256"]
    Path("other.json").write_text(json.dumps(table | {"sha256": store.fingerprint(table)}))
    assert find_baseline("other.json").places == {}


def test_what_can_t_be_released_is_not_promoted(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("v1")
    once = open_run(run)
    with pytest.raises(StoreError, match=r"two files are called 'student\.fp32\.onnx'"):
        promote(replace(once, models=once.models * 2), RELEASE)
    (tmp_path / "torch" / "distill").mkdir(parents=True)
    (tmp_path / "torch" / "recipe.toml").touch()
    with pytest.raises(StoreError, match=r"no \.onnx or \.tflite files, so nothing to release"):
        promote(open_run(tmp_path / "torch"), RELEASE)
