"""The report's section on layers: what is shown of each file, and which layer is named."""

from edgekd.records import LayerParity
from edgekd.stages.report.layers import layer_chart, layer_tables, parted_lines


def layer(name: str, decibels: float, *, past: bool = False, operator: str = "CONV_2D") -> LayerParity:
    return LayerParity(layer=name, operator=operator, sqnr_db=decibels, max_error=0.5, mean_error=0.1, past=past)


LAYERS = {
    "student.fp32.tflite": [layer("stem", 300), layer("head", 300)],
    "student.fp16.tflite": [layer("stem", 71.25), layer("head", 68)],
    "student.static_wi8_ai8.tflite": [layer("stem", 38), layer("body", 4, past=True), layer("head", 2.5, past=True)],
    "student.static_wi8_ai8.onnx": [layer("head", 300, operator="Gemm")],
}


def test_files_of_a_format_stand_side_by_side() -> None:
    tables = {table.format: table for table in layer_tables(LAYERS)}
    assert list(tables) == ["tflite", "onnx"]
    assert tables["tflite"].precisions == ("fp16", "static_wi8_ai8")
    rows = {row.layer: [cell and cell.text for cell in row.cells] for row in tables["tflite"].rows}
    # The longest file gives the order; what another has fused stays empty.
    assert rows == {"stem": ["71.2", "38.0"], "body": [None, "4.0"], "head": ["68.0", "2.5"]}
    # Nobody can tell apart what is above that.
    assert [[cell and cell.text for cell in row.cells] for row in tables["onnx"].rows] == [["100.0"]]


def test_the_first_layer_past_its_threshold_is_named() -> None:
    assert parted_lines(LAYERS) == (
        "student.static_wi8_ai8.tflite parts from the float32 file at body (CONV_2D): 4.0 dB",
    )


def test_the_chart_has_every_layer_of_every_precision() -> None:
    chart = layer_chart(LAYERS)
    assert chart is not None
    specs = dict(chart.options)
    points = [(each["precision"], each["layer"], each["ratio"]) for each in specs["tflite"]["data"]["values"]]
    assert ("static_wi8_ai8", "2 body", 4.0) in points
    assert len(points) == 5


def test_without_quantized_files_there_is_nothing_to_show() -> None:
    assert layer_chart({}) is None
    assert layer_tables({"student.fp32.onnx": [layer("stem", 300)]}) == ()
