"""Classes against scikit-learn's confusion matrix, recall and precision, and what no classifier can have said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd import stats
from edgekd.errors import MeasurementError
from edgekd.records import Budget, Measurement, Run
from edgekd.stages.gate import gate
from edgekd.stages.report import report
from edgekd.stages.report.classes import FILES_SHOWN, LARGEST_MATRIX, ROWS_SHOWN, Classes, classes_of

Make = Callable[..., Run]
NAMES = ("cat", "dog", "cow", "hen", "fox")


def answered(
    labels: NDArray[Any],
    predicted: NDArray[Any],
    *,
    precision: str = "fp32",
    parts: tuple[str, ...] = NAMES,
    **more: Any,
) -> Measurement:
    known: dict[str, Any] = {
        "model_sha256": precision,
        "model": f"student.{precision}.onnx",
        "format": "onnx",
        "role": "student",
        "target": "host",
        "metric": "recall",
        "unit": "1",
    }
    return Measurement(
        precision=precision,
        samples=tuple(predicted.astype(float).tolist()),
        labels=tuple(labels.astype(float).tolist()),
        parts=parts,
        **{**known, **more},
    )


def found_in(*measurements: Measurement, budgets: tuple[Budget, ...] = ()) -> Classes:
    release = gate(measurements, budgets=budgets) if budgets else None
    found = classes_of(Run(name="r", folder=Path(), recipe="", measurements=measurements, release=release))
    assert found is not None
    return found


def drawn(count: int, classes: int, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Labels, and predictions of which some are wrong."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    return labels, np.where(rng.random(count) < 0.8, labels, rng.integers(0, classes, count))


def test_counts_recall_and_precision_are_scikit_learn_s() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="no scikit-learn: install the extra 'train'")
    labels, predicted = drawn(400, 5)
    (file,) = found_in(answered(labels, predicted)).files
    assert file.names == NAMES
    np.testing.assert_array_equal(file.counts, metrics.confusion_matrix(labels, predicted))
    recalls = dict(zip(NAMES, metrics.recall_score(labels, predicted, average=None), strict=True))
    precisions = dict(zip(NAMES, metrics.precision_score(labels, predicted, average=None), strict=True))
    assert {each.name: each.recall.value for each in file.classes if each.recall} == pytest.approx(recalls)
    assert {each.name: each.precision.value for each in file.classes if each.precision} == pytest.approx(precisions)
    assert [each.name for each in file.classes] == sorted(NAMES, key=lambda name: recalls[name])
    worst = file.classes[0]
    assert worst.recall
    hits = round(worst.recall.value * worst.samples)
    interval = stats.proportion_interval(hits, worst.samples)
    assert (worst.recall.low, worst.recall.high) == (interval.low, interval.high)


def test_mistakes_are_the_cells_beside_the_diagonal_the_most_frequent_first() -> None:
    labels, predicted = drawn(500, 5, seed=1)
    (file,) = found_in(answered(labels, predicted)).files
    matrix = np.array(file.counts)
    np.fill_diagonal(matrix, 0)
    cells = {(NAMES[i], NAMES[j]): int(matrix[i, j]) for i in range(5) for j in range(5) if matrix[i, j]}
    assert {(each.true, each.predicted): each.count for each in file.mistakes} == cells
    assert [each.count for each in file.mistakes] == sorted(cells.values(), reverse=True)


def test_drops_are_against_the_float32_file_of_the_same_samples() -> None:
    labels, predicted = drawn(300, 5, seed=2)
    worse = np.where((labels == 3) & (np.arange(300) % 2 == 0), 0, predicted)
    found = found_in(answered(labels, predicted), answered(labels, worse, precision="static_wi8_ai8"))
    first, second = found.lines
    assert (first.reference, first.lost) == ("", None)
    assert second.reference == "student.fp32.onnx"
    assert second.lost
    assert second.lost.name == "hen"
    of_hens = labels == 3
    lost = (predicted == labels)[of_hens].mean() - (worse == labels)[of_hens].mean()
    drop = second.lost.drop
    assert drop
    assert drop.low is not None
    assert drop.value == pytest.approx(lost)
    assert drop.low > 0
    drops = {each.name: each.drop.value for file in found.files for each in file.classes if each.drop}
    assert {name: value for name, value in drops.items() if name != "hen"} == dict.fromkeys(set(NAMES) - {"hen"}, 0.0)


def test_scores_of_all_classes_are_scikit_learn_s() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="no scikit-learn: install the extra 'train'")
    labels, predicted = drawn(300, 5, seed=4)
    (line,) = found_in(answered(labels, predicted)).lines
    assert line.macro_f1
    assert line.mcc
    assert line.macro_f1.value == pytest.approx(metrics.f1_score(labels, predicted, average="macro"))
    assert line.mcc.value == pytest.approx(metrics.matthews_corrcoef(labels, predicted))
    for figure in (line.macro_f1, line.mcc):
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low < figure.value < figure.high
    (alone,) = found_in(answered(labels[:1], predicted[:1])).lines
    assert (alone.macro_f1, alone.mcc) == (None, None)


def test_files_that_answered_other_samples_are_not_compared() -> None:
    labels, predicted = drawn(300, 5)
    others = answered(np.roll(labels, 1), predicted, precision="static_wi8_ai8")
    assert [each.reference for each in found_in(answered(labels, predicted), others).lines] == ["", ""]


def test_the_format_and_target_of_the_reference_are_the_file_s_own_if_they_can_be() -> None:
    labels, predicted = drawn(100, 5)
    same: dict[str, Any] = {"format": "tflite", "model": "student.fp32.tflite", "model_sha256": "t"}
    lines = found_in(
        answered(labels, predicted),
        answered(labels, predicted, target="pi"),
        answered(labels, predicted, **same),
        answered(labels, predicted, precision="static_wi8_ai8", format="tflite", target="pi"),
    ).lines
    assert lines[-1].reference == "student.fp32.tflite"


def test_an_output_that_is_no_number_is_no_class_and_a_class_without_samples_is_not_the_worst() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2])
    (file,) = found_in(answered(labels, np.array([0, 5, 1, 3, 2, 2]))).files
    assert file.names == ("cat", "dog", "cow", "hen", "no class")
    by_name = {each.name: each for each in file.classes}
    assert by_name["hen"].recall is None
    assert by_name["no class"].samples == 0
    assert by_name["no class"].predicted == 1
    assert file.classes[0].name in ("cat", "dog")


def test_classes_of_one_name_stay_apart() -> None:
    labels, predicted = drawn(60, 2)
    (file,) = found_in(answered(labels, predicted, parts=("cat", "cat"))).files
    assert file.names == ("cat (0)", "cat (1)")


def test_very_many_classes_take_bounded_room() -> None:
    labels, predicted = drawn(20_000, 1000)
    big = [answered(labels, predicted, precision=f"p{number}", parts=()) for number in range(6)]
    found = found_in(*big)
    assert len(found.lines) == 6
    assert len(found.files) == FILES_SHOWN
    assert sum(len(each.classes) for each in found.files) <= ROWS_SHOWN
    assert all(not each.counts and len(each.names) > LARGEST_MATRIX for each in found.files)
    assert all(len(each.mistakes) == 30 for each in found.files)


def test_numbers_of_classes_may_be_huge() -> None:
    labels = np.array([0.0, 1e12, 1e12])
    (file,) = found_in(answered(labels, labels, parts=())).files
    assert file.names == ("0", "1000000000000")


def test_files_that_most_checks_are_about_are_shown() -> None:
    labels, predicted = drawn(100, 5)
    files = [answered(labels, predicted, precision=f"p{number}") for number in range(6)]
    budgets = tuple(Budget(metric="recall", precision=each, limit="10 %") for each in ("p4", "p5"))
    assert [each.model for each in found_in(*files, budgets=budgets).files[:2]] == [
        "student.p4.onnx",
        "student.p5.onnx",
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"labels": (0.0,)},
        {"samples": (0.5, 1.0)},
        {"samples": (-1.0, 1.0)},
        {"samples": (float("nan"), 1.0)},
        {"labels": (float("inf"), 1.0)},
    ],
    ids=str,
)
def test_what_are_no_classes_is_refused(change: dict[str, Any]) -> None:
    good = answered(np.array([0, 1]), np.array([0, 1]))
    with pytest.raises(MeasurementError, match="not as many classes"):
        found_in(replace(good, **change))


def test_ten_samples_are_too_few_for_a_calibration_error_and_no_reason_to_fail(tmp_path: Path) -> None:
    labels, predicted = drawn(10, 3)
    sure = replace(answered(labels, np.full(10, 0.5)), metric="calibration_error", labels=(1.0,) * 10, parts=())
    run = Run(name="few", folder=Path(), recipe="", measurements=(answered(labels, predicted), sure))
    assert "Calibration error" in report(run, folder=tmp_path).html_path.read_text(encoding="utf-8")


def test_the_page_has_classes_in_words_and_escapes_their_names(fleet: Make, tmp_path: Path) -> None:
    bad = "</script><img src=x onerror=alert(1)>"
    run = fleet()
    names = tuple(bad + each for each in run.measurements[2].parts) or NAMES
    renamed = tuple(replace(each, parts=names) if each.metric == "recall" else each for each in run.measurements)
    html = report(replace(run, measurements=renamed), folder=tmp_path).html_path.read_text(encoding="utf-8")
    assert 'id="chart-confusion"' in html
    assert 'id="chart-reliability"' in html
    assert "<img src=x" not in html
    assert html.lower().count("</script>") == 3


def test_a_run_of_no_classifier_has_no_such_section(distilled: Make, tmp_path: Path) -> None:
    html = report(distilled(), folder=tmp_path).html_path.read_text(encoding="utf-8")
    assert 'id="classes"' not in html
