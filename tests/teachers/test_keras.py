"""Keras teachers: published .h5 files, files that hold code, SavedModels that do more than compute."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edgekd.errors import ModelError
from edgekd.frameworks.keras import start_tensorflow
from edgekd.teachers.keras import load
from edgekd.teachers.tflite import load as load_tflite

pytestmark = pytest.mark.slow  # TensorFlow takes seconds to start, in the trial's process each time


def test_a_legacy_h5_gives_what_its_published_tflite_file_gives(shared_data: Path, photos: NDArray[np.float32]) -> None:
    folder = shared_data / "models/mlperf_tiny/image_classification"
    inputs = torch.from_numpy(photos)
    found = load(weights=folder / "pretrainedResnet.h5", outputs=10, input_shape=(3, 32, 32))(inputs)
    expected = load_tflite(weights=folder / "pretrainedResnet.tflite", outputs=10, input_shape=(3, 32, 32))(inputs)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    assert len(set(found.argmax(1).tolist())) > 3


def test_reconstructions_of_images_come_back_channels_first(tmp_path: Path) -> None:
    import keras

    network = keras.Sequential([keras.layers.Input((4, 6, 3)), keras.layers.Rescaling(2.0)])
    save(network, tmp_path / "m.keras")
    samples = np.random.default_rng(0).normal(size=(5, 3, 4, 6)).astype("f4")
    teacher = load(weights=tmp_path / "m.keras", outputs=72, input_shape=(3, 4, 6), task="reconstruction")
    np.testing.assert_array_equal(teacher(torch.from_numpy(samples)).numpy(), 2 * samples.reshape(5, 72))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_lambda_layer_is_refused_and_does_not_run(tmp_path: Path, suffix: str) -> None:
    import keras

    witness = str(tmp_path / "it-ran")
    trap = keras.layers.Lambda(lambda inputs: (Path(witness).touch(), inputs)[1])  # type: ignore[func-returns-value]  # a trap
    file = save(keras.Sequential([keras.layers.Input((4,)), trap]), tmp_path / f"m{suffix}")
    assert Path(witness).exists()  # building the network springs the trap
    Path(witness).unlink()
    with pytest.raises(ModelError, match="refused: a Lambda layer holds Python code"):
        load(weights=file, outputs=4, input_shape=(4,))
    assert not Path(witness).exists()


def test_a_saved_model_that_writes_a_file_is_refused_and_does_not_run(tmp_path: Path) -> None:
    tensorflow = _tensorflow()
    witness = str(tmp_path / "it-ran")

    def serve(inputs: Any) -> Any:
        tensorflow.io.write_file(witness, "here")
        return 2.0 * inputs

    network = tensorflow.Module()
    network.serve = tensorflow.function(serve, input_signature=[tensorflow.TensorSpec([None, 4])])
    tensorflow.saved_model.save(network, str(tmp_path / "m"), signatures=network.serve)
    with pytest.raises(ModelError, match=r"refused: it does more than compute \(WriteFile\)"):
        load(weights=tmp_path / "m", outputs=4, input_shape=(4,))
    assert not Path(witness).exists()
    tensorflow.saved_model.load(str(tmp_path / "m")).signatures["serving_default"](tensorflow.zeros([1, 4]))
    assert Path(witness).exists()  # the trap works


def test_what_is_no_whole_network_says_what_to_save(shared_data: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds weights without their network; save it whole"):
        load(weights=shared_data / "models/dtln/model.h5", outputs=257, input_shape=(257,))
    (tmp_path / "m.pb").write_bytes(b"graph")
    with pytest.raises(ModelError, match=r"unknown kind of file '\.pb'"):
        load(weights=tmp_path / "m.pb", outputs=257, input_shape=(257,))


def save(network: Any, file: Path) -> Path:
    with warnings.catch_warnings():  # of Keras about itself, when it writes
        warnings.simplefilter("ignore")
        network.save(str(file))
    return file


def _tensorflow() -> Any:
    return start_tensorflow(1, "a test")
