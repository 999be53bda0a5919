"""The same files on x86 and on arm64 kernels: measured elsewhere as bit-equal in int8, within 1e-7 in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekd.config import load_target
from edgekd.records import Model, Target
from edgekd.stages.benchmark import Ran, describe_file, run_samples

SAMPLES = 4
IMAGES = "mlperf_tiny/image_classification/pretrainedResnet"


def cifar10(shared_data: Path) -> np.ndarray:
    """Images as the reference network takes them: 0 to 255, channels first as edgekd keeps them."""
    with np.load(shared_data / "cifar10" / "cifar10_lossless_train4000.npz") as arrays:
        return np.ascontiguousarray(arrays["x_train_first4000"][:SAMPLES].transpose(0, 3, 1, 2).astype(np.float32))


def both(model: Model, inputs: np.ndarray, arm64: Target) -> tuple[Ran, Ran]:
    (there,), (here,) = (
        list(run_samples([model], target=each, inputs=inputs)) for each in (arm64, load_target("host"))
    )
    assert there.conditions.arch == "aarch64"
    assert "emulated" in there.conditions.cpu
    assert there.conditions.runtime_version == here.conditions.runtime_version
    assert np.ptp(here.outputs) > 0
    return here, there


def test_an_int8_tflite_file_gives_the_same_bits(shared_data: Path, arm64: Target) -> None:
    model = describe_file(shared_data / "models" / f"{IMAGES}_quant.tflite")
    here, there = both(model, cifar10(shared_data), arm64)
    assert here.outputs.shape == (SAMPLES, 10)
    np.testing.assert_array_equal(here.outputs, there.outputs)


@pytest.mark.slow
def test_a_float32_tflite_file_gives_the_same_but_for_rounding(shared_data: Path, arm64: Target) -> None:
    model = describe_file(shared_data / "models" / f"{IMAGES}.tflite")
    here, there = both(model, cifar10(shared_data), arm64)
    np.testing.assert_allclose(here.outputs, there.outputs, rtol=0, atol=1e-6)  # probabilities
    assert there.conditions.delegate == "XNNPACK"


@pytest.mark.slow
def test_an_int8_onnx_file_gives_the_same_bits(tmp_path: Path, arm64: Target) -> None:
    inputs = np.random.default_rng(0).normal(size=(SAMPLES, 3, 16, 16)).astype(np.float32)
    here, there = both(describe_file(quantized_network(tmp_path, inputs)), inputs, arm64)
    assert here.outputs.shape == (SAMPLES, 5)
    np.testing.assert_array_equal(here.outputs, there.outputs)


def quantized_network(folder: Path, inputs: np.ndarray) -> Path:
    """Convolution, depthwise convolution, average and matrix, by ONNX Runtime's own quantizer."""
    import onnx
    from onnx import helper
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    random = np.random.default_rng(1)
    shapes = {"w1": (16, 3, 3, 3), "b1": (16,), "w2": (16, 1, 3, 3), "b2": (16,), "w3": (16, 5), "b3": (5,)}
    weights = {name: random.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1] * 4),
            helper.make_node("Relu", ["c1"], ["r1"]),
            helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], pads=[1] * 4, group=16),
            helper.make_node("Relu", ["c2"], ["r2"]),
            helper.make_node("GlobalAveragePool", ["r2"], ["p"]),
            helper.make_node("Flatten", ["p"], ["f"]),
            helper.make_node("Gemm", ["f", "w3", "b3"], ["y"]),
        ],
        "small",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 5])],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "float.onnx")

    class Samples(CalibrationDataReader):  # type: ignore[misc] # it has no types
        left = [inputs]  # noqa: RUF012 - one reader

        def get_next(self) -> dict[str, np.ndarray] | None:
            return {"x": self.left.pop()} if self.left else None

    quantize_static(
        folder / "float.onnx",
        folder / "int8.onnx",
        Samples(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=True,  # without VNNI, x86 would cut sums of full-range products at 16 bits: another answer
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
    )
    return folder / "int8.onnx"


def test_a_file_that_no_runtime_there_reads_is_left_out(tmp_path: Path) -> None:
    target = Target(name="micro", description="", runtimes=("tflite_micro",))
    inputs = np.random.default_rng(0).normal(size=(SAMPLES, 3, 16, 16)).astype(np.float32)
    assert list(run_samples([describe_file(quantized_network(tmp_path, inputs))], target=target, inputs=inputs)) == []
