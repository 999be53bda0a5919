"""Tables of how much worse than the last release files may be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # its stubs are another package

from edgekd.config import DEFAULT_TOLERANCES, json_schema, load_gate_spec, load_recipe, read_regressions
from edgekd.config.cross_check import cross_check
from edgekd.errors import ConfigError
from edgekd.records import Tolerances

FINE = """
[regressions]
accuracy = "0.5 pt"
file_size = "2 kB"
latency = "5 %"
"sustained_latency.p99" = "10 %"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "budgets.toml"
    path.write_text(text)
    return path


def test_a_table_is_read_as_budgets_against_the_last_release(tmp_path: Path) -> None:
    table = load_gate_spec(write(tmp_path, FINE)).regressions
    assert table is not None
    found = [(each.metric, each.statistic, each.limit, each.reference) for each in read_regressions(table, "x")]
    assert found == [
        ("accuracy_drop", None, "0.5 pt", "baseline"),
        ("file_size_increase", None, "2 kB", "baseline"),
        ("latency_increase", None, "5 %", "baseline"),
        ("sustained_latency_increase", "p99", "10 %", "baseline"),
    ]
    nested = FINE.replace('"sustained_latency.p99"', "sustained_latency.p99")
    again = load_gate_spec(write(tmp_path, nested)).regressions
    assert again is not None
    assert read_regressions(again, "x") == read_regressions(table, "x")
    assert load_gate_spec(write(tmp_path, "")).regressions is None
    assert load_gate_spec(write(tmp_path, "[regressions]")).regressions == {}


def test_overrides_reach_into_it(tmp_path: Path) -> None:
    spec = load_gate_spec(write(tmp_path, FINE), ['regressions.accuracy="1 pt"', "regressions.latency=3 %"])
    assert spec.regressions is not None
    assert (spec.regressions["accuracy"], spec.regressions["latency"]) == ("1 pt", "3 %")


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    lines = (
        "[regressions]",
        'acuracy = "1 pt"',
        'latency = "5 ms"',
        'file_size.p90 = "5 %"',
        'accuracy_drop = "1 pt"',
        'energy = "-1 J"',
    )
    with pytest.raises(ConfigError) as caught:
        load_gate_spec(write(tmp_path, "\n".join(lines)))
    message = str(caught.value)
    assert message.startswith("5 problems")
    assert "budgets.toml: regressions.acuracy: unknown metric 'acuracy'" in message
    assert "did you mean 'accuracy'?" in message
    assert "budgets.toml: regressions.latency: limit '5 ms' of latency_increase" in message
    assert "budgets.toml: regressions.file_size.p90: statistic 'p90' has no meaning" in message
    assert "budgets.toml: regressions.accuracy_drop: unknown metric" in message
    assert "budgets.toml: regressions.energy: limit '-1 J'" in message


@pytest.mark.parametrize("table", ["accuracy = 1", "accuracy = [1]", "latency.p90.x = 1", "latency.p90 = 1"])
def test_limits_are_texts(tmp_path: Path, table: str) -> None:
    with pytest.raises(ConfigError, match=r"budgets\.toml: regressions\.\w+"):
        load_gate_spec(write(tmp_path, f"[regressions]\n{table}\n"))


def test_recipes_are_held_to_it_too() -> None:
    recipe = load_recipe("digits").recipe
    assert cross_check(replace(recipe, regressions={"accuracy": "1 pt"}), "own.toml") == []
    table: Tolerances = {"acuracy": "1 pt", "latency": {"p90": "1 %"}}
    problems = [str(each) for each in cross_check(replace(recipe, regressions=table), "own.toml")]
    assert problems[0].startswith("own.toml: regressions.acuracy: unknown metric 'acuracy'")
    assert problems[1].startswith("own.toml: regressions.latency.p90: statistic 'p90' has no meaning")


def test_defaults_make_sense() -> None:
    assert len(read_regressions(DEFAULT_TOLERANCES, "")) == len(DEFAULT_TOLERANCES)


def test_editors_know_the_table() -> None:
    table = json_schema()["properties"]["regressions"]
    schema = Draft202012Validator({**table, "$defs": json_schema()["$defs"]})
    assert schema.is_valid({"accuracy": "1 pt", "latency.p90": "5 %", "sustained_latency": {"p50": "1 %"}})
    assert not schema.is_valid({"acuracy": "1 pt"})
    assert not schema.is_valid({"accuracy": 1})
