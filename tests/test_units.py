"""Limits as people write them, and values as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd import units
from edgekd.errors import ConfigError


@pytest.mark.parametrize(
    ("metric", "text", "value"),
    [
        ("file_size", "100 kB", 100_000),
        ("file_size", "100KiB", 102_400),
        ("arena_size", "1.5 MiB", 1_572_864),
        ("peak_memory", " 2 GB ", 2_000_000_000),
        ("latency", "10 ms", 0.01),
        ("latency", "250 µs", 0.00025),
        ("latency", "250 us", 0.00025),
        ("latency", "1e3 ns", 1e-6),
        ("energy", "5 mJ", 0.005),
        ("energy", "250 µJ", 0.00025),
        ("energy", "1.5e3uJ", 0.0015),
        ("energy", "40 nJ", 4e-8),
        ("energy", "2 J", 2.0),
        ("accuracy", "98 %", 0.98),
        ("parity", "99.5%", 0.995),
        ("accuracy_drop", "2 pt", 0.02),
        ("accuracy_drop", "2 %", 0.02),
        ("auc_drop", "2 pt", 0.02),
        ("mean_squared_error", "0.05", 0.05),
        ("reconstruction_error", " 3e-4 ", 3e-4),
        ("mean_squared_error_increase", "0.05", 0.05),
        ("mean_absolute_error_increase", "5 %", 0.05),
    ],
)
def test_limits_become_base_units(metric: str, text: str, value: float) -> None:
    limit = units.parse_limit(metric, text)
    assert limit.value == pytest.approx(value, rel=1e-12)
    assert limit.unit in text


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        ("file_size", "100"),
        ("file_size", "kB"),
        ("file_size", "-1 kB"),
        ("file_size", "1 ms"),
        ("file_size", "1 KB"),
        ("latency", "1 kB"),
        ("latency", "nan ms"),
        ("energy", "5 mW"),
        ("energy", "5"),
        ("accuracy", "98 pt"),
        ("accuracy", "0.98"),
        ("accuracy_drop", "1,5 pt"),
        ("accuracy_drop", ""),
    ],
)
def test_limits_without_a_fitting_unit_are_refused(metric: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        units.parse_limit(metric, text)
    assert f"'{text}'" in caught.value.what
    assert caught.value.allowed == " ".join(units.UNITS[units.METRICS[metric].dimension])


@pytest.mark.parametrize(
    ("metric", "text", "allowed"),
    [
        ("mean_squared_error", "5 %", "a number alone"),
        ("mean_squared_error", "-1", "a number alone"),
        ("mean_squared_error", "", "a number alone"),
        ("reconstruction_error_increase", "5 pt", "a number alone or a number in %"),
    ],
)
def test_errors_are_limited_by_numbers_alone(metric: str, text: str, allowed: str) -> None:
    with pytest.raises(ConfigError, match=f"limit '{text}' of {metric} is no such number") as caught:
        units.parse_limit(metric, text)
    assert caught.value.allowed == allowed


def test_an_unknown_metric_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"unknown metric 'file_sise'.*did you mean 'file_size'\?"):
        units.parse_limit("file_sise", "1 kB")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "B", "0 B"),
        (999, "B", "999 B"),
        (98_496, "B", "98.5 kB"),
        (1.5e6, "B", "1.5 MB"),
        (2e9, "B", "2.0 GB"),
        (-2_000, "B", "-2.0 kB"),
        (0, "s", "0 ns"),
        (5e-7, "s", "500 ns"),
        (78e-6, "s", "78.0 µs"),
        (1.234e-3, "s", "1.23 ms"),
        (12.34, "s", "12.3 s"),
        (0.0052, "J", "5.2 mJ"),
        (1.5e-8, "J", "15 nJ"),
        (3.507, "W", "3.51 W"),
        (0.8766, "1", "87.66 %"),
        (3, "runs", "3 runs"),
        (0.0512345, "", "0.05123"),
        (1234567.0, "", "1.235e+06"),
    ],
)
def test_values_are_written_for_people(value: float, unit: str, text: str) -> None:
    assert units.human(value, unit) == text


@given(st.floats(1e-6, 1e12), st.sampled_from(["B", "s", "J"]))
def test_what_is_written_can_be_read_back(value: float, unit: str) -> None:
    metric, smallest = {"B": ("file_size", 1.0), "s": ("latency", 1e-9), "J": ("energy", 1e-9)}[unit]
    read = units.parse_limit(metric, units.human(value, unit)).value
    assert read == pytest.approx(value, rel=0.05, abs=smallest)


def test_every_metric_has_units_to_limit_it_in() -> None:
    for name, metric in units.METRICS.items():
        assert metric.name == name
        assert metric.unit == units.BASE_UNIT[metric.dimension]
        unit = next(iter(units.UNITS[metric.dimension]))
        assert units.parse_limit(name, f"1 {unit}").value == units.UNITS[metric.dimension][unit]


def test_every_score_of_a_model_has_a_metric_of_its_loss() -> None:
    losses = {metric.source: metric for metric in units.METRICS.values() if metric.source}
    assert set(losses) == {metric.name for metric in units.METRICS.values() if not metric.source}
    assert losses["f1"].name == "f1_drop"
    assert losses["mean_squared_error"].name == "mean_squared_error_increase"
    for name, metric in losses.items():
        assert metric.bound == "at most"
        assert metric.estimator == units.METRICS[name].estimator


@pytest.mark.parametrize(("text", "seconds"), [("10m", 600), ("1.5 h", 5400), ("90s", 90), ("2 min", 120)])
def test_durations(text: str, seconds: float) -> None:
    assert units.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "0s", "-1m", "10 d", "1e9"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--sustained: .*is no duration; allowed: a number and s, m or h"):
        units.parse_duration(text, "--sustained")


@pytest.mark.parametrize("text", ["", "2", "-1 %", "2 pt", "fast"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(ConfigError, match="is no share; allowed: a number in percent"):
        units.parse_share(text)
