"""Bars of a trend, and text of others in tables."""

from __future__ import annotations

import io

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from edgekd.console.history import history_tables, sparkline
from edgekd.history import trends_of
from tests.history.gates import figure, gate

BARS = "▁▂▃▄▅▆▇█"


@settings(deadline=None)
@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=40))
def test_bars_are_as_many_and_in_the_order_of_the_values(values: list[float]) -> None:
    bars = sparkline(values)
    assert len(bars) == len(values)
    heights = [BARS.index(bar) for bar in bars]
    pairs = sorted(zip(values, heights, strict=True))
    assert [height for _, height in pairs] == sorted(heights)
    if min(values) < max(values):
        assert (min(heights), max(heights)) == (0, 7)


def test_markup_in_names_is_text() -> None:
    gates = [gate(1, figure(model="[red]a[/].tflite", written="[/]"), recipe="[bold]", run="[/x]", status="[b]")]
    out = io.StringIO()
    Console(file=out, width=400).print(*history_tables(gates, trends_of(gates)))
    for text in ("[red]a[/].tflite", "≤ [/]", "Trends of [bold]", "[/x]", "[b]"):
        assert text in out.getvalue()


def test_what_the_last_gate_did_not_see_is_marked() -> None:
    gates = [gate(1, figure(), figure(metric="arena_size")), gate(2)]
    out = io.StringIO()
    Console(file=out, width=400).print(*history_tables(gates, trends_of(gates)))
    marked = [line.split()[0] for line in out.getvalue().splitlines() if "not in the last gate" in line]
    assert marked == ["arena_size"]
