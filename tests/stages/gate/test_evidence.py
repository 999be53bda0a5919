"""Budgets on what other tasks than single-label classification measure, and on roles that do not ship."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from edgekd import stats, units
from edgekd.errors import ConfigError
from edgekd.records import Budget, Check, Measurement, Role
from edgekd.stages.gate import gate

RNG = np.random.default_rng(0)
# Squared errors of a file and of its teacher on the same 300 samples, near 0.12 and 0.10.
HARD = RNG.exponential(0.08, 300)
OF_TEACHER = tuple((HARD + RNG.exponential(0.02, 300)).tolist())
OF_FILE = tuple((HARD + RNG.exponential(0.04, 300)).tolist())
LABELS = (0.0,) * 200 + (1.0,) * 100
# The same numbers, as nats of windows of so many tokens or bytes.
TOKENS = tuple(map(float, RNG.integers(30, 60, 300)))
PERPLEXITIES = [float(np.exp(np.average(each, weights=TOKENS))) for each in (OF_TEACHER, OF_FILE)]
# Anomaly scores, of areas near 0.92 and 0.86.
NOISE = RNG.normal(0, 0.8, 300)
GOOD = tuple((np.array(LABELS) * 2.0 + NOISE + RNG.normal(0, 0.6, 300)).tolist())
WORSE = tuple((np.array(LABELS) * 1.5 + NOISE + RNG.normal(0, 0.6, 300)).tolist())
# F1 of samples, near 0.90 and 0.85.
F1_TEACHER = tuple(RNG.choice([1.0, 0.8, 0.5], 300, p=[0.7, 0.2, 0.1]).tolist())
F1_FILE = tuple(np.minimum(F1_TEACHER, RNG.choice([1.0, 0.7], 300, p=[0.8, 0.2])).tolist())


def _measured(metric: str, samples: tuple[float, ...], role: Role = "student", **more: Any) -> Measurement:
    fields: dict[str, Any] = {
        "model_sha256": f"sha-{role}",
        "model": f"{role}.{'tflite' if role == 'student' else 'torch'}",
        "format": "tflite" if role == "student" else "torch",
        "precision": "static_wi8_ai8" if role == "student" else "fp32",
        "role": role,
        "target": "host" if role == "student" else "training",
        "metric": metric,
        "unit": units.METRICS[metric].unit,
        "samples": samples,
        "labels": {"auc": LABELS, "perplexity": TOKENS, "bits_per_byte": TOKENS}.get(metric, ()),
    }
    return Measurement(**fields | more)


def _check(budget: Budget, *measurements: Measurement) -> Check:
    (check,) = gate(measurements, budgets=[budget]).checks
    return check


@pytest.mark.parametrize(
    ("metric", "samples", "interval"),
    [
        ("mean_squared_error", OF_FILE, stats.mean_interval(OF_FILE)),
        ("mean_absolute_error", OF_FILE, stats.mean_interval(OF_FILE)),
        ("reconstruction_error", OF_FILE, stats.mean_interval(OF_FILE)),
        ("f1", F1_FILE, stats.mean_interval(F1_FILE, bounds=(0, 1))),
        ("auc", WORSE, stats.auc_interval(WORSE, LABELS)),
        ("exact_match", (1.0,) * 250 + (0.0,) * 50, stats.proportion_interval(250, 300)),
        ("perplexity", OF_FILE, stats.perplexity_interval(OF_FILE, TOKENS)),
        ("bits_per_byte", OF_FILE, stats.bits_interval(OF_FILE, TOKENS)),
    ],
)
def test_a_metric_is_judged_by_the_interval_of_its_kind(
    metric: str, samples: tuple[float, ...], interval: stats.Interval
) -> None:
    is_error = units.METRICS[metric].bound == "at most"
    factor, unit = (1, "") if is_error else (100, " %")
    loose, tight = (interval.high, interval.low) if is_error else (interval.low, interval.high)
    limits = {
        "pass": loose + 1e-3 if is_error else loose - 1e-3,
        "inconclusive": (interval.low + interval.high) / 2,
        "fail": tight - 1e-3 if is_error else tight + 1e-3,
    }
    for status, limit in limits.items():
        check = _check(Budget(metric=metric, limit=f"{limit * factor:.6f}{unit}"), _measured(metric, samples))
        assert check.status == status, check.reason
        assert (check.observed, check.low, check.high) == (interval.estimate, interval.low, interval.high)
        assert check.unit == units.METRICS[metric].unit
        sampled = "windows" if metric in ("perplexity", "bits_per_byte") else "samples"
        assert check.reason.startswith(f"{metric} of 300 {sampled}, ")
        assert (f"more {sampled} would decide" in check.reason or "hardly decide" in check.reason) == (
            status == "inconclusive"
        )


DROPS = [
    ("f1_drop", "pt", F1_TEACHER, F1_FILE, np.mean(F1_TEACHER) - np.mean(F1_FILE)),
    ("f1_drop", "%", F1_TEACHER, F1_FILE, 1 - np.mean(F1_FILE) / np.mean(F1_TEACHER)),
    ("auc_drop", "pt", GOOD, WORSE, stats.auc(GOOD, LABELS) - stats.auc(WORSE, LABELS)),
    ("auc_drop", "%", GOOD, WORSE, 1 - stats.auc(WORSE, LABELS) / stats.auc(GOOD, LABELS)),
    ("exact_match_drop", "pt", (1.0,) * 280 + (0.0,) * 20, (1.0,) * 250 + (0.0,) * 50, 0.1),
    ("mean_squared_error_increase", "", OF_TEACHER, OF_FILE, np.mean(OF_FILE) - np.mean(OF_TEACHER)),
    ("mean_absolute_error_increase", "%", OF_TEACHER, OF_FILE, np.mean(OF_FILE) / np.mean(OF_TEACHER) - 1),
    ("reconstruction_error_increase", "%", OF_TEACHER, OF_FILE, np.mean(OF_FILE) / np.mean(OF_TEACHER) - 1),
    ("perplexity_increase", "%", OF_TEACHER, OF_FILE, PERPLEXITIES[1] / PERPLEXITIES[0] - 1),
    ("perplexity_increase", "", OF_TEACHER, OF_FILE, PERPLEXITIES[1] - PERPLEXITIES[0]),
    ("bits_per_byte_increase", "%", OF_TEACHER, OF_FILE, np.dot(OF_FILE, TOKENS) / np.dot(OF_TEACHER, TOKENS) - 1),
]


@pytest.mark.parametrize(("metric", "unit", "reference", "candidate", "lost"), DROPS)
def test_what_is_lost_against_the_teacher_is_paired(
    metric: str, unit: str, reference: tuple[float, ...], candidate: tuple[float, ...], lost: float
) -> None:
    source = units.METRICS[metric].source or ""
    student, teacher = _measured(source, candidate), _measured(source, reference, "teacher")
    factor = 1 if unit == "" else 100
    wide = _check(Budget(metric=metric, limit=f"99999 {unit}"), student, teacher)
    assert wide.status == "pass"
    assert wide.observed == pytest.approx(lost)
    assert wide.low is not None
    assert wide.high is not None
    assert 0 < wide.low < lost < wide.high, "these samples prove a loss"
    assert wide.unit == ("1" if unit else "")
    for limit, status in ((wide.high + 1e-6, "pass"), (lost, "inconclusive"), (wide.low - 1e-6, "fail")):
        check = _check(Budget(metric=metric, limit=f"{limit * factor:.9f} {unit}"), student, teacher)
        assert check.status == status, check.reason
        word = "increase over" if metric.endswith("increase") else "drop from"
        sampled = "windows" if source in ("perplexity", "bits_per_byte") else "samples"
        assert check.reason.startswith(f"{word} teacher.torch in 300 {sampled}, ")


def test_reasons_write_errors_as_numbers_and_increases_as_they_were_limited() -> None:
    student, teacher = (
        _measured("mean_squared_error", (0.5, 0.25, 0.75, 0.5)),
        _measured("mean_squared_error", (0.4, 0.2, 0.6, 0.4), "teacher"),
    )
    plain = _check(Budget(metric="mean_squared_error", limit="0.9"), student)
    assert plain.reason == (
        "mean_squared_error of 4 samples, 0.5 with 95 % interval [0.1752, 0.8248], keeps the limit 0.9"
    )
    added = _check(Budget(metric="mean_squared_error_increase", limit="0.01"), student, teacher)
    assert added.reason.startswith("increase over teacher.torch in 4 samples, 0.1 with 95 % interval [0.03504, 0.165]")
    share = _check(Budget(metric="mean_squared_error_increase", limit="30 %"), student, teacher)
    assert share.reason.startswith("increase over teacher.torch in 4 samples, 25.00 % with 95 % interval [")


@pytest.mark.parametrize(
    ("budget", "measurements", "reason"),
    [
        (
            Budget(metric="auc", limit="85 %"),
            [_measured("auc", GOOD, labels=())],
            "auc of student.tflite on host has 300 scores but 0 labels",
        ),
        (
            Budget(metric="auc", limit="85 %"),
            [_measured("auc", GOOD, labels=(0.0,) * 300)],
            "0 anomalies and 300 normal samples are too few; allowed: 2 of each",
        ),
        (
            Budget(metric="auc_drop", limit="5 pt"),
            [_measured("auc", WORSE), _measured("auc", GOOD, "teacher", labels=LABELS[::-1])],
            "measured on other samples than teacher.torch: their labels differ",
        ),
        (
            Budget(metric="f1", limit="85 %"),
            [_measured("f1", (1.0, 1.5))],
            "f1 of student.tflite on host has samples above 1",
        ),
        (
            Budget(metric="mean_squared_error", limit="1"),
            [_measured("mean_squared_error", (0.1,))],
            "one sample says nothing of the spread; take 2 or more",
        ),
        (
            Budget(metric="mean_squared_error_increase", limit="5 %"),
            [_measured("mean_squared_error", (0.1, 0.2)), _measured("mean_squared_error", (0.0, 0.1), "teacher")],
            "the reference, 0.05, can't be told from 0 with 95 % confidence; take more samples, or more seeds",
        ),
        (
            Budget(metric="f1_drop", limit="5 pt"),
            [_measured("f1", F1_FILE), _measured("exact_match", (1.0,) * 300, "teacher")],
            "the f1 of the teacher was not measured",
        ),
        (
            Budget(metric="auc_drop", limit="5 pt"),
            [_measured("reconstruction_error", OF_FILE)],
            "no auc of a student file; measured were only reconstruction_error",
        ),
    ],
)
def test_what_proves_nothing_is_unmeasured(budget: Budget, measurements: list[Measurement], reason: str) -> None:
    check = _check(budget, *measurements)
    assert (check.status, check.observed, check.reason) == ("unmeasured", None, reason)


def test_a_few_perfect_answers_do_not_prove_a_perfect_model() -> None:
    perfect = {
        "f1": _measured("f1", (1.0,) * 20),
        "auc": _measured("auc", tuple(map(float, range(20))), labels=(0.0,) * 10 + (1.0,) * 10),
    }
    for metric, measurement in perfect.items():
        assert _check(Budget(metric=metric, limit="99 %"), measurement).status == "inconclusive"
        assert _check(Budget(metric=metric, limit="50 %"), measurement).status == "pass"
    agreeing = [perfect["f1"], replace(perfect["f1"], role="teacher", model_sha256="other")]
    assert _check(Budget(metric="f1_drop", limit="1 pt"), *agreeing).status == "inconclusive"


# --- roles -----------------------------------------------------------------------------------------

OTHERS: tuple[Role, ...] = ("teacher", "assistant", "repeat", "control")


@pytest.mark.parametrize("metric", ["accuracy", "accuracy_drop"])
def test_a_budget_on_the_student_never_looks_at_other_trainings_of_it(metric: str) -> None:
    right = (1.0,) * 100
    student = _measured("accuracy", right)
    # Torch networks named like files would be matched by format; the role alone keeps them out.
    others = [
        _measured("accuracy", (0.0,) * 100, role, format="tflite", precision="static_wi8_ai8", target="host")
        for role in OTHERS
        if role != "teacher"
    ]
    limit = "90 %" if metric == "accuracy" else "10 pt"
    teacher = _measured("accuracy", right, "teacher")
    release = gate([*others, student, teacher], budgets=[Budget(metric=metric, limit=limit, target="host")])
    assert [check.model for check in release.checks] == ["student.tflite"]
    assert release.status == "pass"
    assert release.model_sha256s == ("sha-student",)


def test_neither_repeats_nor_controls_are_references_of_a_drop() -> None:
    file = _measured("accuracy", (1.0,) * 90 + (0.0,) * 10)
    torch = _measured("accuracy", (1.0,) * 92 + (0.0,) * 8, format="torch", precision="fp32", model_sha256="torch")
    others = [_measured("accuracy", (1.0,) * 100, role) for role in OTHERS]
    for reference, names in (("student", "student.tflite"), ("teacher", "teacher.torch")):
        budget = Budget(metric="accuracy_drop", limit="50 pt", reference=reference)  # type: ignore[arg-type]  # of the two allowed
        check = _check(budget, file, torch, *others)
        assert check.reason.startswith(f"drop from {names} in 100 samples")


@pytest.mark.parametrize("role", OTHERS)
def test_a_budget_may_name_another_role(role: Role) -> None:
    measurements = [_measured("accuracy", (1.0,) * 100, each) for each in (*OTHERS, "student")]
    release = gate(measurements, budgets=[Budget(metric="accuracy", limit="90 %", role=role)])
    assert [check.model for check in release.checks] == [f"{role}.torch"]
    assert release.model_sha256s == (), "only files that ship are released"


@pytest.mark.parametrize("reference", ["control", "repeat", "assistant"])
def test_a_drop_is_against_the_teacher_or_the_student(reference: Any) -> None:
    with pytest.raises(ConfigError, match=f"unknown reference '{reference}'; allowed: teacher, student, baseline"):
        gate([], budgets=[Budget(metric="f1_drop", limit="1 pt", reference=reference)])


@pytest.mark.parametrize(
    ("metric", "limit", "next_step"),
    [("f1", "1 %", "; use the metric f1_drop"), ("auc", "1 %", "; use the metric auc_drop"),
     ("mean_squared_error", "1", "; use the metric mean_squared_error_increase"), ("parity", "1 %", "")],
)  # fmt: skip
def test_a_reference_is_of_drops_only(metric: str, limit: str, next_step: str) -> None:
    with pytest.raises(ConfigError) as caught:
        gate([], budgets=[Budget(metric=metric, limit=limit, reference="teacher")])
    assert str(caught.value) == f"budget 1 ({metric}): reference 'teacher' has no meaning for {metric}{next_step}"


# --- what several things have a part in ------------------------------------------------------------

RATES = tuple(np.random.default_rng(2).uniform(18, 30, 400).tolist())
BEFORE = ("16",) * 200 + ("128",) * 200


def test_a_rate_is_one_that_so_many_tokens_reach() -> None:
    measured = _measured("decode_rate", RATES, parts=BEFORE)
    check = _check(Budget(metric="decode_rate", limit="15 tokens/s"), measured)
    assert (check.status, check.unit) == ("pass", "tokens/s")
    assert check.observed == pytest.approx(np.quantile(RATES, 0.1)), "90 % of tokens are faster"
    assert check.reason.startswith("p90 of 400 tokens, 19.")
    assert _check(Budget(metric="decode_rate", limit="28 tokens/s"), measured).status == "fail"
    half = _check(Budget(metric="decode_rate", limit="20 tokens/s", statistic="p50"), measured)
    assert half.status == "pass"
    assert half.observed == pytest.approx(np.median(RATES))


def test_a_budget_may_be_about_one_length_of_the_prompt() -> None:
    rates = (10.0,) * 200 + (40.0,) * 200
    measured = _measured("decode_rate", rates, parts=BEFORE)
    for part, seen in (("16", 10), ("128", 40), ("1*", 10)):
        check = _check(Budget(metric="decode_rate", limit="1 tokens/s", part=part), measured)
        assert check.observed == pytest.approx(seen)
    missing = _check(Budget(metric="decode_rate", limit="1 tokens/s", part="64"), measured)
    assert (missing.status, missing.reason) == ("unmeasured", "no decode_rate of '64'; allowed: 16, 128")
    few = replace(measured, samples=rates[:30], parts=BEFORE[:30])
    reason = "p90 of 30 tokens, 10 tokens/s, proves nothing: 95 % confidence needs 46 tokens; take 16 more"
    assert _check(Budget(metric="decode_rate", limit="1 tokens/s"), few).reason == reason


def test_the_slowest_prompt_and_the_fullest_cache_count() -> None:
    prefill = _measured("prefill_rate", (900.0, 700.0, 800.0), parts=("16", "128", "128"))
    check = _check(Budget(metric="prefill_rate", limit="750 tokens/s"), prefill)
    assert (check.status, check.observed) == ("fail", 700.0)
    assert _check(Budget(metric="prefill_rate", limit="750 tokens/s", part="16"), prefill).status == "pass"
    memory = _measured("context_memory", (4e6, 9e6), parts=("128", "512"))
    assert _check(Budget(metric="context_memory", limit="8 MB"), memory).status == "fail"
    assert _check(Budget(metric="context_memory", limit="8 MB", part="128"), memory).status == "pass"
    first = _measured("time_to_first_token", (0.2, 0.3), parts=("16", "128"))
    assert _check(Budget(metric="time_to_first_token", limit="300 ms"), first).reason == (
        "largest of 2 seen, 300.0 ms, keeps the limit 300.0 ms"
    )


def test_correlation_and_macro_f1_are_told_by_the_predicted_classes() -> None:
    rng = np.random.default_rng(4)
    true = tuple(map(float, rng.integers(0, 2, 300)))
    teacher, file = (
        tuple(np.where(rng.uniform(size=300) < right, true, 1 - np.array(true)).tolist()) for right in (0.97, 0.85)
    )
    student, best = _measured("recall", file, labels=true), _measured("recall", teacher, "teacher", labels=true)
    for metric, limit, interval in (
        ("mcc", "0.5", stats.mcc_interval(file, true)),
        ("macro_f1", "70 %", stats.macro_f1_interval(file, true)),
    ):
        check = _check(Budget(metric=metric, limit=limit), student)
        assert (check.status, check.observed, check.low, check.high) == (
            *("pass", interval.estimate),
            *(interval.low, interval.high),
        )
    lost = stats.mcc(teacher, true) - stats.mcc(file, true)
    check = _check(Budget(metric="mcc_drop", limit="0.1"), student, best)
    assert check.status == "fail"
    assert check.observed == pytest.approx(lost)
    assert _check(Budget(metric="macro_f1_drop", limit="30 pt"), student, best).status == "pass"
    assert _check(Budget(metric="mcc", limit="0.5")).reason.startswith("no mcc of a student file; nothing was measured")


def test_an_order_is_judged_by_its_correlation_and_lost_against_the_teacher_s() -> None:
    rng = np.random.default_rng(5)
    true = rng.normal(size=300)
    teacher, file = (tuple((true + noise * rng.normal(size=300)).tolist()) for noise in (0.3, 0.9))
    labels = tuple(true.tolist())
    student, best = _measured("spearman", file, labels=labels), _measured("spearman", teacher, "teacher", labels=labels)
    check = _check(Budget(metric="spearman", limit="0.6"), student)
    assert (check.status, check.reason.partition(" of ")[0]) == ("pass", "spearman")
    assert check.observed == pytest.approx(scipy_stats.spearmanr(file, labels).statistic)
    interval = stats.spearman_interval(file, labels)
    assert (check.low, check.high) == (interval.low, interval.high)
    drop = _check(Budget(metric="spearman_drop", limit="0.1"), student, best)
    assert drop.status == "fail"
    assert drop.observed == pytest.approx(scipy_stats.spearmanr(teacher, labels).statistic - check.observed)
    assert _check(Budget(metric="spearman_drop", limit="40 %"), student, best).status == "pass"
    other = replace(best, labels=labels[::-1])
    assert "their labels differ" in _check(Budget(metric="spearman_drop", limit="0.1"), student, other).reason
    cut = replace(student, labels=labels[:-1])
    assert "has 300 scores but 299 labels" in _check(Budget(metric="spearman", limit="0.6"), cut).reason


@pytest.mark.parametrize("metric", ["mcc", "spearman"])
def test_a_perfect_correlation_is_no_limit(metric: str) -> None:
    with pytest.raises(ConfigError, match="allowed: less than 1, which no number of samples proves"):
        gate([], budgets=[Budget(metric=metric, limit="1")])
