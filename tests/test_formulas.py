"""Formulas over metrics: what they mean, and what they must not do."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.errors import ConfigError, MeasurementError
from edgekd.formulas import Term, metric_of, parse_formula
from edgekd.records import Budget

SIZE, ARENA, LATENCY = Term(metric="file_size"), Term(metric="arena_size"), Term(metric="latency", statistic="p99")


@pytest.mark.parametrize(
    ("text", "dimension"),
    [
        ("file_size + arena_size", "size"),
        ("2 * (file_size - 100)", None),
        ("2 * file_size", "size"),
        ("latency.p99 / latency.p50", "increase"),
        ("energy / latency", "power"),
        ("max(load_time, first_inference) + latency", "time"),
        ("accuracy - npu_share", "increase"),
        ("file_size * file_size / file_size", "size"),
        ("file_size * latency", None),
        ("-file_size", "size"),
        ("file_size / latency", None),
        ("file_size + latency", None),
        ("max(file_size, latency)", None),
    ],
)
def test_units_are_those_of_physics(text: str, dimension: str | None) -> None:
    if dimension is None:
        with pytest.raises(ConfigError, match="unit"):
            parse_formula(text)
    else:
        assert parse_formula(text).dimension == dimension


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "file_size if file_size else 1",
        "file_size.__class__",
        "file_size ** 9999999",
        "[file_size]",
        "file_size < 3",
        "max(file_size)",
        "max(*file_size)",
        "min(file_size, key=1)",
        "'file_size' + 1",
        "file_size + True",
        "1e999 * file_size",
        "1 + 2",
        "file_size +",
        "(" * 150 + "file_size" + ")" * 150,
        "-" * 199 + "1",
        "file_size + " * 40 + "1",
        "sustained_latency.p0",
        "latency.p100",
        "file_size.p50",
        "latency(1)",
        "lambda: file_size",
        "accuracy_drop + accuracy",
        "latencie.p50 + latency",
        "file_size\x00+1",
        "",
    ],
)
def test_what_is_no_formula_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_formula(text)
    assert "\n" not in str(caught.value)


def test_a_metric_of_a_slip_is_said() -> None:
    with pytest.raises(ConfigError, match="did you mean 'latency'"):
        metric_of(Budget(metric="latencie.p50 + latency", limit="1 ms"))
    with pytest.raises(ConfigError, match="did you mean 'latency'"):
        metric_of(Budget(metric="latencie", limit="1 ms"))


_leaves = st.sampled_from(["file_size / file_size", "npu_share", "accuracy", "2", "0.5", "latency.p99 / latency.p50"])
_texts = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda each: f"({each[0]} {each[1]} {each[2]})"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda each: f"{each[0]}({each[1]}, {each[2]})"),
        inner.map(lambda each: f"-({each})"),
    ),
    max_leaves=5,
)


@given(_texts, st.integers(0, 2**32))
def test_what_python_computes_lies_within_the_range(text: str, seed: int) -> None:
    """Python itself, on values drawn from the ranges of the terms."""
    if len(text) > 200:
        return
    try:
        formula = parse_formula(text)
    except ConfigError:
        assert not any(name in text for name in ("file_size", "npu_share", "accuracy", "latency"))
        return
    draw = random.Random(seed)  # noqa: S311 - no secret
    ranges = {term: tuple(sorted((draw.uniform(0.1, 2), draw.uniform(0.1, 2)))) for term in formula.terms}
    low, high = formula({term: (ends[0], ends[1]) for term, ends in ranges.items()})
    for _ in range(20):
        values = {str(term).replace(".", "_"): draw.uniform(*ends) for term, ends in ranges.items()}
        found = eval(text.replace(".p", "_p"), {"min": min, "max": max}, values)  # noqa: S307 - written above
        assert low - 1e-9 <= found <= high + 1e-9


def test_a_division_by_what_may_be_zero_proves_nothing() -> None:
    formula = parse_formula("file_size / arena_size")
    with pytest.raises(MeasurementError, match="0"):
        formula({SIZE: (1, 1), ARENA: (0, 2)})
    assert formula({SIZE: (1, 2), ARENA: (2, 4)}) == (0.25, 1.0)
    with pytest.raises(MeasurementError, match="finite"):
        parse_formula("file_size * 1e300 * 1e300")({SIZE: (1, math.pi)})


def test_a_formula_has_the_bound_of_its_budget() -> None:
    assert metric_of(Budget(metric="accuracy - npu_share", limit="0", bound="at least")).bound == "at least"
    assert metric_of(Budget(metric="accuracy - npu_share", limit="0")).bound == "at most"
