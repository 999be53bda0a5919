"""The report's section on mixed precision: files that were tried, and what layers cost."""

from dataclasses import replace
from pathlib import Path

from edgekd.records import LayerCost, MixedFile, MixedSearch, Run
from edgekd.stages.report.mixed import mixed_chart, mixed_lines, mixed_tables
from edgekd.stages.report.page import render
from edgekd.stages.report.section import Findings


def file(size: int, score: float, *precisions: str) -> MixedFile:
    layers = dict(zip(("stem", "depthwise", "head"), precisions, strict=True))
    return MixedFile(layers=layers, size_bytes=size, predicted_loss=0.05, loss=0.06, score=score)


INT8, INT4 = "static_wi8_ai8", "static_wi4_ai8"
SEARCH = MixedSearch(
    budget="max_drop = 0.5 pt",
    metric="accuracy",
    reference=0.9,
    costs=(
        LayerCost(layer="stem", precision=INT8, loss=0.00012345, size_bytes=900),
        LayerCost(layer="stem", precision=INT4, loss=0.25, size_bytes=600),
        LayerCost(layer="depthwise", precision=INT8, loss=0.0002, size_bytes=500),
        LayerCost(layer="head", precision=INT8, loss=0.0003, size_bytes=20_000),
        LayerCost(layer="head", precision=INT4, loss=0.004, size_bytes=10_500),
    ),
    files=(
        file(30_000, 0.7, INT4, INT8, INT4),
        file(31_000, 0.8961, INT8, INT8, INT4),
        file(40_000, 0.9, INT8, INT8, INT8),
    ),
    chosen=1,
)


def test_each_layer_s_costs_stand_side_by_side_and_what_the_file_has_is_marked() -> None:
    (table,) = mixed_tables({"student.mixed.tflite": SEARCH})
    assert table.precisions == (INT8, INT4)
    rows = {row.layer: [cell and (cell.loss, cell.size, cell.taken) for cell in row.cells] for row in table.rows}
    assert rows == {
        "stem": [("0.000123", "900 B", True), ("0.25", "600 B", False)],
        # A precision that the format does not have for a layer.
        "depthwise": [("0.0002", "500 B", True), None],
        "head": [("0.0003", "20.0 kB", False), ("0.004", "10.5 kB", True)],
    }


def test_what_was_asked_for_and_taken_is_said() -> None:
    (line,) = mixed_lines({"student.mixed.tflite": SEARCH})
    assert line.startswith("student.mixed.tflite: max_drop = 0.5 pt; 31.0 kB, accuracy 89.61 % on validation data")
    assert line.endswith("simulated (float32 90.00 %)")


def test_the_chart_has_every_file_and_tells_the_one_that_was_taken() -> None:
    chart = mixed_chart({"student.mixed.tflite": SEARCH})
    assert chart is not None
    values = dict(chart.options)["student.mixed.tflite"]["data"]["values"]
    assert [(each["x"], each["y"], each["kind"]) for each in values] == [
        (30.0, 70.0, "mixed"),
        (31.0, 89.61, "taken"),
        (40.0, 90.0, "one precision"),
    ]
    assert values[0]["layers"] == "2 static_wi4_ai8, 1 static_wi8_ai8"


def test_the_page_shows_it_where_there_is_one() -> None:
    run = Run(name="run", folder=Path(), recipe="")
    assert 'id="mixed"' not in render(Findings(run=run, rows=()))
    page = render(Findings(run=replace(run, mixed={"student.mixed.tflite": SEARCH}), rows=()))
    assert "<strong>0.004, 10.5 kB</strong>" in page
    assert "max_drop = 0.5 pt; 31.0 kB" in page
    assert mixed_chart({}) is None
