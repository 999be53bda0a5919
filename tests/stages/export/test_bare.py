"""Model files of the user's own, through the function and through the command."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgekd.errors import ConfigError, DataError, EdgekdError, ModelError
from edgekd.inspection import inspect
from edgekd.records import ExportSpec, QuantSpec
from edgekd.stages.export import export_file

RANDOM = np.random.default_rng(0)
TABLE = RANDOM.normal(size=(16, 40)).astype(np.float32)
HEAD = RANDOM.normal(size=(40, 5)).astype(np.float32)
SAMPLES = RANDOM.normal(size=(300, 16)).astype(np.float32)


def write_onnx(path: Path, *, inputs: tuple[str, ...] = ("features",), batch: str | int = "batch") -> Path:
    nodes = [
        helper.make_node("MatMul", ["features", "table"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["relu"]),
        helper.make_node("MatMul", ["relu", "head"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "by hand",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 16]) for name in inputs],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 5])],
        [numpy_helper.from_array(TABLE, "table"), numpy_helper.from_array(HEAD, "head")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def spec(*precisions: str) -> ExportSpec:
    return ExportSpec(precisions=precisions, calibration=QuantSpec(samples=100))


@pytest.mark.parametrize("batch", [pytest.param("batch", marks=pytest.mark.slow), 1])
def test_an_onnx_file_is_quantized_and_held_against_itself(tmp_path: Path, batch: str | int) -> None:
    source = write_onnx(tmp_path / "mine.onnx", batch=batch)
    made = export_file(
        source, samples=SAMPLES, folder=tmp_path / "out", spec=spec("static_wi8_ai8", "dynamic_wi8_afp32")
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "mine.dynamic_wi8_afp32.onnx",
        "mine.static_wi8_ai8.onnx",
    ]
    weights = {each.weight_dtype for each in inspect(tmp_path / "out/mine.static_wi8_ai8.onnx").layers}
    assert weights == {None, "int8"}
    # Those that did not calibrate have checked.
    (parity, _) = (each for each in made.measurements if each.metric == "parity")
    assert len(parity.samples) == 200
    assert np.mean(parity.samples) > 0.95
    assert made.layers["mine.static_wi8_ai8.onnx"][-1].sqnr_db > 20


def test_a_reference_file_is_quantized_to_the_size_of_the_reference(shared_data: Path, tmp_path: Path) -> None:
    # MLPerf Tiny's own ResNet-8; its input is bytes as they are, channels last.
    folder = shared_data / "models/mlperf_tiny/image_classification"
    with np.load(shared_data / "cifar10/cifar10_lossless_train4000.npz") as archive:
        images: NDArray[np.float32] = archive["x_train_first4000"][:120].astype(np.float32)
    if images.shape[1] == 3:
        images = images.transpose(0, 2, 3, 1)
    made = export_file(folder / "pretrainedResnet.tflite", samples=images, folder=tmp_path, spec=spec("static_wi8_ai8"))
    (model,) = made.models
    assert model.size_bytes < (folder / "pretrainedResnet_quant.tflite").stat().st_size
    assert [end.dtype for end in (*model.inputs, *model.outputs)] == ["int8", "int8"]
    (parity,) = (each for each in made.measurements if each.metric == "parity")
    assert np.mean(parity.samples) >= 0.9


@pytest.mark.parametrize(
    ("samples", "precision", "error", "message"),
    [
        (SAMPLES[:, :8], "fp16", DataError, r"shape \(300, 8\); allowed: \(N, 16\)"),
        (np.zeros_like(SAMPLES), "static_wi8_ai8", DataError, "all calibration samples are 0"),
        (np.where(SAMPLES > 2, np.nan, SAMPLES), "static_wi8_ai8", DataError, "not finite"),
        (SAMPLES, "static_wi8_ai16", ConfigError, "onnx has no static_wi8_ai16"),
        (SAMPLES, "wi3", ConfigError, "unknown precision 'wi3'"),
    ],
)
def test_what_does_not_fit_is_said(
    tmp_path: Path, samples: NDArray[np.float32], precision: str, error: type[EdgekdError], message: str
) -> None:
    with pytest.raises(error, match=message):
        export_file(write_onnx(tmp_path / "mine.onnx"), samples=samples, folder=tmp_path / "out", spec=spec(precision))
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


def test_an_onnx_file_takes_no_integers(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="io = int8; allowed: float32"):
        export_file(
            write_onnx(tmp_path / "mine.onnx"),
            samples=SAMPLES,
            folder=tmp_path / "out",
            spec=ExportSpec(precisions=("static_wi8_ai8",), io="int8"),
        )


def test_files_that_can_not_be_quantized_are_refused(shared_data: Path, tmp_path: Path) -> None:
    two = write_onnx(tmp_path / "two.onnx", inputs=("features", "state"))
    with pytest.raises(ModelError, match="2 inputs: 'features', 'state'"):
        export_file(two, samples=SAMPLES, folder=tmp_path / "out", spec=spec("fp16"))
    quantized = shared_data / "models/mlperf_tiny/image_classification/pretrainedResnet_quant.tflite"
    with pytest.raises(ModelError, match="is int8; allowed: float32"):
        export_file(quantized, samples=SAMPLES, folder=tmp_path / "out", spec=spec("fp16"))


def edgekd(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgekd", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def test_the_command_says_how_each_file_agrees(tmp_path: Path) -> None:
    write_onnx(tmp_path / "mine.onnx")
    np.savez(tmp_path / "samples.npz", x=SAMPLES)
    done = edgekd(
        tmp_path, "export", "mine.onnx", "--precision", "static_wi8_ai8", "--calibration", "samples.npz", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["models"][0]["name"] == "mine.static_wi8_ai8.onnx"
    assert (tmp_path / "exported/mine.static_wi8_ai8.onnx").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mine.onnx",), "a model needs --precision and --calibration"),
        (("mine.onnx", "--precision", "fp16", "--calibration", "none.npz"), "none.npz"),
        (("mine.onnx", "--precision", "fp16", "--calibration", "two.npz"), "choose with --array: a, b"),
        (("digits", "--precision", "fp16"), "--precision is for models"),
        (("mine.onnx", "--precision", "fp16", "--calibration", "two.npz", "--set", "a=1"), "--set is for recipes only"),
    ],
)
def test_the_command_refuses_what_it_can_not_do(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    write_onnx(tmp_path / "mine.onnx")
    np.savez(tmp_path / "two.npz", a=SAMPLES, b=SAMPLES)
    done = edgekd(tmp_path, "export", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
