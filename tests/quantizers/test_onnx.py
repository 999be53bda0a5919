"""The ONNX quantizer against formulas in NumPy, on a file written by hand."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgekd import child
from edgekd.errors import ExportError
from edgekd.inspection import inspect
from edgekd.quantizers.onnx import PRECISIONS, prepare, quantize
from edgekd.records import QuantizationPlan, Ranges
from tests.exact import run_exactly

RANDOM = np.random.default_rng(0)
FILTERS = RANDOM.normal(size=(6, 3, 3, 3)).astype(np.float32) * np.array([1, 2, 4, 8, 16, 32], "f")[:, None, None, None]
TABLE = RANDOM.normal(size=(4, 6)).astype(np.float32)
SAMPLES = RANDOM.normal(size=(70, 3, 8, 8)).astype(np.float32)


def write_model(path: Path, filters: NDArray[np.float32] = FILTERS, *, opset: int = 20) -> Path:
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
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10), path)
    return path


def run(path: Path) -> NDArray[np.float32]:
    return run_exactly(path, SAMPLES)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("source") / "source.onnx")


def ranges_by_hand() -> Ranges:
    """By hand: the activations of the network above, with NumPy."""
    padded = np.pad(SAMPLES.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    conv = np.einsum("nchwij,ocij->nohw", windows, FILTERS.astype(np.float64))
    relu = np.maximum(conv, 0)
    flat = relu.mean(axis=(2, 3))
    logits = flat @ TABLE.astype(np.float64).T
    named = {"input": SAMPLES, "conv": conv, "relu": relu, "pooled": flat, "flat": flat, "logits": logits}
    return {name: (float(values.min()), float(values.max())) for name, values in named.items()}


@pytest.fixture(scope="module")
def files(source: Path) -> dict[str, Path]:
    paths = {precision: source.with_name(f"{precision}.onnx") for precision in PRECISIONS}

    def quantize_all() -> None:
        for precision, path in paths.items():
            ranges = ranges_by_hand() if precision.startswith("static") else {}
            quantize(source=source, plan=QuantizationPlan(precision=precision, ranges=ranges), path=path)

    child.call("the quantizer", quantize_all)
    return paths


@pytest.fixture(scope="module")
def quantized(files: dict[str, Path]) -> Path:
    return files["static_wi8_ai8"]


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


def test_scales_of_activations_follow_the_ranges(quantized: Path) -> None:
    # Asymmetric, with 0 in the range: scale = (max - min) / 255 (Jacob et al. 2018, section 3).
    expected = (float(SAMPLES.max()) - float(SAMPLES.min())) / 255
    assert float(constants(quantized)["input_scale"]) == pytest.approx(expected, rel=1e-5)


def test_int8_outputs_are_near_the_float_ones(source: Path, quantized: Path) -> None:
    expected = run(source)
    assert np.abs(run(quantized) - expected).max() < 0.05 * expected.std() * 4
    assert (run(quantized).argmax(1) == expected.argmax(1)).mean() >= 0.9


def test_float16_weights_are_numpys(source: Path, files: dict[str, Path]) -> None:
    path = files["fp16"]
    halves = [values for values in constants(path).values() if values.dtype == np.float16]
    assert {each.shape for each in halves} == {FILTERS.shape, TABLE.shape}
    np.testing.assert_array_equal(next(each for each in halves if each.ndim == 4), FILTERS.astype(np.float16))
    anatomy = inspect(path)
    assert [end.dtype for end in (*anatomy.inputs, *anatomy.outputs)] == ["float32", "float32"]
    np.testing.assert_allclose(run(path), run(source), atol=0.05)


def test_weights_too_large_for_float16_are_refused(tmp_path: Path) -> None:
    source = write_model(tmp_path / "large.onnx", FILTERS * 1e5)
    with pytest.raises(ExportError, match="'filters' go past 65504"):
        quantize(source=source, plan=QuantizationPlan(precision="fp16"), path=tmp_path / "fp16.onnx")
    assert not (tmp_path / "fp16.onnx").exists()


def test_a_static_precision_needs_ranges(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no ranges of activations"):
        quantize(source=source, plan=QuantizationPlan(precision="static_wi8_ai8"), path=tmp_path / "int8.onnx")


def test_fp32_computes_the_same(source: Path, files: dict[str, Path]) -> None:
    np.testing.assert_array_equal(run(files["fp32"]), run(source))


@pytest.mark.parametrize(("precision", "bits"), [("weight_only_wi8_afp32", 8), ("weight_only_wi4_afp32", 4)])
def test_stored_filters_decode_to_the_nearest_steps(files: dict[str, Path], precision: str, bits: int) -> None:
    # Symmetric: scale = max |w| / (2^(bits-1) - 1) of each output channel; no weight is off by more than half a step.
    model = onnx.load(files[precision])
    (decoder,) = [
        each for each in model.graph.node if each.op_type == "DequantizeLinear" and each.output[0] == "filters"
    ]
    found = constants(files[precision])
    scales = found[decoder.input[1]].astype(np.float64)
    expected = np.abs(FILTERS.astype(np.float64)).max(axis=(1, 2, 3)) / (2 ** (bits - 1) - 1)
    np.testing.assert_allclose(scales, expected, rtol=1e-6)
    decoded = found[decoder.input[0]].astype(np.float64) * scales[:, None, None, None]
    assert (np.abs(decoded - FILTERS) <= scales[:, None, None, None] / 2 * (1 + 1e-5)).all()


def test_weight_only_computes_with_the_decoded_weights(files: dict[str, Path]) -> None:
    found = constants(files["weight_only_wi8_afp32"])
    model = onnx.load(files["weight_only_wi8_afp32"])
    decoded = {}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear":
            values, scales = (found[name].astype(np.float64) for name in node.input[:2])
            decoded[node.output[0]] = values * scales.reshape(-1, *[1] * (values.ndim - 1))
    padded = np.pad(SAMPLES.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    conv = np.einsum("nchwij,ocij->nohw", windows, decoded["filters"])
    expected = np.maximum(conv, 0).mean(axis=(2, 3)) @ decoded["table"].T
    np.testing.assert_allclose(run(files["weight_only_wi8_afp32"]), expected, rtol=1e-4, atol=1e-4)


def test_four_bit_matrices_are_matmulnbits(files: dict[str, Path]) -> None:
    assert inspect(files["weight_only_wi4_afp32"]).count("MatMulNBits") == 1


def test_dynamic_quantizes_as_it_runs(source: Path, files: dict[str, Path]) -> None:
    anatomy = inspect(files["dynamic_wi8_afp32"])
    assert anatomy.count("ConvInteger") == anatomy.count("MatMulInteger") == 1
    assert anatomy.count("DynamicQuantizeLinear") == 2
    expected = run(source)
    assert np.abs(run(files["dynamic_wi8_afp32"]) - expected).max() < 0.2 * expected.std()


MIXED = {"conv": "static_wi4_ai8", "logits": "weight_only_wi4_afp32"}


@pytest.fixture(scope="module")
def mixed(source: Path) -> Path:
    path = source.with_name("mixed.onnx")
    plan = QuantizationPlan(precision="static_wi8_ai8", ranges=ranges_by_hand(), layers=MIXED)
    child.call("the quantizer", quantize, source=source, plan=plan, path=path)
    return path


def test_single_layers_have_the_bits_of_their_own_precision(mixed: Path) -> None:
    found = constants(mixed)
    for weights, axes in ((FILTERS, (1, 2, 3)), (TABLE, (1,))):
        (name,) = [each for each, values in found.items() if values.shape == weights.shape]
        (scale_name,) = [node.input[1] for node in onnx.load(mixed).graph.node if node.input and node.input[0] == name]
        # w = s q with s = max |w| / 7 of each output channel; no weight is off by more than half a step.
        scales = np.abs(weights.astype(np.float64)).max(axis=axes, keepdims=True) / 7
        np.testing.assert_allclose(found[scale_name].ravel(), scales.ravel(), rtol=1e-6)
        assert np.abs(found[name].astype(np.float64)).max() == 7
        errors = np.abs(found[name].astype(np.float64) * scales - weights)
        assert (errors <= scales / 2 * (1 + 1e-5)).all()
    assert {layer.weight_dtype for layer in inspect(mixed).layers if layer.operator in ("Conv", "Gemm")} == {"int4"}


def test_a_mixed_file_computes_with_its_own_weights(mixed: Path) -> None:
    def decoded(weights: NDArray[np.float32], axes: tuple[int, ...]) -> NDArray[np.float64]:
        scales = np.abs(weights.astype(np.float64)).max(axis=axes, keepdims=True) / 7
        nearest: NDArray[np.float64] = np.round(weights / scales) * scales
        return nearest

    padded = np.pad(SAMPLES.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))

    def outputs(filters: NDArray[np.float64], table: NDArray[np.float64]) -> NDArray[np.float64]:
        pooled = np.maximum(np.einsum("nchwij,ocij->nohw", windows, filters), 0).mean(axis=(2, 3))
        given: NDArray[np.float64] = pooled @ table.T
        return given

    expected = outputs(decoded(FILTERS, (1, 2, 3)), decoded(TABLE, (1,)))
    floats = outputs(FILTERS.astype(np.float64), TABLE.astype(np.float64))
    # What is left is the rounding of 8-bit activations, small beside that of 4-bit weights.
    assert np.abs(run(mixed) - expected).mean() < 0.25 * np.abs(floats - expected).mean()


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ({"cnov": "fp16"}, "no layer gives 'cnov'; allowed: conv, logits"),
        ({"conv": "dynamic_wi8_afp32"}, "dynamic_wi8_afp32 for single layers; allowed: fp32, fp16, static_wi8_ai8"),
    ],
)
def test_what_single_layers_can_t_be_is_refused(
    source: Path, tmp_path: Path, layers: dict[str, str], words: str
) -> None:
    plan = QuantizationPlan(precision="static_wi8_ai8", ranges=ranges_by_hand(), layers=layers)
    with pytest.raises(ExportError) as caught:
        quantize(source=source, plan=plan, path=tmp_path / "mixed.onnx")
    assert words in str(caught.value)


def test_prepared_files_compute_the_same(source: Path, tmp_path: Path) -> None:
    child.call("the optimizer", prepare, source, tmp_path / "prepared.onnx")
    np.testing.assert_allclose(run(tmp_path / "prepared.onnx"), run(source), rtol=1e-5, atol=1e-6)


def test_depthwise_filters_keep_eight_bits(tmp_path: Path) -> None:
    filters = RANDOM.normal(size=(3, 1, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["input", "filters"], ["maps"], group=3)],
        "by hand",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("maps", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(filters, "filters")],
    )
    source, path = tmp_path / "source.onnx", tmp_path / "four.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), source)
    child.call(
        "the quantizer", quantize, source=source, plan=QuantizationPlan(precision="weight_only_wi4_afp32"), path=path
    )
    assert {layer.weight_dtype for layer in inspect(path).layers} == {"int8"}
    np.testing.assert_allclose(run(path), run(source), atol=0.1)


def test_files_of_an_old_opset_get_a_scale_for_each_channel(files: dict[str, Path], tmp_path: Path) -> None:
    old, prepared = write_model(tmp_path / "old.onnx", opset=11), tmp_path / "prepared.onnx"
    chosen = ("static_wi8_ai8", "weight_only_wi8_afp32")

    def make() -> None:
        prepare(old, prepared)
        for each in chosen:
            ranges = ranges_by_hand() if each.startswith("static") else {}
            plan = QuantizationPlan(precision=each, ranges=ranges)
            quantize(source=prepared, plan=plan, path=tmp_path / f"{each}.onnx")

    child.call("the quantizer", make)
    for each in chosen:
        np.testing.assert_allclose(run(tmp_path / f"{each}.onnx"), run(files[each]), atol=1e-5)
