"""Keras files and SavedModels: published .h5 files against published .tflite files, and what can't be exported."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.errors import DataError, EdgekdError, ExportError, ModelError
from edgekd.frameworks.keras import start_tensorflow
from edgekd.inspection import inspect
from edgekd.records import ExportSpec, QuantSpec
from edgekd.stages.export import Exported
from edgekd.stages.export.keras import export_keras

pytestmark = pytest.mark.slow  # TensorFlow takes seconds to start, in a process of its own each time

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.random((60, 12, 12, 3)).cumsum(axis=2).astype(np.float32)


def spec(*precisions: str, formats: tuple[Any, ...] = ("tflite",), samples: int = 40) -> ExportSpec:
    return ExportSpec(formats=formats, precisions=precisions, calibration=QuantSpec(samples=samples))


def save(network: Any, file: Path) -> Path:
    with warnings.catch_warnings():  # of Keras about itself, when it writes
        warnings.simplefilter("ignore")
        network.save(str(file))
    return file


def small_network() -> Any:
    start_tensorflow(1, "a test")
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((12, 12, 3)),
            layers.Conv2D(64, 3, padding="same", strides=2, activation="relu6"),
            layers.BatchNormalization(),
            layers.DepthwiseConv2D(3, padding="same", activation="gelu"),
            layers.Conv2D(64, 1, activation="relu"),
            layers.Flatten(),
            layers.Dense(5),
        ]
    )


def run_tflite(file: Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(file))
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    outputs = []
    for sample in inputs:
        interpreter.set_tensor(taken, sample[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(given)[0])
    return np.stack(outputs)


def parity(made: Exported, name: str) -> float:
    (found,) = (each for each in made.measurements if each.metric == "parity" and each.model == name)
    return float(np.mean(found.samples))


def test_a_published_h5_gives_what_its_published_tflite_gives(shared_data: Path, tmp_path: Path) -> None:
    published = shared_data / "models/mlperf_tiny/image_classification"
    with np.load(shared_data / "cifar10/cifar10_lossless_train4000.npz") as archive:
        images: NDArray[np.float32] = archive["x_train_first4000"][:200].astype(np.float32)
    if images.shape[1] == 3:
        images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    out = tmp_path / "a folder"
    wanted = spec("fp32", "static_wi8_ai8", samples=100)
    made = export_keras(published / "pretrainedResnet.h5", samples=images, folder=out, spec=wanted)
    floats, integers = made.models
    assert sorted(out.iterdir()) == [floats.path, integers.path]
    found, expected = (run_tflite(file, images) for file in (floats.path, published / "pretrainedResnet.tflite"))
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert [end.dtype for end in (*integers.inputs, *integers.outputs)] == ["int8", "int8"]
    assert integers.size_bytes < (published / "pretrainedResnet_quant.tflite").stat().st_size
    assert parity(made, integers.name) >= 0.95
    assert made.layers[integers.name]
    assert "tensorflow 2." in integers.made_by
    assert "litert-torch" not in integers.made_by


def test_a_published_autoencoder_reconstructs_as_in_keras(shared_data: Path, tmp_path: Path) -> None:
    start_tensorflow(1, "a test")
    published = shared_data / "models/mlperf_tiny/anomaly_detection"
    samples = (RANDOM.normal(size=(64, 640)).cumsum(axis=1) / 10).astype(np.float32)
    made = export_keras(
        published / "ad01.h5", samples=samples, folder=tmp_path, spec=spec("fp32"), task="reconstruction"
    )
    import keras

    expected = keras.models.load_model(published / "ad01.h5", compile=False).predict(samples, verbose=0)
    found = run_tflite(made.models[0].path, samples)
    np.testing.assert_allclose(found, expected, atol=1e-4 * float(np.abs(expected).max()))
    assert inspect(made.models[0].path).parameters == inspect(published / "ad01_fp32.tflite").parameters


def test_a_saved_model_becomes_files_of_both_formats_and_the_same_bytes_again(tmp_path: Path) -> None:
    pytest.importorskip("tf2onnx", reason="edgekd[keras] brings it")
    import onnxruntime

    network = small_network()
    network.export(str(tmp_path / "my net"), verbose=False)
    wanted = spec("fp32", "static_wi8_ai8", formats=("onnx", "tflite"))
    runs = [
        export_keras(tmp_path / "my net", samples=IMAGES, folder=tmp_path / name, spec=wanted) for name in ("1", "2")
    ]
    assert [each.sha256 for each in runs[0].models] == [each.sha256 for each in runs[1].models]
    assert [each.name for each in runs[0].models] == [
        f"my net.{precision}.{suffix}" for suffix in ("onnx", "tflite") for precision in ("fp32", "static_wi8_ai8")
    ]
    expected = network.predict(IMAGES, verbose=0)
    session = onnxruntime.InferenceSession(runs[0].models[0].path)
    found = session.run(["output"], {"input": IMAGES.transpose(0, 3, 1, 2)})[0]  # channels first
    tolerance = 1e-4 * float(np.abs(expected).max())
    np.testing.assert_allclose(found, expected, atol=tolerance)
    np.testing.assert_allclose(run_tflite(runs[0].models[2].path, IMAGES), expected, atol=tolerance)
    for model in runs[0].models:
        assert parity(runs[0], model.name) >= 0.9


def _inverting() -> Any:
    import keras

    inputs = keras.Input((4, 4))
    return keras.Model(inputs, keras.layers.Flatten()(keras.ops.inv(keras.layers.Dense(4)(inputs))))


def _recurrent() -> Any:
    import keras

    return keras.Sequential([keras.Input((4, 4)), keras.layers.SimpleRNN(5, name="memory"), keras.layers.Dense(3)])


def _of_two() -> Any:
    import keras

    inputs = [keras.Input((4, 4), name="left"), keras.Input((4, 4), name="right")]
    return keras.Model(inputs, keras.layers.Flatten()(keras.layers.Add()(inputs)))


def _broken() -> Any:
    import keras

    network = keras.Sequential([keras.Input((4, 4)), keras.layers.Flatten(), keras.layers.Dense(3, name="scores")])
    kernel, bias = network.layers[-1].get_weights()
    kernel[2, 1] = np.nan
    network.layers[-1].set_weights([kernel, bias])
    return network


def _of_another_shape() -> Any:
    import keras

    return keras.Sequential([keras.Input((5, 4)), keras.layers.Flatten(), keras.layers.Dense(3)])


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (_inverting, ExportError, r"TFLite has no MatrixInverse of 'functional\w*/MatrixInverse'"),
        (_recurrent, ModelError, r"control flow: WHILE of '[^']*memory[^']*'; .*unroll=True"),
        (_of_two, ModelError, "2 inputs: 'left', 'right'; allowed: one input"),
        (_broken, ModelError, "'[^']*scores/kernel' holds numbers that are not finite"),
        (_of_another_shape, DataError, r"samples have shape \(N, 4, 4\); allowed: \(N, 5, 4\)"),
    ],
)
def test_what_can_not_be_exported_is_named_and_leaves_nothing(
    tmp_path: Path, build: Any, error: type[EdgekdError], message: str
) -> None:
    start_tensorflow(1, "a test")
    file = save(build(), tmp_path / "m.keras")
    samples = RANDOM.normal(size=(50, 4, 4)).astype(np.float32)
    with pytest.raises(error, match=message) as caught:
        export_keras(file, samples=samples, folder=tmp_path / "out", spec=spec("fp32"))
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_unrolled_recurrent_layers_go_into_onnx_in_integers_and_into_tflite_in_floats(tmp_path: Path) -> None:
    pytest.importorskip("tf2onnx", reason="edgekd[keras] brings it")
    start_tensorflow(1, "a test")
    import keras
    from sklearn.datasets import load_digits

    keras.utils.set_random_seed(0)
    digits = load_digits()
    samples, labels = (digits.images / 16).astype(np.float32), digits.target
    layers = [keras.layers.LSTM(128, unroll=True), keras.layers.Dense(10)]
    network = keras.Sequential([keras.Input((8, 8)), *layers])
    network.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    network.fit(samples, labels, epochs=5, verbose=0)
    file, samples = save(network, tmp_path / "m.keras"), samples[:400]
    wanted = spec("fp32", "static_wi8_ai8.onnx", "weight_only_wi8_afp32", formats=("onnx", "tflite"))
    made = export_keras(file, samples=samples, folder=tmp_path / "out", spec=wanted)
    assert len(made.models) == 5
    for model in made.models:
        assert parity(made, model.name) >= 0.9
    with pytest.raises(ExportError, match=r"ai-edge-quantizer can't quantize this network.*weight-only"):
        export_keras(file, samples=samples, folder=tmp_path / "out", spec=spec("static_wi8_ai8"))


def test_an_operator_that_onnx_lacks_is_named(tmp_path: Path) -> None:
    pytest.importorskip("tf2onnx", reason="edgekd[keras] brings it")
    start_tensorflow(1, "a test")
    file = save(_inverting(), tmp_path / "m.keras")
    samples = RANDOM.normal(size=(50, 4, 4)).astype(np.float32)
    with pytest.raises(ExportError, match=r"ONNX has no MatrixInverse of 'functional\w*/MatrixInverse'"):
        export_keras(file, samples=samples, folder=tmp_path / "out", spec=spec("fp32", formats=("onnx",)))


def test_what_is_missing_is_said_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        export_keras(tmp_path / "m.h5", samples=IMAGES, folder=tmp_path, spec=spec("fp32"))
    (tmp_path / "m.h5").write_bytes(b"\x89HDF\r\n\x1a\nand no more")
    code = (
        "import importlib.util, sys\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'tensorflow' else real(name, *rest)\n"
        "sys.argv[1:] = 'export m.h5 --precision fp32 --format tflite --calibration x.npy'.split()\n"
        "from edgekd.cli import main; main()"
    )
    np.save(tmp_path / "x.npy", IMAGES)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "not installed: tensorflow; pip install 'edgekd[keras]'" in done.stderr


def test_a_damaged_file_gives_one_error_through_the_command(tmp_path: Path) -> None:
    (tmp_path / "m.h5").write_bytes(b"\x89HDF\r\n\x1a\nand no more")
    np.save(tmp_path / "x.npy", IMAGES)
    command = ["export", "m.h5", "--precision", "fp32", "--format", "tflite", "--calibration", "x.npy"]
    done = subprocess.run(
        [sys.executable, "-m", "edgekd", *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "damaged, or not a Keras network" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "exported").iterdir()) == []
