"""TFLite teachers against LiteRT's interpreter used by hand, on published files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from edgekd.errors import ModelError
from edgekd.teachers.tflite import load


def by_hand(file: Path, samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """One sample (H, W, C) after the other; scale and zero point as LiteRT's documentation has it."""
    interpreter = Interpreter(str(file), num_threads=1)
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    found = []
    for sample in samples.astype(np.float64):
        scale, zero = taken["quantization"]
        limits = np.iinfo(taken["dtype"]) if scale else None
        ready = np.clip(np.round(sample / scale) + zero, limits.min, limits.max) if limits else sample
        interpreter.set_tensor(taken["index"], ready[None].astype(taken["dtype"]))
        interpreter.invoke()
        scale, zero = given["quantization"]
        output = interpreter.get_tensor(given["index"])[0].astype(np.float64)
        found.append((output - zero) * scale if scale else output)
    return np.stack(found)


@pytest.mark.parametrize("name", ["pretrainedResnet.tflite", "pretrainedResnet_quant.tflite"])
def test_float_and_int8_files_give_what_the_interpreter_gives(
    shared_data: Path, photos: NDArray[np.float32], name: str
) -> None:
    file = shared_data / "models/mlperf_tiny/image_classification" / name
    teacher = load(weights=file, outputs=10, input_shape=(3, 32, 32))
    expected = by_hand(file, photos.transpose(0, 2, 3, 1))
    assert np.ptp(expected.argmax(1)) > 0
    for count in (20, 7, 1):
        found = teacher(torch.from_numpy(photos[:count])).numpy()
        np.testing.assert_allclose(found, expected[:count], rtol=1e-4, atol=1e-6)


def test_a_uint8_file_that_takes_no_batches(shared_data: Path) -> None:
    file = shared_data / "models/mobilenet_v1_025/mobilenet_v1_0.25_224_quant.tflite"
    samples = np.random.default_rng(5).uniform(-1, 1, (3, 3, 224, 224)).astype("f4")
    samples[0, 0] = 9.0  # beyond what uint8 holds: clipped
    teacher = load(weights=file, outputs=1001, input_shape=(3, 224, 224))
    expected = by_hand(file, samples.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(teacher(torch.from_numpy(samples)).numpy(), expected, rtol=1e-6)


def test_an_autoencoder_of_vectors(shared_data: Path) -> None:
    file = shared_data / "models/mlperf_tiny/anomaly_detection/ad01_fp32.tflite"
    samples = np.random.default_rng(5).normal(-30, 10, (6, 640)).astype("f4")
    teacher = load(weights=file, outputs=640, input_shape=(640,), task="reconstruction")
    np.testing.assert_allclose(teacher(torch.from_numpy(samples)).numpy(), by_hand(file, samples), rtol=1e-4, atol=1e-3)


def test_damaged_in_its_operators_is_an_error_not_a_crash(shared_data: Path, tmp_path: Path) -> None:
    whole = (shared_data / "models/tflm/hello_world_float.tflite").read_bytes()
    outcomes = set()
    for seed in range(4):
        data, chance = bytearray(whole), np.random.default_rng(seed)
        for position in chance.integers(8, len(data), 30):
            data[position] = chance.integers(256)
        (tmp_path / "m.tflite").write_bytes(data)
        try:
            load(weights=tmp_path / "m.tflite", outputs=1, input_shape=(1,))
        except ModelError as error:
            assert "\n" not in str(error)  # noqa: PT017 - either outcome is fine, a crash is not
            outcomes.add("refused")
    assert outcomes == {"refused"}
