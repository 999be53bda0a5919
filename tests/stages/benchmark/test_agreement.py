"""Predictions held against each other, on samples that both sides saw."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.records import Measurement
from edgekd.stages.benchmark.agreement import Predicted, agreements, predictions_of, teacher_agreements

SCORE = Measurement(
    model_sha256="a", model="m.tflite", format="tflite", precision="fp32", role="student", target="host",
    metric="accuracy", unit="1", samples=(1.0,),
)  # fmt: skip


def predicted(target: str, indices: list[int], predictions: NDArray[np.float32], model: str = "m.tflite") -> Predicted:
    score = replace(SCORE, target=target, model=model, labels=(1.0,))
    return Predicted(indices=np.array(indices, np.intp), predictions=predictions, score=score)


def classes(*found: float) -> NDArray[np.float32]:
    return np.array(found, np.float32)[:, None]


def test_only_samples_that_both_saw_count() -> None:
    here, there = (
        predicted("host", [0, 2, 4, 6], classes(1, 2, 3, 4)),
        predicted("pi", [1, 2, 6, 7], classes(9, 2, 5, 4)),
    )
    (found,) = agreements([there, here])
    assert (found.target, found.metric, found.samples, found.labels) == ("pi", "agreement", (1.0, 0.0), ())


@pytest.mark.parametrize(
    "others",
    [
        [],
        [predicted("pi", [0], classes(1), model="other.tflite")],
        [predicted("pi", [1], classes(1))],
    ],
)
def test_nothing_to_hold_against_each_other_is_nothing(others: list[Predicted]) -> None:
    assert agreements([predicted("host", [0], classes(1)), *others]) == []
    assert agreements(others) == []


def test_sets_of_labels_agree_as_a_whole() -> None:
    outputs = np.array([[2.0, -1.0, 0.5], [2.0, -1.0, -0.5], [np.nan, 1.0, 1.0]], np.float32)
    here, there = (predictions_of(each, "multi_label") for each in (outputs, outputs * np.array([[3], [-1], [1]], "f")))
    assert here is not None
    assert there is not None
    (found,) = agreements([predicted("host", [0, 1, 2], here), predicted("pi", [0, 1, 2], there)])
    # What is no number predicts nothing, here as there.
    assert found.samples == (1.0, 0.0, 0.0)


def test_values_are_no_predictions() -> None:
    assert predictions_of(np.zeros((2, 3), np.float32), "regression") is None
    assert predictions_of(np.zeros((2, 3), np.float32), "reconstruction") is None


def answers(rows: NDArray[np.int64], *, labels: tuple[float, ...]) -> list[Measurement]:
    return [replace(SCORE, metric="recall", samples=tuple(map(float, row)), labels=labels) for row in rows]


@pytest.mark.parametrize("teachers", [1, 2, 3, 5])
def test_files_are_held_against_the_class_that_most_teachers_give(teachers: int) -> None:
    generator = np.random.default_rng(teachers)
    labels = tuple(map(float, generator.integers(0, 4, 200)))
    taught, given = generator.integers(0, 4, (teachers, 200)), generator.integers(0, 4, (1, 200))
    (file,) = answers(given, labels=labels)
    other = replace(file, metric="calibration_error")
    (found,) = teacher_agreements([other, file], answers(taught, labels=labels))
    # Counter keeps the order in which it met what is equally often there.
    expected = [
        float(Counter(column).most_common(1)[0][0] == one) for column, one in zip(taught.T, given[0], strict=True)
    ]
    assert found == replace(file, metric="teacher_agreement", samples=tuple(expected), labels=())
    assert 0 < sum(expected) < 200


def test_files_that_saw_other_samples_are_not_held_against_teachers() -> None:
    labels = (0.0, 1.0)
    (file,), taught = answers(np.array([[0, 1]]), labels=labels), answers(np.array([[0, 1, 1]]), labels=(*labels, 1.0))
    assert teacher_agreements([file], taught) == []
    assert teacher_agreements([file], []) == []
