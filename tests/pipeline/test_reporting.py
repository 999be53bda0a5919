"""Reports of folders: as Markdown with the gate's own verdict, and of two runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgekd import store
from edgekd.errors import StoreError
from edgekd.pipeline.folder import open_run
from edgekd.pipeline.reporting import compare_runs, markdown_report
from edgekd.records import Budget, Measurement
from edgekd.stages.gate import gate


def measured(size: float) -> Measurement:
    known: dict[str, Any] = {"format": "onnx", "precision": "fp32", "role": "student", "target": "file"}
    return Measurement(model_sha256="a", model="m.onnx", metric="file_size", unit="B", samples=(size,), **known)


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """What `edgekd bench --out` leaves."""
    store.write_json(tmp_path / "one" / "measurements.json", [measured(1000.0)])
    store.write_json(tmp_path / "two" / "measurements.json", [measured(900.0)])
    return tmp_path


def run_folder(folder: Path, epochs: int) -> Path:
    store.write_json(folder / "benchmark" / "measurements.json", [measured(1000.0)])
    store.RunFolder(folder).finish("benchmark", "", [folder / "benchmark" / "measurements.json"])
    (folder / "recipe.toml").write_text(f"[distill]\nepochs = {epochs}\n")
    store.write_json(folder / "overrides.json", ["distill.seed=3"])
    store.write_json(folder / "environment.json", {"numpy": "2.1" if epochs == 3 else "2.2"})
    release = gate([measured(1000.0)], budgets=[Budget(metric="file_size", limit="1 kB" if epochs == 3 else "900 B")])
    store.write_json(folder / "gate" / "release.json", release)
    store.RunFolder(folder).finish("gate", "", [folder / "gate" / "release.json"])
    return folder


def test_benchmarks_are_compared_and_the_page_goes_to_the_later_one(bench: Path) -> None:
    made = compare_runs(bench / "one", bench / "two")
    assert made.html_path == bench / "two" / "comparison" / "comparison.html"
    assert made.differences.counts["better"] == 1
    assert made.differences.checks == ()


def test_recipes_tools_and_verdicts_of_runs_are_told(tmp_path: Path) -> None:
    before, after = run_folder(tmp_path / "one", 60), run_folder(tmp_path / "two", 3)
    found = compare_runs(before, after, folder=tmp_path / "out").differences
    changes = {each.what: (each.before, each.after) for each in found.changes}
    assert changes["recipe: distill.epochs"] == ("60", "3")
    assert changes["tool numpy"] == ("2.2", "2.1")
    assert (found.before_status, found.after_status) == ("fail", "pass")
    assert [(each.before, each.before_limit, each.after) for each in found.checks] == [("fail", "900 B", "pass")]


def test_what_is_no_run_is_refused(bench: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not a run folder"):
        compare_runs(bench / "one", tmp_path)


def test_markdown_begins_with_the_verdict_that_ci_is_told(tmp_path: Path) -> None:
    text = markdown_report(open_run(run_folder(tmp_path / "one", 60)))
    assert text.startswith("<!-- edgekd gate -->\n## edgekd gate: ❌ fail")
    assert "### Files" in text
    assert len(markdown_report(open_run(tmp_path / "one"), limit_bytes=1500).encode()) <= 1500
