"""Two runs against each other: which files are pairs, what is shown to differ, and what only seems to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd import stats
from edgekd.records import Budget, Conditions, Measurement, Run
from edgekd.stages.gate import gate
from edgekd.stages.report.differences import Difference, FilePair, differences_between

HOST = Conditions(host="pi", cpu="Cortex-A76", runtime="litert")
RIGHT = np.random.default_rng(0).random(500) < 0.9
LABELS = tuple(np.random.default_rng(1).integers(0, 5, 500).astype(float).tolist())
TIMES = tuple((1e-3 + np.random.default_rng(2).exponential(1e-5, 400)).tolist())


def measured(metric: str, unit: str, samples: Any, **more: Any) -> Measurement:
    known: dict[str, Any] = {
        "model_sha256": "a",
        "model": "s.tflite",
        "format": "tflite",
        "precision": "fp32",
        "role": "student",
        "target": "pi",
        "conditions": HOST,
    }
    return Measurement(metric=metric, unit=unit, samples=tuple(samples), **{**known, **more})


def run_of(*measurements: Measurement, name: str = "one", budgets: tuple[Budget, ...] = ()) -> Run:
    release = gate(measurements, budgets=budgets) if budgets else None
    return Run(name=name, folder=Path(name), recipe="", measurements=measurements, release=release)


def only(before: Measurement, after: Measurement, *more: tuple[Measurement, Measurement]) -> Difference:
    """The difference that two runs of these measurements have in the first."""
    old, new = (run_of(mine, *(pair[side] for pair in more)) for side, mine in enumerate((before, after)))
    (pair,) = differences_between(old, new).pairs
    return next(each for each in pair.differences if each.before or each.after)


@pytest.mark.parametrize(
    ("before", "after", "outcome", "change"),
    [
        (1000.0, 900.0, "better", "\N{MINUS SIGN}10.0 %"),
        (1000.0, 1001.0, "worse", "+0.1 %"),
        (5.0, 5.0, "equal", "+0.0 %"),
    ],
)
def test_sizes_are_exact(before: float, after: float, outcome: str, change: str) -> None:
    found = only(measured("file_size", "B", [before]), measured("file_size", "B", [after]))
    assert (found.outcome, found.change) == (outcome, change)


def test_answers_to_the_same_samples_are_pairs() -> None:
    worse = RIGHT & (np.arange(500) % 20 != 0)
    before, after = (measured("accuracy", "1", each.astype(float)) for each in (RIGHT, worse))
    found = only(before, after)
    interval = stats.gain_interval([after.samples], [before.samples])
    assert found.outcome == "worse"
    assert interval.high < 0
    assert found.change == f"{100 * interval.estimate:+.2f} pt".replace("-", "\N{MINUS SIGN}")
    assert only(after, before).outcome == "better"
    assert only(before, replace(after, samples=before.samples)).outcome == "equal"


def test_a_few_other_answers_prove_nothing() -> None:
    flipped = RIGHT.copy()
    flipped[:2] = ~flipped[:2]
    before, after = (measured("accuracy", "1", each.astype(float)) for each in (RIGHT, flipped))
    found = only(before, after)
    assert (found.outcome, found.why) == ("unknown", "the interval of the difference holds 0")


@pytest.mark.parametrize("labels", [LABELS[::-1], LABELS], ids=["others", "the same"])
def test_other_true_classes_are_other_samples(labels: tuple[float, ...]) -> None:
    worse = RIGHT & (np.arange(500) % 20 != 0)
    before, after = (measured("accuracy", "1", each.astype(float)) for each in (RIGHT, worse))
    recalls = (measured("recall", "1", LABELS, labels=LABELS), measured("recall", "1", LABELS, labels=labels))
    found = only(before, after, recalls)
    expected = ("worse", "") if labels == LABELS else ("unknown", "not the same test samples")
    assert (found.outcome, found.why) == expected


def test_fewer_samples_are_other_samples() -> None:
    before, after = (measured("accuracy", "1", each) for each in ([1.0] * 90 + [0.0] * 10, [0.0] * 90))
    found = only(before, after)
    assert (found.outcome, found.why) == ("unknown", "not the same test samples")


def test_times_of_two_sessions_only_seem_to_differ() -> None:
    slower = measured("latency", "s", (each * 1.2 for each in TIMES))
    found = only(measured("latency", "s", TIMES), slower)
    assert (found.what, found.outcome, found.change) == ("latency p50", "seems worse", "+20.0 %")
    assert only(slower, measured("latency", "s", TIMES)).outcome == "seems better"
    assert only(slower, slower).outcome == "unknown"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"conditions": replace(HOST, threads=4)}, "measured under other conditions: threads"),
        ({"conditions": replace(HOST, tainted="throttled")}, "tainted: throttled"),
        ({"basis": "emulated"}, "measured under other conditions: basis"),
    ],
    ids=str,
)
def test_times_under_other_conditions_prove_nothing(change: dict[str, Any], why: str) -> None:
    found = only(measured("latency", "s", TIMES), measured("latency", "s", (each * 2 for each in TIMES), **change))
    assert (found.outcome, found.why) == ("unknown", why)


def test_few_numbers_prove_nothing() -> None:
    found = only(measured("peak_memory", "B", [1e6]), measured("peak_memory", "B", [2e6]))
    assert (found.outcome, found.why) == ("unknown", "too few measurements for an interval")


def test_what_one_run_measured_is_told_and_compared_with_nothing() -> None:
    size = measured("file_size", "B", [1000.0])
    (pair,) = differences_between(run_of(size), run_of(size, measured("arena_size", "B", [5.0]))).pairs
    assert [(each.what, each.before, each.after, each.why) for each in pair.differences][1] == (
        "arena size",
        "",
        "5 B",
        "measured in one run only",
    )


def named(name: str, precision: str) -> Measurement:
    return measured("file_size", "B", [1.0], model=name, model_sha256=name + precision, precision=precision)


def test_files_are_pairs_by_name_or_where_they_are_alone_in_format_and_precision() -> None:
    before = run_of(named("a", "fp32"), named("b", "fp32"), named("old", "fp16"), named("x", "static_wi8_ai8"))
    after = run_of(named("b", "fp32"), named("c", "fp32"), named("new", "fp16"), named("x", "dynamic_wi8_afp32"))
    found = differences_between(before, after)
    assert [(each.before, each.after) for each in found.pairs] == [("b", "b"), ("a", "c"), ("old", "new")]
    assert (found.only_before, found.only_after) == (("x",), ("x",))
    assert [each.same_bytes for each in found.pairs] == [True, False, False]
    assert found.pairs[2].name == "old → new"


def test_two_files_of_one_kind_without_a_name_in_common_are_no_pairs() -> None:
    found = differences_between(
        run_of(named("a", "fp32"), named("b", "fp32")), run_of(named("c", "fp32"), named("d", "fp32"))
    )
    assert found.pairs == ()
    assert found.only_after == ("c", "d")


def test_checks_stand_side_by_side() -> None:
    def budgets(limit: str, *more: Budget) -> tuple[Budget, ...]:
        return (Budget(metric="file_size", limit=limit), Budget(metric="accuracy", limit="50 %"), *more)

    answers = measured("accuracy", "1", RIGHT.astype(float))
    before = run_of(measured("file_size", "B", [900.0]), answers, budgets=budgets("1 kB"))
    bigger = [
        replace(each, model="t.tflite", model_sha256="b") for each in (measured("file_size", "B", [1100.0]), answers)
    ]
    after = run_of(*bigger, budgets=budgets("1 kB", Budget(metric="accuracy", limit="99 %")))
    found = differences_between(before, after).checks
    assert [(each.what, each.model, each.before, each.after) for each in found] == [
        ("file_size", "t.tflite", "pass", "fail"),
        ("accuracy", "t.tflite", "pass", "pass"),
        ("accuracy", "t.tflite", "", "fail"),
    ]
    assert [each.is_changed for each in found] == [True, False, True]


def test_every_difference_has_one_outcome() -> None:
    one = run_of(measured("file_size", "B", [1.0]), measured("latency", "s", TIMES))
    found = differences_between(one, one)
    pair: FilePair = found.pairs[0]
    assert sum(found.counts.values()) == len(pair.differences)


@pytest.mark.parametrize(("labels", "outcome"), [(LABELS, "worse"), (LABELS[::-1], "unknown")], ids=["same", "others"])
def test_confidences_of_the_same_samples_are_shown_to_be_worse(labels: tuple[float, ...], outcome: str) -> None:
    right = tuple(RIGHT.astype(float).tolist())
    sure, surer = (measured("calibration_error", "1", [each] * 500, labels=right) for each in (0.9, 0.4))
    recalls = (measured("recall", "1", LABELS, labels=LABELS), measured("recall", "1", LABELS, labels=labels))
    found = only(sure, surer, recalls)
    assert (found.what, found.outcome, found.after[-2:]) == ("calibration error", outcome, "pt")
