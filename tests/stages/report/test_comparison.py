"""Rows: what ships, its teachers and one control, in the metric that the run is about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from edgekd.records import Conditions, Measurement, Run
from edgekd.stages.report import report
from edgekd.stages.report.comparison import summary_rows
from edgekd.stages.report.latency import latencies
from edgekd.units import METRICS

Make = Callable[[], Run]


def test_other_seeds_are_left_out_and_controls_are_one_row(distilled: Make) -> None:
    run = distilled()
    rows = summary_rows(run)
    assert [(row.model, row.role, row.seeds) for row in rows] == [
        ("teacher-0", "teacher", 1),
        ("teacher-1", "teacher", 1),
        ("assistant-0", "assistant", 1),
        ("control", "control", 3),
        ("student", "student", 1),
    ]
    control, student = rows[-2:]
    assert control.score is not None
    assert control.drop is not None
    assert control.score.value == pytest.approx(np.mean([0.872, 0.878, 0.875]))
    assert control.drop.value == pytest.approx(0.931 - 0.875)
    # The mean of three seeds is no share of samples: the interval is in the section on the gain.
    assert (control.score.low, control.drop.low) == (None, None)
    # The shipped student keeps its row, though one of the seeds is the same file.
    assert student.score is not None
    assert student.score.value == pytest.approx(0.893)
    assert [each.target for each in student.targets] == ["training"]


def test_seeds_whose_files_are_listed_are_left_out_too(distilled: Make) -> None:
    run = distilled()
    student = run.models[-1]
    seeds = tuple(replace(student, name=f"student-seed-{i}", role="repeat", sha256=str(i)) for i in range(3))
    controls = tuple(
        replace(student, name=each.model, role="control", sha256=each.model_sha256)
        for each in run.measurements
        if each.role == "control"
    )
    rows = summary_rows(replace(run, models=(*run.models, *seeds, *controls)))
    assert [row.model for row in rows] == ["teacher-0", "teacher-1", "assistant-0", "control", "student"]
    assert (rows[3].parameters, rows[3].size) == (78_042, student.size_bytes)


def test_one_control_is_a_row_like_others(distilled: Make) -> None:
    run = distilled()
    kept = tuple(each for each in run.measurements if each.model not in ("control-seed-0", "control-seed-1"))
    (row,) = [row for row in summary_rows(replace(run, measurements=kept)) if row.role == "control"]
    assert (row.model, row.seeds) == ("control-seed-2", 1)
    assert row.score is not None
    assert row.score.low is not None


def of_metric(metric: str, name: str, samples: np.ndarray, labels: np.ndarray | None = None) -> Measurement:
    return Measurement(
        model_sha256=name,
        model=name,
        format="onnx",
        precision="fp32",
        role="teacher" if name == "teacher" else "student",
        target="host",
        metric=metric,
        unit="1",
        samples=tuple(samples.tolist()),
        labels=() if labels is None else tuple(labels.tolist()),
    )


def test_errors_are_means_and_a_larger_one_is_a_drop() -> None:
    generator = np.random.default_rng(0)
    teacher, student = generator.gamma(1, 0.02, 400), generator.gamma(1, 0.03, 400)
    measurements = [
        of_metric(metric, name, values)
        for name, values in (("teacher", teacher), ("student", student))
        for metric in ("mean_absolute_error", "mean_squared_error")
    ]
    _, row = summary_rows(Run(name="", folder=Path(), recipe="", measurements=tuple(measurements)))
    assert row.metric == "mean_squared_error"
    assert row.score is not None
    assert row.drop is not None
    assert row.score.value == pytest.approx(student.mean(), rel=1e-12)
    assert row.drop.value == pytest.approx(student.mean() - teacher.mean(), rel=1e-9)
    assert row.score.low is not None
    assert row.score.high is not None
    assert row.score.low < row.score.value < row.score.high


def test_areas_are_those_of_scikit_learn() -> None:
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 2, 300)
    teacher, student = (generator.normal(0, 1, 300) + shift * labels for shift in (2.0, 1.0))
    run = Run(
        name="",
        folder=Path(),
        recipe="",
        measurements=(of_metric("auc", "teacher", teacher, labels), of_metric("auc", "student", student, labels)),
    )
    first, row = summary_rows(run)
    one, two = roc_auc_score(labels, teacher), roc_auc_score(labels, student)
    assert first.score is not None
    assert row.score is not None
    assert row.drop is not None
    assert [first.score.value, row.score.value] == pytest.approx([one, two], abs=1e-12)
    assert row.drop.value == pytest.approx(one - two, abs=1e-12)
    assert row.drop.low is not None
    assert row.drop.low < row.drop.value


def test_scores_between_0_and_1_are_means_not_proportions() -> None:
    values = np.random.default_rng(2).choice([0.0, 0.5, 2 / 3, 1.0], 200)
    run = Run(name="", folder=Path(), recipe="", measurements=(of_metric("f1", "student", values),))
    (row,) = summary_rows(run)
    assert row.metric == "f1"
    assert row.score is not None
    assert row.score.value == pytest.approx(values.mean(), rel=1e-12)
    assert row.score.high is not None
    assert row.score.value < row.score.high <= 1


def estimated(metric: str, value: float) -> Measurement:
    return Measurement(
        model_sha256="5e1f",
        model="student.tflite",
        format="tflite",
        precision="static_wi8_ai8",
        role="student",
        target="ethos-u55-128",
        metric=metric,
        unit=METRICS[metric].unit,
        samples=(value,),
        basis="estimated",
        conditions=Conditions(runtime="vela", delegate="ethos-u55-128, Ethos_U55_High_End_Embedded, Shared_Sram"),
    )


def test_estimates_are_one_number_each_with_the_configuration_they_hold_for() -> None:
    values = {"latency": 403e-6, "sram_size": 51_840.0, "dram_size": 9.0, "flash_size": 79_248.0, "npu_share": 1.0}
    run = Run(
        name="bench",
        folder=Path(),
        recipe="",
        measurements=tuple(estimated(metric, value) for metric, value in values.items()),
    )
    (row,) = summary_rows(run)
    (place,) = row.targets
    assert place.detail == "ethos-u55-128, Ethos_U55_High_End_Embedded, Shared_Sram"
    figures = (place.p50, place.sram, place.dram, place.flash, place.npu)
    assert [figure.value for figure in figures if figure] == [*values.values()]
    assert {figure.basis for figure in figures if figure} == {"estimated"}
    assert (place.p90, place.arena, place.score) == (None, None, None)
    # Charts of every run have nothing to draw of it.
    assert latencies(run.measurements, [row]) == []


def test_the_page_marks_estimates_and_shows_the_configuration(tmp_path: Path) -> None:
    found = (estimated("latency", 403e-6), estimated("sram_size", 51_840.0), estimated("npu_share", 0.875))
    report(Run(name="bench", folder=tmp_path, recipe="", measurements=found), folder=tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "Ethos_U55_High_End_Embedded, Shared_Sram" in page
    assert "87.50 % of operators on the accelerator" in page
    assert page.count('<span class="basis">estimated</span>') == 2
