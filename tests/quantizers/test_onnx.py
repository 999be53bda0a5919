"""The ONNX quantizer against formulas in NumPy, on a file written by hand."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgekd import child
from edgekd.errors import ExportError
from edgekd.inspection import inspect
from edgekd.quantizers.onnx import quantize

RANDOM = np.random.default_rng(0)
FILTERS = RANDOM.normal(size=(6, 3, 3, 3)).astype(np.float32) * np.array([1, 2, 4, 8, 16, 32], "f")[:, None, None, None]
TABLE = RANDOM.normal(size=(4, 6)).astype(np.float32)
SAMPLES = RANDOM.normal(size=(70, 3, 8, 8)).astype(np.float32)


def write_model(path: Path, filters: NDArray[np.float32] = FILTERS) -> Path:
    nodes = [
        helper.make_node("Conv", ["input", "filters"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "table"], ["logits"], transB=1),
    ]
    constants = [numpy_helper.from_array(filters, "filters"), numpy_helper.from_array(TABLE, "table")]
    graph = helper.make_graph(
        nodes,
        "by hand",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4])],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def run(path: Path) -> NDArray[np.float32]:
    outputs: NDArray[np.float32] = onnxruntime.InferenceSession(path).run(None, {"input": SAMPLES})[0]
    return outputs


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("source") / "source.onnx")


@pytest.fixture(scope="module")
def quantized(source: Path) -> Path:
    path = source.with_name("int8.onnx")
    child.call("the quantizer", quantize, source=source, precision="static_wi8_ai8", samples=SAMPLES, path=path)
    return path


def constants(path: Path) -> dict[str, NDArray[np.float64]]:
    return {each.name: numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer}


def test_weights_are_int8_with_a_scale_for_each_channel(quantized: Path) -> None:
    found = constants(quantized)
    (name,) = [each for each, values in found.items() if values.dtype == np.int8 and values.shape == FILTERS.shape]
    # Symmetric: scale = max |w| / 127 of each output channel, w = scale * q (Jacob et al. 2018, eq. 1 with Z = 0).
    expected = np.abs(FILTERS.astype(np.float64)).max(axis=(1, 2, 3)) / 127
    scales = found[name.replace("_quantized", "_scale")].astype(np.float64)
    np.testing.assert_allclose(scales, expected, rtol=1e-6)
    decoded = found[name] * scales[:, None, None, None]
    assert (np.abs(decoded - FILTERS) <= scales[:, None, None, None] / 2 * (1 + 1e-5)).all()


def test_input_range_is_that_of_all_samples(quantized: Path) -> None:
    # Asymmetric: scale = (max - min) / 255 over every sample, not over one batch.
    expected = (float(SAMPLES.max()) - float(SAMPLES.min())) / 255
    assert float(constants(quantized)["input_scale"]) == pytest.approx(expected, rel=1e-5)


def test_order_of_the_samples_does_not_matter(source: Path, quantized: Path, tmp_path: Path) -> None:
    path = tmp_path / "reversed.onnx"
    child.call("the quantizer", quantize, source=source, precision="static_wi8_ai8", samples=SAMPLES[::-1], path=path)
    assert path.read_bytes() == quantized.read_bytes()


def test_int8_outputs_are_near_the_float_ones(source: Path, quantized: Path) -> None:
    expected = run(source)
    assert np.abs(run(quantized) - expected).max() < 0.05 * expected.std() * 4
    assert (run(quantized).argmax(1) == expected.argmax(1)).mean() >= 0.9


def test_float16_weights_are_numpys(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "fp16.onnx"
    quantize(source=source, precision="fp16", samples=SAMPLES[:0], path=path)
    halves = [values for values in constants(path).values() if values.dtype == np.float16]
    assert {each.shape for each in halves} == {FILTERS.shape, TABLE.shape}
    np.testing.assert_array_equal(next(each for each in halves if each.ndim == 4), FILTERS.astype(np.float16))
    anatomy = inspect(path)
    assert [end.dtype for end in (*anatomy.inputs, *anatomy.outputs)] == ["float32", "float32"]
    np.testing.assert_allclose(run(path), run(source), atol=0.05)


def test_weights_too_large_for_float16_are_refused(tmp_path: Path) -> None:
    source = write_model(tmp_path / "large.onnx", FILTERS * 1e5)
    with pytest.raises(ExportError, match="'filters' go past 65504"):
        quantize(source=source, precision="fp16", samples=SAMPLES, path=tmp_path / "fp16.onnx")
    assert not (tmp_path / "fp16.onnx").exists()


def test_static_ranges_need_samples(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no calibration samples"):
        quantize(source=source, precision="static_wi8_ai8", samples=SAMPLES[:0], path=tmp_path / "int8.onnx")


def test_fp32_computes_the_same(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "fp32.onnx"
    quantize(source=source, precision="fp32", samples=SAMPLES[:0], path=path)
    np.testing.assert_array_equal(run(path), run(source))
