"""A layer that was spoilt on purpose is the one that is named."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgekd import child
from edgekd.records import LayerParity
from edgekd.stages.export.parting import compare_layers, first_past
from edgekd.stages.export.watching import watch

RANDOM = np.random.default_rng(0)
WIDTHS = (8, 6, 6, 4)
TABLES = [RANDOM.normal(size=shape).astype(np.float32) for shape in itertools.pairwise(WIDTHS)]
INPUTS = RANDOM.normal(size=(20, 8)).astype(np.float32)


def write_onnx(path: Path, tables: list[NDArray[np.float32]]) -> Path:
    nodes = []
    for index in range(3):
        nodes.append(
            helper.make_node("MatMul", [f"relu{index - 1}" if index else "input", f"{index}.w"], [f"sum{index}"])
        )
        nodes.append(helper.make_node("Relu", [f"sum{index}"], [f"relu{index}"]))
    graph = helper.make_graph(
        nodes,
        "by hand",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("relu2", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(table, f"{index}.w") for index, table in enumerate(tables)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def plant(path: Path, source: Path, place: int) -> Path:
    """Write a TFLite file again with the weights of one layer a hundred times as large."""
    model = flatbuffer_utils.read_model(str(source))
    graph = model.subgraphs[0]
    weighted = [each for each in graph.operators if len(each.inputs) >= 3]
    buffer = model.buffers[graph.tensors[weighted[place].inputs[1]].buffer]
    buffer.data = np.frombuffer((np.frombuffer(bytes(buffer.data), "<f4") * 100).tobytes(), np.uint8)
    flatbuffer_utils.write_model(model, str(path))
    return path


def sqnr(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    exact = expected.astype(np.float64)
    return float(10 * np.log10((exact**2).mean() / ((exact - found) ** 2).mean()))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_spoilt_layer_of_an_onnx_file_is_named(tmp_path: Path, place: int) -> None:
    source = write_onnx(tmp_path / "source.onnx", TABLES)
    spoilt = [table * np.float32(100 if index == place else 1) for index, table in enumerate(TABLES)]
    path = write_onnx(tmp_path / "spoilt.onnx", spoilt)
    (layers,) = child.call("the comparison", compare_layers, "onnx", source, {path: "static_wi8_ai8"}, INPUTS)
    parted = first_past(layers)
    assert parted is not None
    assert (parted.layer, parted.operator) == (str(place), "MatMul")
    hidden = INPUTS
    for table in TABLES[:place]:
        hidden = np.maximum(hidden @ table, 0)
    assert parted.sqnr_db == pytest.approx(sqnr(hidden @ TABLES[place], hidden @ spoilt[place]), abs=0.01)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_spoilt_layer_of_a_tflite_file_is_named(shared_data: Path, tmp_path: Path, place: int) -> None:
    source = shared_data / "models/ai_edge_quantizer/conv_fc_mnist.tflite"
    path = plant(tmp_path / "spoilt.tflite", source, place)
    inputs = RANDOM.uniform(0, 1, size=(6, 1, 28, 28)).astype(np.float32)

    paths = {source: "fp32", path: "static_wi8_ai8"}

    def compare() -> tuple[list[tuple[LayerParity, ...]], dict[str, str]]:
        return compare_layers("tflite", source, paths, inputs), dict(watch("tflite", source).operators)

    (same, layers), operators = child.call("the comparison", compare)
    assert {layer.sqnr_db for layer in same} == {300.0}
    assert len(layers) == len(operators)
    parted = first_past(layers)
    weighted = [kind for kind in operators.values() if kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")]
    assert parted is not None
    assert parted.operator == weighted[place]
    assert [layer.operator for layer in layers[: layers.index(parted)]].count(parted.operator) == weighted[
        :place
    ].count(parted.operator)


@pytest.mark.parametrize(("precision", "past"), [("fp32", True), ("fp16", True), ("static_wi8_ai8", False)])
def test_thresholds_follow_the_precision(tmp_path: Path, precision: str, past: bool) -> None:
    source = write_onnx(tmp_path / "source.onnx", TABLES)
    # 1 + 1/16 is 24 dB of signal over noise: too much for float16, and what int8 costs.
    path = write_onnx(tmp_path / "other.onnx", [TABLES[0] * np.float32(1 + 1 / 16), *TABLES[1:]])
    (layers,) = child.call("the comparison", compare_layers, "onnx", source, {path: precision}, INPUTS)
    assert layers[0].sqnr_db == pytest.approx(20 * np.log10(16), abs=1e-3)
    assert (first_past(layers) is layers[0]) == past


def watch_modules(kind: str, path: Path) -> Callable[[], dict[str, str]]:
    return lambda: dict(watch(kind, path).modules)


def test_modules_are_read_from_names_of_weights(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "source.onnx", TABLES)
    assert child.call("watching", watch_modules("onnx", path)) == {"sum0": "0", "sum1": "1", "sum2": "2"}
