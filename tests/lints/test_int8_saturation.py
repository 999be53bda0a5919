"""Weights that overflow 16 bits on x86 without VNNI."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.lints.places import HOST, find

AVX2 = dataclasses.replace(HOST, arch="x86_64", cpu_features=("sse4_2", "avx2"))


def qlinear_conv(path: Path, largest: int, dtype: type[np.int8 | np.uint8] = np.int8, channels: int = 4) -> Path:
    """A QLinearConv with a scale for each channel, or one for all."""
    rng = np.random.default_rng(0)
    kernel = rng.integers(0, largest, size=(4, 3, 1, 1)).astype(dtype)
    kernel[0, 0, 0, 0] = largest
    scales = np.full(channels, 0.01, np.float32) if channels > 1 else np.array(0.01, np.float32)
    constants = {
        "xs": np.array(0.1, np.float32), "xz": np.array(128, np.uint8), "w": kernel, "ws": scales,
        "wz": np.zeros(scales.shape, dtype), "ys": np.array(0.1, np.float32), "yz": np.array(128, np.uint8),
    }  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node("QLinearConv", ["x", *constants], ["y"])],
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [1, 4, 8, 8])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


@pytest.mark.parametrize(
    ("largest", "channels", "severities"), [(127, 4, ["error"]), (127, 1, ["warning"]), (64, 4, []), (65, 4, ["error"])]
)
def test_full_range_is_found(tmp_path: Path, largest: int, channels: int, severities: list[str]) -> None:
    path = qlinear_conv(tmp_path / "conv.onnx", largest, channels=channels)
    assert [each.severity for each in find("int8_saturation", path, AVX2)] == severities


def test_two_products_within_the_bound_fit_16_bits() -> None:
    # VPMADDUBSW adds two products of an unsigned and a signed byte with saturation.
    assert 2 * 255 * 64 <= np.iinfo(np.int16).max < 2 * 255 * 65


@pytest.mark.parametrize(
    "target",
    [
        HOST,
        dataclasses.replace(AVX2, cpu_features=("avx2", "avx512_vnni")),
        dataclasses.replace(AVX2, cpu_features=("avx2", "avx_vnni")),
        dataclasses.replace(AVX2, arch="aarch64"),
    ],
)
def test_other_processors_are_not_meant(tmp_path: Path, target: object) -> None:
    assert find("int8_saturation", qlinear_conv(tmp_path / "conv.onnx", 127), target) == []  # type: ignore[arg-type]


def test_unsigned_weights_do_not_saturate(tmp_path: Path) -> None:
    assert find("int8_saturation", qlinear_conv(tmp_path / "conv.onnx", 127, np.uint8), AVX2) == []


def test_quantized_by_onnx_runtime(shared_data: Path, tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    source = shared_data / "models/dtln/model_1.onnx"
    for reduce in (False, True):
        path = tmp_path / f"{reduce}.onnx"
        quantize_dynamic(
            source, path, weight_type=QuantType.QInt8, reduce_range=reduce, op_types_to_quantize=["MatMul", "Gemm"]
        )
        assert bool(find("int8_saturation", path, AVX2)) is not reduce
