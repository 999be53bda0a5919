"""Trends in the report: what is drawn, and what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgekd.records import PastGate, Run
from edgekd.stages.report import report
from edgekd.stages.report.history import history_charts
from tests.history.gates import figure, gate, unbudgeted


def option(gates: list[PastGate], label: str) -> Any:
    (chart,) = history_charts(gates)
    return dict(chart.options)[label]


def test_a_line_a_file_and_a_choice_a_metric_and_target() -> None:
    gates = [
        gate(number, figure(1000.0 * number), figure(2000.0, model="b.onnx"), figure(0.001, metric="latency", unit="s"))
        for number in (1, 2, 3)
    ]
    (chart,) = history_charts(gates)
    assert [label for label, _ in chart.options] == ["file size on file", "latency on file"]
    spec = option(gates, "file size on file")
    values = [(each["n"], each["file"], each["value"], each["text"]) for each in spec["data"]["values"]]
    assert values == [
        *((number, "b.onnx", 2.0, "2.0 kB") for number in (1, 2, 3)),
        *((number, "student.tflite", float(number), f"{number}.0 kB") for number in (1, 2, 3)),
    ]
    told = spec["layer"][0]["transform"][0]["from"]["data"]["values"]
    assert [(each["n"], each["time"], each["run"]) for each in told][:1] == [(1, "2026-11-29 12:01:00", "try-1")]


def test_a_gap_keeps_its_place() -> None:
    gates = [gate(1), gate(2, figure(metric="arena_size")), gate(3)]
    spec = option(gates, "file size on file")
    assert [each["n"] for each in spec["data"]["values"]] == [1, 3]


def test_one_gate_is_no_trend() -> None:
    assert history_charts([gate(1)]) == []
    assert history_charts([gate(1), gate(2, figure(model="b"))]) == []


@pytest.mark.parametrize(("limit", "layers"), [(30_000.0, 2), (58_000.0, 1), (14_000.0, 1)])
def test_limits_are_drawn_where_they_flatten_nothing(limit: float, layers: int) -> None:
    spec = option([gate(number, figure(limit=limit)) for number in (1, 2)], "file size on file")
    assert len(spec["layer"]) == layers
    assert all(layer["data"]["values"] == [{"value": limit / 1000}] for layer in spec["layer"][1:])


def test_shares_are_in_percent() -> None:
    gates = [gate(number, unbudgeted(0.98, metric="accuracy", unit="1")) for number in (1, 2)]
    assert option(gates, "accuracy on file")["data"]["values"][0]["value"] == 98.0


def test_many_files_and_gates_keep_the_page_small(tmp_path: Path) -> None:
    gates = [
        gate(number, *(figure(1000.0 + file, model=f"student-{file}.tflite", target=f"target-{place}")
                       for file in range(20) for place in range(50)))
        for number in range(30)
    ]  # fmt: skip
    run = Run(name="big", folder=tmp_path, recipe="")
    pages = []
    for past in ((), tuple(gates)):
        made = report(Run(name=run.name, folder=run.folder, recipe="", past_gates=past), folder=tmp_path)
        pages.append(made.html_path.stat().st_size)
    assert pages[1] < 4_500_000


def test_the_page_holds_table_and_chart_and_names_are_text(tmp_path: Path) -> None:
    gates = tuple(gate(number, figure(1000.0 * number, model="<b>&.tflite")) for number in (1, 2))
    run = Run(name="past", folder=tmp_path, recipe="", past_gates=gates)
    html = report(run, folder=tmp_path).html_path.read_text(encoding="utf-8")
    section = html[html.index('<section aria-labelledby="history">') :].partition("</section>")[0]
    assert 'id="chart-history"' in section
    assert "+100.0 %" in section
    assert "<b>&.tflite" not in html
    report(Run(name="past", folder=tmp_path, recipe=""), folder=tmp_path)
    assert 'id="history"' not in (tmp_path / "report.html").read_text(encoding="utf-8")
