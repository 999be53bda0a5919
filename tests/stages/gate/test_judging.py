"""Formulas, classes, counts and clocks in the gate."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from scipy import stats

from edgekd import units
from edgekd.records import Budget, Check, Measurement
from edgekd.stages.gate import gate

RNG = np.random.default_rng(0)
# In an order of which every stretch is like every other: only the number of runs counts then.
RUNS = tuple(np.sort(RNG.normal(10e-3, 1e-3, 2000)).reshape(200, 10).T.ravel())


def _measured(metric: str, *samples: float, **more: Any) -> Measurement:
    measured = Measurement(
        model_sha256="5e1f", model="student.fp32.tflite", format="tflite", precision="fp32", role="student",
        target="host", metric=metric, unit=units.METRICS[metric].unit, samples=samples,
    )  # fmt: skip
    return replace(measured, **more)


def _check(budget: Budget, *measured: Measurement) -> Check:
    (check,) = gate(measured, budgets=[budget]).checks
    return check


# --- formulas --------------------------------------------------------------------------------------

SIZE, ARENA = _measured("file_size", 30_000, target="file"), _measured("arena_size", 7_000, target="m4")


@pytest.mark.parametrize(("limit", "status"), [("37 kB", "pass"), ("36999 B", "fail")])
def test_facts_of_the_file_count_on_every_target(limit: str, status: str) -> None:
    budget = Budget(metric="file_size + arena_size", limit=limit)
    check = _check(budget, SIZE, ARENA)
    assert (check.status, check.target, check.observed, check.low) == (status, "m4", 37_000, 37_000)
    assert _check(replace(budget, target="m*"), SIZE, ARENA).status == status


def test_quantiles_of_a_formula_share_the_confidence() -> None:
    check = _check(Budget(metric="latency.p99 - latency.p50", limit="1 s"), _measured("latency", *RUNS))
    assert check.observed == pytest.approx(np.quantile(RUNS, 0.99) - np.quantile(RUNS, 0.5))
    ordered = np.sort(RUNS)
    ends = [
        (
            ordered[int(stats.binom.ppf(0.0125, 2000, q)) - 1],
            ordered[int(stats.binom.ppf(1 - 0.0125, 2000, q))],
        )
        for q in (0.99, 0.5)
    ]
    assert check.low == pytest.approx(ends[0][0] - ends[1][1], abs=1e-4)
    assert check.high == pytest.approx(ends[0][1] - ends[1][0], abs=1e-4)


def test_a_bound_from_below_is_said() -> None:
    share, accuracy = _measured("npu_share", 0.5), _measured("accuracy", *[1.0] * 400)
    budget = Budget(metric="accuracy - npu_share", limit="0.4", bound="at least")
    assert _check(budget, share, accuracy).status == "pass"
    assert _check(replace(budget, limit="0.6"), share, accuracy).status == "fail"


@pytest.mark.parametrize(
    ("measured", "reason"),
    [
        ([SIZE], "no arena_size of a student file"),
        ([SIZE, replace(ARENA, model_sha256="other", model="other")], "was not measured there"),
        ([SIZE, replace(ARENA, samples=(float("nan"),))], "not finite"),
        ([SIZE, replace(ARENA, basis="estimated")], "is estimated; the budget wants measured"),
        ([replace(SIZE, unit="kB"), ARENA], "is in 'kB'"),
    ],
)
def test_a_term_without_evidence_leaves_the_whole_unmeasured(measured: list[Measurement], reason: str) -> None:
    checks = gate(measured, budgets=[Budget(metric="file_size + arena_size", limit="1 MB")]).checks
    assert all(check.status == "unmeasured" for check in checks)
    assert any(reason in check.reason for check in checks)


def test_too_few_runs_of_a_term_prove_nothing() -> None:
    check = _check(Budget(metric="latency.p99 / latency.p50", limit="9"), _measured("latency", *RUNS[:50]))
    assert (check.status, check.observed) == ("inconclusive", None)
    assert "95 % confidence needs 473 runs; take 423 more" in check.reason


# --- classes ---------------------------------------------------------------------------------------

TRUE = np.repeat([0.0, 1.0, 2.0], [500, 400, 100])
PREDICTED = np.where(np.arange(1000) % 10 == 0, 1.0, TRUE)
RECALL = _measured("recall", *PREDICTED, labels=tuple(TRUE), parts=("cat", "dog", "owl"))


def test_the_worst_class_counts() -> None:
    check = _check(Budget(metric="recall", limit="50 %"), RECALL)
    assert check.status == "pass"
    assert check.observed == pytest.approx(0.9)
    assert "recall of class 'cat', the worst of 3, in 500 samples" in check.reason
    # SciPy's exact interval: the low end is that of the smallest class, each of which must hold for itself.
    exact = stats.binomtest(90, 100).proportion_ci(0.95, method="exact")
    assert check.low == pytest.approx(exact.low)


@pytest.mark.parametrize(("part", "observed"), [("dog", 1.0), ("1", 1.0), ("owl", 0.9), ("?a?", 0.9)])
def test_a_class_has_a_name_and_a_number(part: str, observed: float) -> None:
    assert _check(Budget(metric="recall", limit="50 %", part=part), RECALL).observed == pytest.approx(observed)


def test_a_class_that_there_is_not_is_said() -> None:
    check = _check(Budget(metric="recall", limit="50 %", part="cow"), RECALL)
    assert (check.status, check.reason) == ("unmeasured", "no test sample of a class 'cow'; allowed: cat, dog, owl")


def test_that_one_of_many_classes_is_bad_must_be_shown_among_many() -> None:
    true = np.repeat(np.arange(100.0), 20)
    predicted = true.copy()
    predicted[:6] = 99.0  # 14 of 20, where 95 % are asked for: 1 in 300 by chance, and there are a hundred classes
    check = _check(Budget(metric="recall", limit="95 %"), _measured("recall", *predicted, labels=tuple(true)))
    assert check.status == "inconclusive"
    alone = Budget(metric="recall", limit="95 %", part="0")
    assert _check(alone, _measured("recall", *predicted, labels=tuple(true))).status == "fail"


@pytest.mark.parametrize(
    "damage", [{"labels": ()}, {"labels": (0.5,) * 1000}, {"samples": (0.5,) * 1000}, {"samples": (-1.0,) * 1000}]
)
def test_classes_that_are_none_prove_nothing(damage: dict[str, Any]) -> None:
    assert _check(Budget(metric="recall", limit="1 %"), replace(RECALL, **damage)).status == "unmeasured"


# --- counts and clocks -----------------------------------------------------------------------------


@pytest.mark.parametrize(("part", "count"), [(None, 9), ("CONV*", 7), ("SOFTMAX", 2), ("CUSTOM", 0)])
def test_operators_are_counted_by_kind(part: str | None, count: int) -> None:
    kinds = _measured("operators", 4, 3, 2, parts=("CONV_2D", "CONV_3D", "SOFTMAX"), target="file")
    assert _check(Budget(metric="operators", part=part, limit=str(count)), kinds).status == "pass"
    if count:
        assert _check(Budget(metric="operators", part=part, limit=str(count - 1)), kinds).status == "fail"
    assert _check(Budget(metric="operators", limit="9"), replace(kinds, parts=("CONV_2D",))).status == "unmeasured"


@pytest.mark.parametrize(
    ("started_at", "status"),
    [
        ("2026-11-29T12:00:00+00:00", "pass"),
        ("2026-11-30T11:00:00Z", "pass"),
        ("2026-12-02T12:00:00+00:00", "unmeasured"),
        ("2026-12-02T12:00:00", "unmeasured"),
        ("", "pass"),
    ],
)
def test_a_measurement_of_the_future_proves_nothing(started_at: str, status: str) -> None:
    now = datetime(2026, 11, 29, 12, tzinfo=UTC)
    size = replace(SIZE, started_at=started_at)
    (check,) = gate([size], budgets=[Budget(metric="file_size", limit="1 MB")], now=now).checks
    assert check.status == status
    assert status == "pass" or "set the clock right" in check.reason


def test_calibration_is_held_by_its_interval() -> None:
    right = (RNG.uniform(size=2000) < 0.8).astype(float)
    sure = _measured("calibration_error", *[0.8] * 2000, labels=tuple(right))
    assert _check(Budget(metric="calibration_error", limit="8 pt"), sure).status == "pass"
    vain = replace(sure, samples=(0.99,) * 2000)
    assert _check(Budget(metric="calibration_error", limit="8 pt"), vain).status == "fail"
    assert _check(Budget(metric="calibration_error", limit="8 pt"), replace(sure, labels=())).status == "unmeasured"
