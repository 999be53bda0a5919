"""All rules together, against what the runtimes and Vela really say of files that nobody here made."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edgekd import registry
from edgekd.inspection import inspect
from edgekd.lints import keeps_from_running, lint
from tests.lints.places import HOST, MICRO, NPU, refusal, vela
from tests.lints.tflite_files import Operator, activation, write_tflite

REFERENCES = (
    "mlperf_tiny/image_classification/pretrainedResnet_quant", "mlperf_tiny/anomaly_detection/ad01_int8",
    "tflm/hello_world_int8", "tflm/micro_speech_quantized",
)  # fmt: skip
# Floats, hybrids, half quantized, unsigned bytes.
OTHERS = (
    "tflm/hello_world_float", "mlperf_tiny/image_classification/pretrainedResnet", "dtln/model_quant_1",
    "dtln/model_quant_2", "ai_edge_quantizer/partly_quantized_mnist", "ai_edge_quantizer/mnist_quantized",
    "mobilenet_v1_025/mobilenet_v1_0.25_224_quant",
)  # fmt: skip


def test_every_rule_is_one_of_these() -> None:
    assert set(registry.names("lints")) == {
        *("accelerator_fallback", "custom_operator", "dynamic_shape", "float_operator", "format_version"),
        *("hybrid_operator", "int8_saturation", "io_type", "missing_operator", "no_runtime", "quantize_pair"),
        *("sparse_tensor", "stray_transpose", "unsupported_type", "xnnpack_fallback"),
    }


@pytest.mark.parametrize("name", REFERENCES)
def test_references_of_microcontrollers_are_clean(shared_data: Path, name: str) -> None:
    assert lint(shared_data / "models" / f"{name}.tflite", [MICRO, NPU]) == ()


@pytest.mark.parametrize("name", [*REFERENCES, *OTHERS])
def test_errors_are_what_tflite_micro_refuses(shared_data: Path, name: str) -> None:
    path = shared_data / "models" / f"{name}.tflite"
    errors = [each for each in lint(path, [MICRO]) if each.severity == "error"]
    said = refusal(path)
    assert bool(errors) == (said is not None)
    # It stops at the first operator that it can't prepare.
    assert said is None or any(each.operator in said for each in errors)


@pytest.mark.parametrize("name", [*REFERENCES, *OTHERS])
def test_operators_left_on_the_cpu_are_as_many_as_vela_says(shared_data: Path, tmp_path: Path, name: str) -> None:
    path = shared_data / "models" / f"{name}.tflite"
    left = vela(path, tmp_path)
    found = [each for each in lint(path, [NPU]) if each.rule == "accelerator_fallback"]
    everything = len(inspect(path).nodes)
    assert (everything if any(each.severity == "error" for each in found) else len(found)) == left


@pytest.mark.parametrize("name", ["dtln/model_1.onnx", "dnsmos/sig_bak_ovr.onnx", "dtln/model_1.tflite"])
def test_float_files_that_run_here_are_clean(shared_data: Path, name: str) -> None:
    assert lint(shared_data / "models" / name, [HOST]) == ()


def test_what_an_accelerator_takes_its_cpu_need_not_have(tmp_path: Path) -> None:
    ends = {"a": activation("int8", 1, 8, 8, 4), "b": activation("int8", 1, 8, 8, 4)}
    node = Operator(name="GELU", inputs=["a"], outputs=["b"], table="GeluOptions")
    path = write_tflite(tmp_path / "gelu.tflite", ends, [node], ["a"], ["b"])
    assert vela(path, tmp_path) == 0
    assert [each.rule for each in lint(path, [MICRO])] == ["missing_operator"]
    assert lint(path, [NPU]) == ()


def test_findings_name_file_and_target_and_errors_come_first(shared_data: Path) -> None:
    path = shared_data / "models/ai_edge_quantizer/partly_quantized_mnist.tflite"
    found = lint(path, [NPU, dataclasses.replace(MICRO, name="other")])
    assert [each.severity for each in found] == sorted(each.severity for each in found)
    assert {each.model for each in found} == {path.name}
    assert {each.target for each in found} == {"npu", "other"}
    assert all(each.what and each.next_step and "\n" not in each.what for each in found)


@pytest.mark.parametrize("name", [*REFERENCES, *OTHERS])
def test_what_keeps_a_file_from_running_is_what_tflite_micro_refuses(shared_data: Path, name: str) -> None:
    path = shared_data / "models" / f"{name}.tflite"
    # Errors of what apps hand over, or of an accelerator that takes nothing, don't.
    odd = dataclasses.replace(MICRO, io=("int16",), accelerator="ethos-u55-128")
    findings = lint(path, [odd])
    assert any(each.rule == "io_type" and each.severity == "error" for each in findings)
    # Of a file of unsigned bytes, only its ends are told: it is tried, and then refused.
    told = refusal(path) is not None and inspect(path).inputs[0].dtype != "uint8"
    assert any(map(keeps_from_running, findings)) == told
