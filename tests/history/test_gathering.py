"""What of a gate is kept: every check as it is, and one number for what no budget looked at."""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.history import past_gate
from edgekd.records import Budget, Conditions, Measurement, PastFigure, PastGate, Run, Waiver
from edgekd.stages.gate import gate

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
KNOWN: dict[str, Any] = {
    "model_sha256": "5e1f",
    "model": "student.tflite",
    "format": "tflite",
    "precision": "static_wi8_ai8",
    "role": "student",
}
LATENCIES = tuple(np.random.default_rng(0).gamma(2, 1e-3, 1000).tolist())
SIZE = Measurement(**KNOWN, target="file", metric="file_size", unit="B", samples=(28_800.0,))
ACCURACY = Measurement(**KNOWN, target="host", metric="accuracy", unit="1", samples=(1.0,) * 900 + (0.0,) * 100)
LATENCY = Measurement(**KNOWN, target="host", metric="latency", unit="s", samples=LATENCIES)
LOAD = Measurement(**KNOWN, target="host", metric="load_time", unit="s", samples=(0.002, 0.005, 0.003))
RECIPE = 'name = "digits"\n'


def kept(*measurements: Measurement, budgets: tuple[Budget, ...] = (), **changes: Any) -> PastGate:
    run = Run(name="try-1", folder=Path(), recipe=RECIPE, measurements=measurements)
    return past_gate(gate(measurements, budgets=budgets), dataclasses.replace(run, **changes), gated_at=NOON)


def numbers(found: PastGate) -> dict[str, PastFigure]:
    return {f"{each.metric} {each.statistic}".strip(): each for each in found.figures}


def test_without_budgets_each_metric_is_one_number() -> None:
    found = numbers(kept(SIZE, ACCURACY, LATENCY, LOAD))
    assert {name: each.observed for name, each in found.items()} == pytest.approx(
        {"file_size": 28_800, "accuracy": 0.9, "latency p50": np.median(LATENCIES), "load_time": 0.005}
    )
    for each in found.values():
        assert (each.low, each.high, each.limit, each.bound, each.written, each.status) == (None,) * 3 + ("",) * 3
        assert (each.model, each.format, each.precision) == ("student.tflite", "tflite", "static_wi8_ai8")


def test_a_check_is_kept_as_it_is_and_stands_for_its_metric() -> None:
    budgets = (
        Budget(metric="latency", statistic="p90", limit="1 ms"),
        Budget(metric="accuracy", limit="80 %"),
        Budget(metric="arena_size", limit="10 kB"),
    )
    found = numbers(kept(SIZE, ACCURACY, LATENCY, budgets=budgets))
    assert list(found) == ["latency p90", "accuracy", "arena_size", "file_size"]
    latency = found["latency p90"]
    assert latency.observed == pytest.approx(np.quantile(LATENCIES, 0.9))
    assert 0 < (latency.low or 0) < (latency.observed or 0) < (latency.high or 0)
    assert (latency.limit, latency.written, latency.bound, latency.status) == (0.001, "1 ms", "at most", "fail")
    assert (found["accuracy"].bound, found["accuracy"].status) == ("at least", "pass")
    assert (found["arena_size"].observed, found["arena_size"].status) == (None, "unmeasured")


def test_what_is_no_evidence_is_no_trend_either() -> None:
    hot = dataclasses.replace(LATENCY, conditions=Conditions(tainted="throttled"))
    empty = dataclasses.replace(LOAD, samples=())
    broken = dataclasses.replace(SIZE, samples=(float("nan"),))
    seeds = dataclasses.replace(ACCURACY, role="repeat")
    own = dataclasses.replace(ACCURACY, metric="beauty")
    area = dataclasses.replace(ACCURACY, metric="auc", labels=ACCURACY.samples)
    assert kept(hot, empty, broken, seeds, own, area).figures == ()


def test_counts_are_of_all_kinds_together() -> None:
    found = Measurement(
        **KNOWN, target="host", metric="lint", unit="", samples=(2.0, 1.0), parts=("error/a", "warning/b")
    )
    (lint,) = kept(found).figures
    assert lint.observed == 3
    (none,) = kept(dataclasses.replace(found, samples=(), parts=())).figures
    assert none.observed == 0


def test_of_repeated_measurements_the_last_one_counts() -> None:
    late = dataclasses.replace(ACCURACY, samples=(1.0, 0.0), started_at="2026-11-29T11:00:00Z")
    early = dataclasses.replace(ACCURACY, started_at="2026-11-29T10:00:00Z")
    assert numbers(kept(late, early))["accuracy"].observed == 0.5


def test_who_was_gated_and_when() -> None:
    found = kept(SIZE)
    assert (found.gated_at, found.recipe, found.run, found.status) == (
        "2026-11-29T12:00:00Z",
        "digits",
        "try-1",
        "unmeasured",
    )
    assert found.recipe_sha256 == hashlib.sha256(RECIPE.encode()).hexdigest()
    bare = kept(SIZE, recipe="")
    assert (bare.recipe, bare.recipe_sha256) == ("try-1", "")
    assert [kept(SIZE, recipe=text).recipe for text in ("name = [", "name = 3", 'name = ""')] == ["try-1"] * 3
    there = NOON.astimezone(timezone(timedelta(hours=-8)))
    run = Run(name="", folder=Path(), recipe="")
    assert past_gate(gate([], budgets=()), run, gated_at=there).gated_at == "2026-11-29T12:00:00Z"


def test_the_fingerprint_is_of_what_was_seen_not_of_when() -> None:
    budgets = (Budget(metric="file_size", limit="30 kB"),)
    once = kept(SIZE, LOAD, budgets=budgets)
    run = Run(name="try-1", folder=Path(), recipe=RECIPE, measurements=(SIZE, LOAD))
    later = past_gate(gate([SIZE, LOAD], budgets=budgets), run, gated_at=NOON + timedelta(days=1), commit="c0ffee")
    assert later.fingerprint == once.fingerprint
    others = [
        kept(SIZE, LOAD, budgets=(Budget(metric="file_size", limit="31 kB"),)),
        kept(SIZE, dataclasses.replace(LOAD, samples=(0.1,)), budgets=budgets),
        kept(dataclasses.replace(SIZE, model_sha256="other"), LOAD, budgets=budgets),
        kept(SIZE, LOAD, budgets=budgets, recipe='name = "ecg"'),
    ]
    assert len({once.fingerprint, *(each.fingerprint for each in others)}) == 5


def test_what_was_waived_is_said() -> None:
    release = gate([SIZE], budgets=[Budget(metric="file_size", limit="1 kB")])
    waiver = Waiver(metric="file_size", owner="me", reason="known", expires="2027-01-01")
    waived = dataclasses.replace(release, checks=(dataclasses.replace(release.checks[0], waiver=waiver),))
    run = Run(name="try-1", folder=Path(), recipe="", measurements=(SIZE,))
    assert past_gate(waived, run, gated_at=NOON).figures[0].status == "waived"
