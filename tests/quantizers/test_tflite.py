"""The TFLite quantizer on a reference file, against formulas, LiteRT and TFLite Micro."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from edgekd import child
from edgekd.errors import ExportError
from edgekd.inspection import inspect
from edgekd.quantizers.tflite import PRECISIONS, quantize
from edgekd.records import QuantizationPlan, QuantSpec
from edgekd.stages.export.calibrating import Samples, choose_ranges, watch_all

# Channels first, as the rest of edgekd has them; between 0 and 1, as MNIST.
SAMPLES = np.random.default_rng(0).uniform(0, 0.9, size=(24, 1, 28, 28)).astype(np.float32)


@pytest.fixture(scope="module")
def source(shared_data: Path) -> Path:
    return shared_data / "models/ai_edge_quantizer/conv_fc_mnist.tflite"


@pytest.fixture(scope="module")
def folder(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quantized")
    forwards = Samples.write(SAMPLES, folder / "forwards.f32")
    backwards = Samples.write(SAMPLES[::-1], folder / "backwards.f32")

    def quantize_all() -> None:
        for samples, name in ((forwards, ""), (backwards, "reversed")):
            streams = watch_all({"tflite": source}, samples)["tflite"]
            for precision in PRECISIONS:
                static = precision.startswith("static")
                ranges = choose_ranges(streams, QuantSpec(), precision) if static else {}
                plan = QuantizationPlan(precision=precision, ranges=ranges)
                quantize(source=source, plan=plan, path=folder / f"{name}{precision}.tflite")
                if precision == "static_wi8_ai8" and not name:
                    for io in ("float32", "uint8"):
                        plan = QuantizationPlan(precision=precision, ranges=ranges, io=io)
                        quantize(source=source, plan=plan, path=folder / f"{io}.tflite")

    child.call("the quantizer", quantize_all)
    return folder


@pytest.fixture(scope="module")
def weighted(source: Path) -> list[str]:
    """Outputs of the float file's operators with weights, in its order."""
    return [layer.name for layer in inspect(source).layers if layer.operator in ("CONV_2D", "FULLY_CONNECTED")]


@pytest.mark.parametrize("io", [None, "float32", "uint8"])
@pytest.mark.parametrize(
    ("precisions", "dtypes"),
    [
        (("static_wi4_ai8", "static_wi8_ai16"), ("int4", "int8")),
        (("fp16", "static_wi4_ai8"), ("float16", "int4")),
        (("fp32", "weight_only_wi4_afp32"), ("float32", "int4")),
        (("static_wi8_ai16", "fp32"), ("int8", "float32")),
    ],
)
def test_single_layers_have_the_bits_of_their_own_precision(
    source: Path,
    weighted: list[str],
    tmp_path: Path,
    precisions: tuple[str, str],
    dtypes: tuple[str, str],
    io: Literal["float32", "uint8"] | None,
) -> None:
    layers = {weighted[0]: precisions[0], weighted[-1]: precisions[1]}
    path = tmp_path / "mixed.tflite"

    def make() -> None:
        streams = watch_all({"tflite": source}, Samples.write(SAMPLES, tmp_path / "samples.f32"))["tflite"]
        ranges = choose_ranges(streams, QuantSpec(), "static_wi8_ai8")
        plan = QuantizationPlan(precision="static_wi8_ai8", ranges=ranges, layers=layers, io=io)
        quantize(source=source, plan=plan, path=path)

    child.call("the quantizer", make)
    anatomy = inspect(path)
    found = [layer.weight_dtype for layer in anatomy.layers if layer.operator in ("CONV_2D", "FULLY_CONNECTED")]
    assert (found[0], found[-1]) == dtypes
    assert set(found[1:-1]) <= {"int8"}
    # Whatever its first and last layer are, the file takes and gives what it was asked to.
    assert {end.dtype for end in (*anatomy.inputs, *anatomy.outputs)} == {io or "int8"}
    np.testing.assert_allclose(run(path), run(source), atol=0.6 if "int4" in dtypes else 0.1)


def quantized(sample: NDArray[np.float32], taken: dict[str, Any]) -> NDArray[Any]:
    scale, zero = taken["quantization"]
    if not scale:
        return sample
    limits = np.iinfo(taken["dtype"])
    integers: NDArray[Any] = np.clip(np.round(sample / scale) + zero, limits.min, limits.max).astype(taken["dtype"])
    return integers


def run(path: Path) -> NDArray[np.float64]:
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    outputs = []
    for sample in SAMPLES.transpose(0, 2, 3, 1):
        interpreter.set_tensor(taken["index"], quantized(sample, taken)[None])
        interpreter.invoke()
        scale, zero = given["quantization"]
        raw = interpreter.get_tensor(given["index"])[0].astype(np.float64)
        outputs.append((raw - zero) * scale if scale else raw)
    return np.stack(outputs)


def test_int8_file_is_int8_from_end_to_end(folder: Path, source: Path) -> None:
    anatomy = inspect(folder / "static_wi8_ai8.tflite")
    assert [end.dtype for end in (*anatomy.inputs, *anatomy.outputs)] == ["int8", "int8"]
    assert {layer.weight_dtype for layer in anatomy.layers} == {None, "int8"}
    assert {total.dtype for total in anatomy.dtypes} == {"int8", "int32"}
    assert anatomy.parameters == inspect(source).parameters
    assert anatomy.size_bytes < source.stat().st_size / 3


def test_input_range_is_that_of_all_samples(folder: Path) -> None:
    # scale = (max - min) / 255, with 0 in the range (Jacob et al. 2018, section 3).
    expected = float(SAMPLES.max()) / 255
    (taken,) = inspect(folder / "static_wi8_ai8.tflite").inputs
    assert taken.scale == pytest.approx(expected, rel=1e-3)


def test_order_of_the_samples_does_not_matter(folder: Path) -> None:
    reversed_one = folder / "reversedstatic_wi8_ai8.tflite"
    assert reversed_one.read_bytes() == (folder / "static_wi8_ai8.tflite").read_bytes()


@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [
        ("fp32", 1e-6),
        ("fp16", 2e-3),
        ("static_wi8_ai8", 0.1),
        ("static_wi8_ai16", 0.05),
        ("dynamic_wi8_afp32", 0.1),
        ("weight_only_wi8_afp32", 0.05),
        ("weight_only_wi4_afp32", 0.6),
        ("uint8", 0.1),
        ("float32", 0.1),
    ],
)
def test_outputs_are_near_the_float_ones(folder: Path, source: Path, precision: str, tolerance: float) -> None:
    np.testing.assert_allclose(run(folder / f"{precision}.tflite"), run(source), atol=tolerance)


def test_float16_weights_halve_the_file(folder: Path, source: Path) -> None:
    anatomy = inspect(folder / "fp16.tflite")
    assert {layer.weight_dtype for layer in anatomy.layers} == {None, "float16"}
    assert anatomy.size_bytes < 0.55 * source.stat().st_size


def test_names_are_gone_and_the_signature_is_not(folder: Path) -> None:
    for precision in ("fp32", "fp16", "static_wi8_ai8"):
        path = folder / f"{precision}.tflite"
        assert b"sequential" not in path.read_bytes()
        assert b"StatefulPartitionedCall" not in path.read_bytes()
        assert Interpreter(str(path)).get_signature_list() == {
            "serving_default": {"inputs": ["input"], "outputs": ["output"]}
        }
        assert "min_runtime_version" in inspect(path).metadata


def test_runs_on_tflite_micro(folder: Path) -> None:
    micro = pytest.importorskip("tflite_micro", reason="tflite-micro has wheels for x86-64 Linux only")
    path = folder / "static_wi8_ai8.tflite"
    interpreter = micro.runtime.Interpreter.from_file(str(path), arena_size=200_000)
    (taken,), (given,) = inspect(path).inputs, inspect(path).outputs
    assert taken.scale is not None
    assert taken.zero_point is not None
    assert given.scale is not None
    assert given.zero_point is not None
    values = np.round(SAMPLES[0].transpose(1, 2, 0) / taken.scale) + taken.zero_point
    interpreter.set_input(np.clip(values, -128, 127).astype(np.int8)[None], 0)
    interpreter.invoke()
    logits = (interpreter.get_output(0).astype(np.float64) - given.zero_point) * given.scale
    # Two implementations of the same integer arithmetic: one step of the output's scale at most.
    np.testing.assert_allclose(logits[0], run(path)[0], atol=given.scale * 1.01)


@pytest.mark.parametrize(
    ("name", "ends", "weights"),
    [
        ("static_wi8_ai16", "int16", "int8"),
        ("dynamic_wi8_afp32", "float32", "int8"),
        ("weight_only_wi8_afp32", "float32", "int8"),
        ("weight_only_wi4_afp32", "float32", "int4"),
        ("uint8", "uint8", "int8"),
        ("float32", "float32", "int8"),
    ],
)
def test_types_are_those_of_the_precision(folder: Path, name: str, ends: str, weights: str) -> None:
    anatomy = inspect(folder / f"{name}.tflite")
    assert [end.dtype for end in (*anatomy.inputs, *anatomy.outputs)] == [ends, ends]
    assert {layer.weight_dtype for layer in anatomy.layers} == {None, weights}


def test_types_of_input_and_output_change_nothing_else(folder: Path) -> None:
    expected = run(folder / "static_wi8_ai8.tflite")
    for io in ("float32", "uint8"):
        np.testing.assert_allclose(run(folder / f"{io}.tflite"), expected, atol=1e-6)


def test_a_file_without_names_becomes_what_the_named_one_does(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "again.tflite"
    plan = QuantizationPlan(precision="dynamic_wi8_afp32")
    child.call("the quantizer", lambda: quantize(source=folder / "fp32.tflite", plan=plan, path=path))
    np.testing.assert_array_equal(run(path), run(folder / "dynamic_wi8_afp32.tflite"))
    assert path.stat().st_size == pytest.approx((folder / "dynamic_wi8_afp32.tflite").stat().st_size, abs=64)


def test_a_static_precision_needs_ranges(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no ranges of activations"):
        quantize(source=source, plan=QuantizationPlan(precision="static_wi8_ai8"), path=tmp_path / "int8.tflite")
