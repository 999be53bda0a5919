"""A run holds its files against its targets before it measures them there."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekd import pipeline

pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("packaged")  # only what is after the export is done again
Run = Callable[..., pipeline.Outcome]
OLD = 'description = "an old phone"\nruntimes = ["onnxruntime"]\nruntime_versions = { onnxruntime = "1.16.3" }\n'


@pytest.fixture
def targets(recipe: Path) -> str:
    """This machine, one whose ONNX Runtime is too old, and a chip that reads no ONNX."""
    (recipe.parent / "old.toml").write_text(OLD)
    return "benchmark.targets=['host', './old.toml', 'cortex-m4']"


def test_a_file_is_not_measured_where_lint_says_that_it_does_not_run(
    run: Run, targets: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="edgekd"):
        outcome = run(targets, until="report")
    errors = [each for each in outcome.run.findings if each.severity == "error"]
    # The chip is for other files: that it reads no ONNX is no finding of this recipe.
    assert {(each.rule, each.model, each.target) for each in errors} == {("format_version", "student.fp32.onnx", "old")}
    assert {each.target for each in outcome.run.measurements if each.metric == "latency"} == {"host"}
    said = [line for line in caplog.messages if line.startswith("lint: student.fp32.onnx is not measured on old: ")]
    assert len(said) == len(set(said)) > 0
    folder = outcome.run.folder
    page = (folder / "report" / "report.html").read_text()
    assert errors[0].next_step in page
    assert json.loads((folder / "report" / "report.json").read_text())["findings"][0]["rule"] == "format_version"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert [each["target"] for each in manifest["findings"]] == ["old"] * len(outcome.run.findings)
    assert "## On targets" in (folder / "package/onnx/student.fp32/README.md").read_text()


def test_a_budget_on_such_a_target_refuses_the_release(run: Run, targets: str) -> None:
    budget = "budgets=[{ metric='latency', limit='1 s', target='old' }]"
    release = run(targets, budget, until="gate").run.release
    assert release is not None
    assert release.status == "unmeasured"


def test_a_file_that_no_target_reads_is_said(run: Run) -> None:
    findings = run("benchmark.targets=['cortex-m4']", until="lint").run.findings
    assert [(each.rule, each.target) for each in findings] == [("no_runtime", "cortex-m4")]


def test_lint_is_done_again_for_other_targets_only(run: Run, targets: str) -> None:
    assert run(until="lint").made == ()
    assert run("benchmark.runs=30", until="lint").made == ()
    assert run(targets, until="lint").made == ("lint",)
