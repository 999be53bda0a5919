"""ONNX files of transformers beside those of optimum's own quantizer, which calls the same ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray

from edgekd.records import ExportSpec, QuantSpec
from edgekd.stages.export.transformers import export_transformers
from tests.exact import run_exactly

pytestmark = pytest.mark.slow

SAMPLES = (np.random.default_rng(0).normal(size=(96, 3, 32, 32)).cumsum(axis=2).cumsum(axis=3) / 32).astype(np.float32)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    torch.manual_seed(0)
    config = transformers.ResNetConfig(
        num_channels=3, embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], layer_type="basic", num_labels=10
    )
    folder = tmp_path_factory.mktemp("peer")
    network = transformers.ResNetForImageClassification(config)
    # Statistics of the samples, so that untrained features differ from sample to sample.
    with torch.no_grad():
        for _ in range(30):
            network.train()(pixel_values=torch.from_numpy(SAMPLES))
    network.eval().save_pretrained(folder / "net")
    made = export_transformers(
        folder / "net",
        samples=SAMPLES,
        folder=folder / "out",
        spec=ExportSpec(
            formats=("onnx",),
            precisions=("fp32", "dynamic_wi8_afp32", "static_wi8_ai8"),
            calibration=QuantSpec(samples=64),
        ),
    )
    assert {"optimum-onnx" in model.made_by for model in made.models} == {True}, made.models[0].made_by
    return {model.precision: model.path for model in made.models}


def run(file: Path) -> NDArray[np.float64]:
    return run_exactly(file, SAMPLES).astype(np.float64)


def noise(found: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    return float(np.square(found - expected).sum() / np.square(expected - expected.mean(axis=0)).sum())


def quantizer(file: Path) -> Any:
    from optimum.onnxruntime import ORTQuantizer

    return ORTQuantizer(file, transformers.AutoConfig.from_pretrained(file.parent.parent / "net"))


def test_dynamic_integers_are_those_of_its_quantizer(exported: dict[str, Path], tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantFormat, QuantizationMode, QuantType
    from optimum.onnxruntime import QuantizationConfig

    configuration = QuantizationConfig(
        is_static=False,
        format=QuantFormat.QOperator,
        mode=QuantizationMode.IntegerOps,
        activations_dtype=QuantType.QUInt8,
        weights_dtype=QuantType.QInt8,
        per_channel=True,
        operators_to_quantize=["Conv", "MatMul", "Gemm"],
    )
    quantizer(exported["fp32"]).quantize(configuration, tmp_path)
    (theirs,) = tmp_path.glob("*.onnx")
    expected = run(exported["fp32"])
    ours, peer = noise(run(exported["dynamic_wi8_afp32"]), expected), noise(run(theirs), expected)
    assert ours <= 1.1 * peer < 0.05


def test_static_integers_lose_no_more_than_those_of_its_quantizer(exported: dict[str, Path], tmp_path: Path) -> None:
    from datasets import Dataset  # type: ignore[import-untyped]
    from onnxruntime.quantization import QuantFormat, QuantizationMode, QuantType
    from optimum.onnxruntime import AutoCalibrationConfig, QuantizationConfig

    configuration = QuantizationConfig(
        is_static=True,
        format=QuantFormat.QDQ,
        mode=QuantizationMode.QLinearOps,
        activations_dtype=QuantType.QInt8,
        weights_dtype=QuantType.QInt8,
        per_channel=True,
        operators_to_quantize=["Conv", "Gemm", "MatMul", "Add", "Relu", "MaxPool", "GlobalAveragePool"],
    )
    samples = Dataset.from_dict({"input": list(SAMPLES[:64])}).with_format("numpy")
    theirs = quantizer(exported["fp32"])
    ranges = theirs.fit(
        samples,
        AutoCalibrationConfig.minmax(samples),
        operators_to_quantize=configuration.operators_to_quantize,
        onnx_augmented_model_name=str(tmp_path / "augmented.onnx"),
    )
    (tmp_path / "peer").mkdir()
    theirs.quantize(configuration, tmp_path / "peer", calibration_tensors_range=ranges)
    (file,) = (tmp_path / "peer").glob("*.onnx")
    expected = run(exported["fp32"])
    ours, peer = noise(run(exported["static_wi8_ai8"]), expected), noise(run(file), expected)
    assert ours <= 1.1 * peer < 0.05
