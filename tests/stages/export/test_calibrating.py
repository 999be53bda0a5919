"""One pass over one float file, whatever formats are made of it."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgekd import child
from edgekd.errors import ExportError
from edgekd.records import QuantSpec
from edgekd.stages.export.calibrating import Samples, choose_ranges, match, watch_all
from edgekd.stats import Stream

RANDOM = np.random.default_rng(0)
TABLE = RANDOM.normal(size=(8, 6)).astype(np.float32)
SAMPLES = RANDOM.normal(size=(100, 8)).astype(np.float32)


def write(path: Path, table: NDArray[np.float32] = TABLE, names: tuple[str, str] = ("sum", "relu")) -> Path:
    nodes = [
        helper.make_node("MatMul", ["input", "table"], [names[0]]),
        helper.make_node("Relu", [names[0]], [names[1]]),
    ]
    graph = helper.make_graph(
        nodes,
        "by hand",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info(names[1], TensorProto.FLOAT, ["batch", 6])],
        [numpy_helper.from_array(table, "table")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def watched(sources: dict[str, Path], samples: Samples) -> dict[str, dict[str, Stream]]:
    return child.call("the calibration", watch_all, sources, samples)


def test_ranges_are_numpys_over_all_batches(tmp_path: Path) -> None:
    samples = Samples.write(SAMPLES, tmp_path / "samples.f32")
    streams = watched({"onnx": write(tmp_path / "one.onnx")}, samples)["onnx"]
    product = SAMPLES.astype(np.float64) @ TABLE
    expected: dict[str, NDArray[Any]] = {"input": SAMPLES, "sum": product, "relu": np.maximum(product, 0)}
    for name, values in expected.items():
        low, high = choose_ranges(streams, QuantSpec(), "static_wi8_ai8")[name]
        assert (low, high) == pytest.approx((values.min(), values.max()), rel=1e-5)
        assert streams[name].counts.sum() == values.size


def test_batches_are_the_samples_in_order(tmp_path: Path) -> None:
    samples = Samples.write(SAMPLES, tmp_path / "samples.f32")
    parts = list(samples.batches())
    assert [len(each) for each in parts] == [32, 32, 32, 4]
    np.testing.assert_array_equal(np.concatenate(parts), SAMPLES)


def test_the_same_samples_are_watched_once(tmp_path: Path) -> None:
    samples = Samples.write(SAMPLES, tmp_path / "samples.f32")
    source = write(tmp_path / "one.onnx")
    first = watched({"onnx": source}, samples)["onnx"]
    again = watched({"onnx": source}, samples)["onnx"]
    for name, stream in first.items():
        assert (stream.low, stream.high, stream.width) == (again[name].low, again[name].high, again[name].width)
        np.testing.assert_array_equal(stream.counts, again[name].counts)
    # Other weights are another network, whatever the file is called.
    other = watched({"onnx": write(source, TABLE * 2)}, samples)["onnx"]
    assert other["sum"].high == pytest.approx(2 * first["sum"].high, rel=1e-5)


def test_activations_of_another_format_are_recognised_by_what_they_hold() -> None:
    first = RANDOM.normal(size=(4, 3, 5, 5)).astype(np.float32)
    known = {"a": first, "b": np.maximum(first, 0), "c": first.mean(axis=(2, 3))}
    wanted = {
        "x": known["b"].transpose(0, 2, 3, 1),
        "y": known["a"].transpose(0, 2, 3, 1) * (1 + 1e-6),
        "z": known["a"].transpose(0, 2, 3, 1) * 1.01,
        "padded": np.pad(known["c"], ((0, 0), (0, 1))),
    }
    assert match(known, wanted) == {"x": "b", "y": "a", "z": None, "padded": None}


def test_activations_that_are_not_finite_are_named(tmp_path: Path) -> None:
    samples = Samples.write(SAMPLES * np.float32(1e37), tmp_path / "samples.f32")
    with pytest.raises(ExportError, match="activation 'sum' is not finite"):
        watched({"onnx": write(tmp_path / "one.onnx", TABLE * np.float32(1e3))}, samples)


def test_what_masks_hide_leaves_room_for_scores_in_texts_alone(tmp_path: Path) -> None:
    # Scores from -2 to 3; the last of four tokens is a pad, which a mask hides by -10,000.
    scores = np.array([[[-2.0, 1.0, 3.0, 0.5]]], np.float32)
    for dtype, low in ((TensorProto.INT64, -10.0), (TensorProto.FLOAT, -9999.5)):
        nodes = [
            helper.make_node("Cast", ["input"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["floats", "never"], ["mask"]),
            helper.make_node("Add", ["mask", "scores"], ["masked"]),
        ]
        constants = {"never": np.array(-1e4, np.float32), "scores": scores[0]}
        graph = helper.make_graph(
            nodes,
            "masked",
            [helper.make_tensor_value_info("input", dtype, ["batch", 4])],
            [helper.make_tensor_value_info("masked", TensorProto.FLOAT, ["batch", 4])],
            [numpy_helper.from_array(values, name) for name, values in constants.items()],
        )
        path = tmp_path / f"{dtype}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
        samples = Samples.write(np.array([[0, 0, 0, 1], [0, 0, 0, 1]], np.float32), tmp_path / "samples.f32")
        streams = child.call("the calibration", watch_all, {"onnx": path}, samples)["onnx"]
        assert (streams["masked"].low, streams["masked"].high) == (low, 3.0)
        # 1000 below 0: what it is added to stays below all scores, however large these are.
        assert streams["mask"].low == (-1000.0 if dtype == TensorProto.INT64 else -1e4)
        assert ("input" in streams) == (dtype == TensorProto.FLOAT)
