"""Budgets that are about nothing are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgekd.errors import ConfigError
from edgekd.records import Budget, Measurement
from edgekd.stages.gate import gate
from edgekd.stages.gate.selecting import find_predecessors

SIZE = Measurement(
    model_sha256="5e1f", model="student.fp32.tflite", format="tflite", precision="fp32", role="student", target="file",
    metric="file_size", unit="B", samples=(1000.0,),
)  # fmt: skip


@pytest.mark.parametrize(
    ("selectors", "message"),
    [
        ({"precision": "fp16"}, "there is no student fp16 file; allowed: student tflite fp32"),
        ({"format": "onnx"}, "there is no student onnx file; allowed: student tflite fp32"),
        ({"role": "teacher"}, "there is no teacher file; allowed: student tflite fp32"),
        ({"target": "pie"}, "there is no target 'pie'; allowed: file, host, pi"),
    ],
)
def test_what_selects_nothing_is_an_error(selectors: dict[str, Any], message: str) -> None:
    fine = Budget(metric="file_size", limit="1 kB")
    wrong = Budget(metric="file_size", limit="1 kB", **selectors)
    with pytest.raises(ConfigError) as caught:
        gate([SIZE], budgets=[fine, wrong], targets=("host", "pi"))
    assert str(caught.value) == f"budget 2 (file_size): selects nothing: {message}"


def test_a_target_that_could_not_be_reached_is_unmeasured() -> None:
    (check,) = gate([SIZE], budgets=[Budget(metric="latency", limit="1 s", target="p*")], targets=("host", "pi")).checks
    assert check.status == "unmeasured"


def test_without_any_measurement_nothing_can_be_said_of_selectors() -> None:
    assert gate([], budgets=[Budget(metric="file_size", limit="1 kB", format="onnx")]).status == "unmeasured"


@pytest.mark.parametrize(
    ("now", "before", "predecessors"),
    [
        ("ab", "ab", {"a": "a", "b": "b"}),
        ("ac", "ab", {"a": "a", "c": "b"}),  # one was renamed
        ("a", "ab", {"a": "a"}),
        ("abc", "ab", {"a": "a", "b": "b"}),
        ("acd", "ab", {"a": "a"}),  # which of them it was, nobody knows
        ("b", "a", {"b": "a"}),
        ("a", "", {}),
    ],
)
def test_files_take_the_place_of_those_of_their_name_or_of_the_only_one_that_is_gone(
    now: str, before: str, predecessors: dict[str, str]
) -> None:
    sides = [[replace(SIZE, model=name) for name in names] for names in (now, before)]
    assert find_predecessors(*sides) == predecessors


def test_a_file_of_another_kind_takes_no_place() -> None:
    assert find_predecessors([SIZE], [replace(SIZE, model="other.onnx", format="onnx")]) == {}
