"""A file against that of the last release."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from edgekd import units
from edgekd.records import Budget, Check, Comparison, Conditions, Measurement, Turns
from edgekd.stages.gate import gate

HOST = Conditions(cpu="one", arch="x86_64", runtime="litert", runtime_version="2.3", threads=1)


def _measured(metric: str, *samples: float, sha: str = "new", **more: Any) -> Measurement:
    measured = Measurement(
        model_sha256=sha, model="student.fp32.tflite", format="tflite", precision="fp32", role="student", target="host",
        metric=metric, unit=units.METRICS[metric].unit, samples=samples,
    )  # fmt: skip
    return replace(measured, **more)


def _check(budget: Budget, new: Measurement, old: Measurement | None, *comparisons: Comparison) -> Check:
    (check,) = gate([new], budgets=[budget], baseline=[old] if old else [], comparisons=comparisons).checks
    return check


@pytest.mark.parametrize(
    ("limit", "status"), [("9 %", "fail"), ("10 %", "pass"), ("9 kB", "fail"), ("10 kB", "pass"), ("10240 B", "pass")]
)
def test_sizes_are_exact(limit: str, status: str) -> None:
    budget = Budget(metric="file_size_increase", limit=limit)
    check = _check(budget, _measured("file_size", 110_000), _measured("file_size", 100_000, sha="old"))
    assert check.status == status, check.reason
    assert check.observed == pytest.approx(0.1 if "%" in limit else 10_000)
    assert "increase over student.fp32.tflite of the last release" in check.reason


def test_accuracy_is_paired_on_the_same_samples() -> None:
    old = _measured("accuracy", *[1.0] * 950, *[0.0] * 50, sha="old")
    new = _measured("accuracy", *[1.0] * 940, *[0.0] * 60)
    budget = Budget(metric="accuracy_drop", reference="baseline", limit="3 pt")
    check = _check(budget, new, old)
    assert check.status == "pass"
    assert check.observed == pytest.approx(0.01)
    fewer = replace(old, samples=old.samples[:500])
    assert _check(budget, new, fewer).reason == "measured on other samples: 1000 here, 500 of the last release"
    other = replace(old, labels=(1.0,) * 1000)
    assert "their labels differ" in _check(budget, replace(new, labels=(0.0,) * 1000), other).reason


def test_without_a_last_release_it_is_unmeasured() -> None:
    check = _check(Budget(metric="file_size_increase", limit="1 %"), _measured("file_size", 1000), None)
    assert check.status == "unmeasured"
    assert check.reason == "there is no last release to hold it against; give it with --baseline"


def test_a_new_file_is_no_regression_but_one_that_is_gone_is_unmeasured() -> None:
    check = _check(
        Budget(metric="file_size_increase", limit="1 %"),
        _measured("file_size", 1000),
        _measured("file_size", 1, format="onnx", model="old.onnx"),
    )
    assert (check.status, check.model) == ("unmeasured", "old.onnx")
    assert check.reason == "the last release has it: file_size of old.onnx was not measured now"


def test_the_same_file_with_the_same_answers_has_lost_nothing() -> None:
    budget = Budget(metric="accuracy_drop", reference="baseline", limit="0 pt")
    old = _measured("accuracy", *[1.0] * 9, 0.0, conditions=HOST)
    assert _check(budget, old, old).status == "pass"
    assert _check(budget, replace(old, model_sha256="other"), old).status == "inconclusive"
    newer = replace(old, conditions=replace(HOST, runtime_version="2.4"))
    assert _check(budget, newer, old).status == "inconclusive"


def test_what_scatters_is_held_against_what_scattered() -> None:
    """By Welch's test at the same samples: where it sees nothing, neither does the gate."""
    rng = np.random.default_rng(0)
    old, new = (tuple(rng.normal(mean, 1e-3, 50)) for mean in (20e-3, 22e-3))
    more: dict[str, Any] = {"conditions": HOST}
    budget = Budget(metric="energy_increase", limit="5 %")
    check = _check(budget, _measured("energy", *new, **more), _measured("energy", *old, sha="old", **more))
    assert check.status == "fail"
    assert check.low is not None
    assert check.high is not None
    assert check.low < 0.1 < check.high
    apart = stats.ttest_ind(new, old, equal_var=False).confidence_interval(0.95)
    loose = Budget(metric="energy_increase", limit="1 mJ")
    held = _check(loose, _measured("energy", *new, **more), _measured("energy", *old, sha="old", **more))
    assert held.low is not None
    assert held.high is not None
    assert held.low < apart.low < apart.high < held.high, "two intervals are wider than one of the difference"


def test_of_a_few_that_are_judged_by_the_largest_all_must_be_larger() -> None:
    budget = Budget(metric="peak_memory_increase", limit="0 B")
    old = _measured("peak_memory", 10e6, 12e6, sha="old")
    assert _check(budget, _measured("peak_memory", 13e6, 14e6), old).status == "fail"
    assert _check(budget, _measured("peak_memory", 11e6, 14e6), old).status == "inconclusive"
    assert _check(budget, _measured("peak_memory", 8e6, 9e6), old).status == "pass"


def test_other_machines_and_settings_say_nothing() -> None:
    budget = Budget(metric="energy_increase", limit="50 %")
    new = _measured("energy", *[1.0, 1.1] * 10, conditions=HOST)
    old = replace(new, model_sha256="old", conditions=replace(HOST, cpu="two"))
    check = _check(budget, new, old)
    assert check.status == "unmeasured"
    assert "cpu is 'one' here and was 'two'" in check.reason
    newer = replace(new, model_sha256="old", conditions=replace(HOST, runtime_version="2.4"))
    assert _check(budget, new, newer).status == "pass", "an upgrade of the runtime is what a release gate must see"


# --- latency, by turns ---------------------------------------------------------------------------

RUNS = tuple(np.random.default_rng(0).normal(1e-3, 1e-5, 200))
SLOWER = Budget(metric="latency_increase", limit="5 %")
NEW, OLD = _measured("latency", *RUNS, conditions=HOST), _measured("latency", *RUNS, sha="old", conditions=HOST)


def _turns(ratio: float, count: int = 12, **more: Any) -> Comparison:
    rng = np.random.default_rng(1)
    processes = tuple(
        Turns(first=(1e-3,) * 4, second=tuple(1e-3 * ratio * rng.normal(1, 0.003, 4)), first_loaded=True)
        for _ in range(count)
    )
    found = Comparison(
        first="old", second="new", first_sha256="old", second_sha256="new", target="host", threshold=0.01,
        processes=processes, ratio=ratio, low=None, high=None, confidence=0.99, verdict="inconclusive", needed=None,
        conditions=(HOST,), basis="measured", wall_s=1.0, started_at="2026-11-29T00:00:00+00:00",
    )  # fmt: skip
    return replace(found, **more)


@pytest.mark.parametrize(("ratio", "status"), [(0.9, "pass"), (1.0, "pass"), (1.04, "pass"), (1.07, "fail")])
def test_latency_is_proven_by_turns(ratio: float, status: str) -> None:
    check = _check(SLOWER, NEW, OLD, _turns(ratio))
    assert check.status == status, check.reason
    assert check.observed == pytest.approx(ratio - 1, abs=0.005)
    assert "in turns in 12 processes" in check.reason


def test_times_of_two_sessions_prove_nothing() -> None:
    slow = replace(OLD, samples=tuple(each / 3 for each in RUNS))
    check = _check(SLOWER, NEW, slow)
    assert (check.status, check.low, check.high) == ("inconclusive", None, None)
    assert check.observed == pytest.approx(2.0)
    assert "edgekd compare OLD student.fp32.tflite --target host --out FOLDER" in check.reason


@pytest.mark.parametrize("change", [{"first_sha256": "x"}, {"second_sha256": "x"}, {"target": "pi"}])
def test_turns_of_other_files_or_targets_are_no_evidence(change: dict[str, Any]) -> None:
    assert _check(SLOWER, NEW, OLD, _turns(1.0, **change)).status == "inconclusive"


def test_of_several_comparisons_the_latest_counts() -> None:
    early, late = _turns(1.2), _turns(1.0, started_at="2026-11-30T00:00:00+00:00")
    assert _check(SLOWER, NEW, OLD, late, early).status == "pass"


def test_a_few_processes_may_all_have_been_lucky() -> None:
    check = _check(SLOWER, NEW, OLD, _turns(1.0, count=7))
    assert (check.status, "say nothing; take more" in check.reason) == ("unmeasured", True)


def test_the_same_file_is_as_fast_as_itself_on_the_same_runtime_only() -> None:
    same = replace(OLD, model_sha256="new")
    assert _check(SLOWER, NEW, same).status == "pass"
    newer = replace(same, conditions=replace(HOST, runtime_version="2.4"))
    assert _check(SLOWER, NEW, newer).status == "inconclusive"
