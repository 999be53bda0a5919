"""Waivers: what they cover, how far, and until when."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from edgekd.errors import ConfigError
from edgekd.records import Budget, Measurement, Release, Waiver
from edgekd.stages.gate import gate

SIZE = Measurement(
    model_sha256="5e1f", model="student.fp32.tflite", format="tflite", precision="fp32", role="student", target="file",
    metric="file_size", unit="B", samples=(120_000.0,),
)  # fmt: skip
OTHER = replace(SIZE, model="student.fp32.onnx", format="onnx", model_sha256="0")
SMALL = Budget(metric="file_size", limit="100 kB", format="tflite")
FINE = Budget(metric="file_size", limit="1 MB")
WAIVER = Waiver(metric="file_size", owner="ann", reason="the store takes it", expires="2026-11-29")
NOW = datetime(2026, 11, 29, 23, 59, tzinfo=UTC)


def _gate(*waivers: Waiver, budgets: tuple[Budget, ...] = (SMALL, FINE), now: datetime = NOW) -> Release:
    return gate([SIZE, OTHER], budgets=budgets, waivers=waivers, now=now)


def test_what_is_waived_keeps_no_release_back_and_is_shown() -> None:
    assert _gate().status == "fail"
    release = _gate(WAIVER)
    assert (release.status, release.is_refused) == ("pass", False)
    check = release.checks[0]
    assert (check.status, check.waiver) == ("fail", WAIVER)
    assert check.reason.endswith("; waived until 2026-11-29 by ann: the store takes it")
    assert release.waivers == (WAIVER,)
    assert all(each.waiver is None for each in release.checks[1:])


def test_the_day_after_it_fails() -> None:
    release = _gate(WAIVER, now=datetime(2026, 11, 30, tzinfo=UTC))
    assert release.status == "fail"
    assert release.checks[0].reason.endswith("; ann's waiver expired on 2026-11-29")


def test_what_was_not_even_measured_fails_when_its_waiver_has_expired() -> None:
    budget, waiver = Budget(metric="latency", limit="1 ms"), replace(WAIVER, metric="latency")
    assert _gate(waiver, budgets=(budget, FINE)).status == "pass"
    assert _gate(waiver, budgets=(budget, FINE), now=datetime(2027, 1, 1, tzinfo=UTC)).status == "fail"


@pytest.mark.parametrize(("limit", "status"), [("120 kB", "pass"), ("119 kB", "fail")])
def test_a_waiver_goes_as_far_as_it_says(limit: str, status: str) -> None:
    release = _gate(replace(WAIVER, limit=limit))
    assert release.status == status
    if status == "fail":
        assert "ann's waiver goes no further than 119 kB" in release.checks[0].reason


def test_a_waiver_with_a_limit_does_not_cover_what_was_not_measured() -> None:
    waiver = replace(WAIVER, metric="latency", limit="1 s")
    assert _gate(waiver, budgets=(Budget(metric="latency", limit="1 ms"), FINE)).status == "unmeasured"


@pytest.mark.parametrize(
    ("changes", "covers"),
    [
        ({"model": "*.tflite"}, True),
        ({"format": "tflite", "precision": "fp*", "target": "f?le"}, True),
        ({"metric": "zstd_size"}, False),
        ({"model": "*.onnx"}, False),
        ({"format": "onnx"}, False),
        ({"precision": "static*"}, False),
        ({"target": "host"}, False),
        ({"part": "x"}, False),
        ({"reference": "teacher"}, False),
    ],
)
def test_a_waiver_covers_what_it_selects(changes: dict[str, Any], covers: bool) -> None:
    assert _gate(replace(WAIVER, **changes)).status == ("pass" if covers else "fail")


def test_of_several_the_first_that_holds_counts() -> None:
    late, short, far = (
        replace(WAIVER, owner="late", expires="2026-01-01"),
        replace(WAIVER, owner="short", limit="110 kB"),
        replace(WAIVER, owner="far"),
    )
    assert _gate(late, short, far).checks[0].waiver == far
    assert "short's waiver goes no further" in _gate(late, short).checks[0].reason


def test_a_release_of_waived_checks_alone_proves_nothing() -> None:
    release = _gate(WAIVER, budgets=(SMALL,))
    assert (release.status, release.is_refused) == ("unmeasured", True)


def test_a_pass_needs_no_waiver_even_an_expired_one() -> None:
    release = _gate(replace(WAIVER, expires="2020-01-01"), budgets=(FINE,))
    assert release.status == "pass"
    assert all(check.waiver is None for check in release.checks)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"owner": " "}, "no owner"),
        ({"reason": ""}, "no reason"),
        ({"expires": "2026-02-30"}, "'2026-02-30' is no date"),
        ({"expires": "never"}, "'never' is no date"),
        ({"metric": "file_syze"}, "did you mean 'file_size'"),
        ({"limit": "3 ms"}, "limit '3 ms' of file_size"),
    ],
)
def test_a_waiver_that_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match="waiver 1") as caught:
        _gate(replace(WAIVER, **changes))
    assert message in str(caught.value)
