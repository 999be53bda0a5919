"""Trends: what belongs together, and how it changed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.history import change_text, trends_of, value_text
from tests.history.gates import figure, gate, unbudgeted


def test_one_metric_of_one_file_on_one_target_is_a_trend() -> None:
    gates = [
        gate(1, figure(1.0), figure(2.0, target="host"), figure(3.0, model="b"), figure(4.0, metric="arena_size")),
        gate(2, figure(5.0)),
        gate(3, figure(6.0), recipe="ecg"),
    ]
    assert [
        (each.recipe, each.name, each.latest.target, each.latest.model, each.values) for each in trends_of(gates)
    ] == [
        ("digits", "arena_size", "file", "student.tflite", (4.0,)),
        ("digits", "file_size", "file", "b", (3.0,)),
        ("digits", "file_size", "file", "student.tflite", (1.0, 5.0)),
        ("digits", "file_size", "host", "student.tflite", (2.0,)),
        ("ecg", "file_size", "file", "student.tflite", (6.0,)),
    ]


def test_a_metric_that_gets_a_budget_goes_on_where_it_was() -> None:
    (trend,) = trends_of([gate(1, unbudgeted(1.0)), gate(2, figure(2.0))])
    assert trend.values == (1.0, 2.0)
    assert trend.latest.status == "pass"


def test_quantiles_parts_and_references_stay_apart() -> None:
    figures = [
        figure(1.0, statistic="p50"),
        figure(1.0, statistic="p90"),
        figure(1.0, part="cat"),
        figure(1.0, reference="teacher"),
    ]
    assert sorted(each.name for each in trends_of([gate(1, *figures)])) == [
        "file_size cat",
        "file_size p50",
        "file_size p90",
        "file_size teacher",
    ]


@pytest.mark.parametrize("statuses", [("pass", "fail"), ("fail", "pass"), ("waived", "pass", "fail", "inconclusive")])
def test_of_two_budgets_on_one_number_the_one_that_keeps_it_back_is_shown(statuses: tuple[str, ...]) -> None:
    (trend,) = trends_of([gate(1, *(figure(status=status) for status in statuses))])
    assert (len(trend.points), trend.latest.status) == (1, "fail")


def test_what_was_not_observed_is_no_point() -> None:
    gates = [gate(1, figure(1.0)), gate(2, figure(None, status="unmeasured")), gate(3, figure(3.0))]
    (trend,) = trends_of(gates)
    assert [each.gate.fingerprint for each in trend.points] == ["f1", "f3"]
    assert trends_of([gates[1]]) == []
    assert [trends_of(gates[:count])[0].is_current for count in (1, 2, 3)] == [True, False, True]
    assert trends_of([*gates, gate(4, recipe="ecg")])[0].is_current


def test_changes_since_the_one_before_and_the_first() -> None:
    (trend,) = trends_of([gate(number, figure(value)) for number, value in enumerate((100.0, 200.0, 150.0))])
    assert (trend.change(-2), trend.change(0)) == ("-25.0 %", "+50.0 %")
    (trend,) = trends_of([gate(1)])
    assert (trend.change(-2), trend.change(0)) == ("", "")


def test_drops_are_in_points_where_the_budget_says_so() -> None:
    drop = figure(0.0123, metric="accuracy_drop", unit="1", written="3 pt")
    assert value_text(drop) == "1.23 pt"
    assert value_text(figure(0.0123, metric="accuracy_drop", unit="1", written="3 %")) == "1.23 %"


@settings(deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.sampled_from(["1", "B", "s", "J", ""]))
def test_a_change_has_the_sign_of_the_difference(before: float, after: float, unit: str) -> None:
    text = change_text(before, after, unit)
    assert text[0] == ("=" if before == after else "+" if after > before else "-")
