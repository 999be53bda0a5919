"""What a baseline keeps of a run: all that a later gate is judged by, and of each sample no more than that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgekd.pipeline import open_run, promote
from edgekd.records import Budget, GateSpec, Release
from tests.finished import make_run


@pytest.mark.parametrize(
    ("metric", "kept"),
    [("recall_drop", True), ("mcc_drop", True), ("macro_f1_drop", True), ("accuracy_drop", False), ("mcc", False)],
)
def test_classes_are_kept_where_a_budget_against_the_baseline_needs_them(
    metric: str, kept: bool, tmp_path: Path
) -> None:
    run = open_run(make_run(tmp_path / "run"))
    shipped = next(each for each in run.measurements if each.role == "student" and each.metric == "accuracy")
    classes = replace(shipped, metric="recall", samples=(0.0, 1.0), labels=(0.0, 1.0))
    spec = GateSpec(budgets=(Budget(metric=metric, reference="baseline", limit="0.02"),))
    found = promote(
        replace(run, measurements=(*run.measurements, classes)), Release(model_sha256s=(), checks=()), spec=spec
    )
    assert ("recall" in {each.metric for each in found.measurements}) == kept
    assert "accuracy" in {each.metric for each in found.measurements}
