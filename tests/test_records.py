"""Precisions, merging of measurements and the status of a release."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from edgekd.errors import ConfigError, MeasurementError
from edgekd.records import (
    PRECISIONS,
    Budget,
    Check,
    Conditions,
    Measurement,
    Release,
    Status,
    decode_precision,
)

MEASUREMENT = Measurement(
    model_sha256="5e1f",
    model="student.fp32.onnx",
    format="onnx",
    precision="fp32",
    role="student",
    target="host",
    metric="latency",
    unit="s",
    samples=(0.1, 0.2),
    warmup=(0.5,),
    conditions=Conditions(host="pi", threads=4, governor="performance"),
)


@pytest.mark.parametrize(
    ("name", "decoded"),
    [
        ("fp32", ("float", "float32", "float32")),
        ("fp16", ("float", "float16", "float32")),
        ("static_wi8_ai8", ("static", "int8", "int8")),
        ("static_wi4_ai8", ("static", "int4", "int8")),
        ("mixed", ("mixed", "mixed", "mixed")),
    ],
)
def test_precisions_are_decoded(name: str, decoded: tuple[str, str, str]) -> None:
    precision = decode_precision(name)
    assert precision.name == name
    assert (precision.mode, precision.weights, precision.activations) == decoded


@pytest.mark.parametrize("name", ["int8", "static_wi4_ai4", "static_wi8_ai8 ", "FP32", ""])
def test_other_precisions_are_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        decode_precision(name)
    assert f"'{name}'" in caught.value.what
    assert caught.value.allowed == ", ".join(PRECISIONS)


def test_equal_conditions_merge_in_order() -> None:
    later = replace(MEASUREMENT, samples=(0.3,), warmup=(), started_at="2026-01-01T00:00:00Z")
    merged = MEASUREMENT.merge(later)
    assert merged.samples == (0.1, 0.2, 0.3)
    assert merged.warmup == (0.5,)
    assert merged.conditions == MEASUREMENT.conditions


def test_what_changes_from_run_to_run_does_not_hinder_merging() -> None:
    conditions = replace(MEASUREMENT.conditions, load_before=0.5, throttled_after="0x0", os="Debian 13")
    assert len(MEASUREMENT.merge(replace(MEASUREMENT, conditions=conditions)).samples) == 4


@pytest.mark.parametrize(
    ("key", "value"),
    [("model_sha256", "beef"), ("target", "pi"), ("metric", "load_time"), ("unit", "ms"), ("basis", "emulated")],
)
def test_different_things_refuse_to_merge_and_name_the_key(key: str, value: Any) -> None:
    before = getattr(MEASUREMENT, key)
    with pytest.raises(MeasurementError, match=f"differ in {key} \\('{before}' and '{value}'\\)"):
        MEASUREMENT.merge(replace(MEASUREMENT, **{key: value}))


@pytest.mark.parametrize("key", Conditions.MUST_AGREE)
def test_different_conditions_refuse_to_merge_and_name_the_key(key: str) -> None:
    other: Any = 99 if isinstance(getattr(MEASUREMENT.conditions, key), int) else "other"
    conditions = replace(MEASUREMENT.conditions, **{key: other})
    with pytest.raises(MeasurementError, match=rf"differ in conditions\.{key} \(.* and {other!r}\)"):
        MEASUREMENT.merge(replace(MEASUREMENT, conditions=conditions))


def test_all_keys_that_differ_are_named() -> None:
    other = replace(MEASUREMENT, target="pi", conditions=replace(MEASUREMENT.conditions, threads=1))
    with pytest.raises(MeasurementError, match=r"differ in target, conditions\.threads \('host' and 'pi'\)"):
        MEASUREMENT.merge(other)


def test_what_must_agree_are_conditions() -> None:
    assert set(Conditions.MUST_AGREE) <= {field.name for field in dataclasses.fields(Conditions)}


def _check(status: Status) -> Check:
    budget = Budget(metric="latency", limit="1 ms")
    return Check(
        budget=budget,
        model="",
        target="",
        unit="s",
        limit=0.001,
        observed=None,
        low=None,
        high=None,
        status=status,
        reason="",
    )


@pytest.mark.parametrize(
    ("statuses", "worst"),
    [
        ((), "unmeasured"),
        (("pass",), "pass"),
        (("pass", "pass"), "pass"),
        (("pass", "inconclusive"), "inconclusive"),
        (("pass", "inconclusive", "unmeasured"), "unmeasured"),
        (("pass", "inconclusive", "unmeasured", "fail"), "fail"),
        (("pass", "fail"), "fail"),
    ],
)
def test_a_release_is_as_good_as_its_worst_check(statuses: tuple[Status, ...], worst: Status) -> None:
    for order in permutations(statuses):
        assert Release(model_sha256s=(), checks=tuple(_check(status) for status in order)).status == worst


def test_records_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        MEASUREMENT.samples = ()  # type: ignore[misc]  # what the test is about
