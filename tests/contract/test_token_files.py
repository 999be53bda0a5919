"""What every runtime must do with files of tokens: feed them whole numbers, and texts of the right length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgekd import child
from edgekd.errors import DataError
from edgekd.exporters import onnx as to_onnx
from edgekd.exporters import tflite as to_tflite
from edgekd.records import BenchmarkSpec, Measurement, Target
from edgekd.stages.benchmark import benchmark, describe_file
from edgekd.stages.report.lengths import length_lines
from tests.exporters.test__tokens import make_network
from tests.test_runner import one, run

VOCABULARY, LENGTH = 11, 6
QUICK = BenchmarkSpec(runs=20, time_limit_s=0.2, length=24)
FILES = [
    pytest.param("fixed.onnx", "onnxruntime", marks=pytest.mark.slow),
    ("free.onnx", "onnxruntime"),
    pytest.param("fixed.tflite", "litert", marks=pytest.mark.slow),
    ("fixed.tflite", "tflite_micro"),
]


def texts(count: int = 40) -> np.ndarray:
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, VOCABULARY, (count, LENGTH))
    tokens[np.arange(LENGTH) >= rng.integers(1, LENGTH + 1, count)[:, None]] = 0  # the pad
    return tokens.astype(np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network, folder = make_network(), tmp_path_factory.mktemp("tokens")

    def export() -> None:
        example = texts(1)
        to_onnx.export(network=network, example=example, path=folder / "fixed.onnx")
        to_onnx.export(network=network, example=example, path=folder / "free.onnx", any_length=True)
        to_tflite.export(network=network, example=example, path=folder / "fixed.tflite")

    child.call("the converters", export)
    return folder


def measured(path: Path, runtime: str, **more: Any) -> dict[str, Measurement]:
    target = Target(name="here", description="", runtimes=(runtime,))
    found = benchmark([describe_file(path)], targets=[target], spec=QUICK, **more)
    return {each.metric: each for each in found if each.target == "here"}


@pytest.mark.parametrize(("name", "runtime"), FILES)
def test_accuracy_is_that_of_torch(files: Path, name: str, runtime: str) -> None:
    inputs = texts()
    with torch.no_grad():
        predicted = make_network()(torch.from_numpy(inputs)).argmax(dim=1).numpy()
    labels = np.where(np.arange(len(inputs)) % 3 == 0, (predicted + 1) % 4, predicted)
    found = measured(files / name, runtime, inputs=inputs, labels=labels)
    assert found["accuracy"].samples == tuple(map(float, predicted == labels))
    assert found["recall"].samples == tuple(map(float, predicted))
    assert found["latency"].conditions.length == (LENGTH if name == "free.onnx" else None)


@pytest.mark.parametrize(("name", "runtime"), FILES)
def test_without_samples_tokens_are_in_the_vocabulary_and_texts_as_long_as_one_says(
    files: Path, name: str, runtime: str
) -> None:
    latency = measured(files / name, runtime)["latency"]
    assert len(latency.samples) == 20
    length = QUICK.length if name == "free.onnx" else None
    assert latency.conditions.length == length
    lines = ("free.onnx on here takes texts of any length: times are of 24 tokens",) if length else ()
    assert length_lines([latency]) == lines


def test_a_file_of_any_length_is_fed_as_many_tokens_as_are_asked_for(files: Path, tmp_path: Path) -> None:
    for length in (128, 9):  # 128 where nothing is said
        asked = {} if length == 128 else {"length": length}
        _, events = run(tmp_path, engine="onnxruntime", model=files / "free.onnx", mode="latency", **asked)
        load = one(events, "load")
        assert load["length"] == length
        assert load["inputs"][0]["shape"] == [1, length]
        assert one(events, "first_inference")["ns"] > 0
    np.save(tmp_path / "in.npy", texts())
    _, events = run(
        tmp_path, engine="onnxruntime", model=files / "free.onnx", mode="latency", inputs=tmp_path / "in.npy"
    )
    assert one(events, "load")["length"] == LENGTH


def test_texts_of_another_length_than_a_file_s_are_refused(files: Path) -> None:
    other = np.ones((4, LENGTH + 1), np.float32)
    with pytest.raises(DataError, match="one sample is"):
        measured(files / "fixed.onnx", "onnxruntime", inputs=other, labels=np.zeros(4, int))
