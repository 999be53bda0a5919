"""Preprocessing and heads in the graph: files take raw values and give the plain network's outputs, in both formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from torch import nn

from edgekd.errors import ConfigError
from edgekd.records import ExportSpec, Preprocessing, QuantSpec
from edgekd.stages.export import Exported, export
from edgekd.stages.export.ends import Preprocessed, absorb
from tests.exact import run_exactly

SCALED = Preprocessing(scale=1 / 255)
STANDARDISED = Preprocessing(mean=(100.0, 120.0, 90.0), deviation=(50.0, 60.0, 70.0))
_RANDOM = np.random.default_rng(0)
# Walks along each row: neighbours are alike, as in pictures.
_WALK = np.cumsum(_RANDOM.normal(0, 20, (96, 3, 12, 12)), axis=-1) + _RANDOM.uniform(40, 215, (96, 3, 1, 1))
PICTURES: NDArray[np.float32] = np.clip(_WALK, 0, 255).round().astype(np.float32)
CALIBRATION, CHECK = PICTURES[:64], PICTURES[64:]


def convolution(**options: object) -> nn.Sequential:
    torch.manual_seed(0)
    first = nn.Conv2d(3, 48, 3, **options)  # type: ignore[arg-type]
    rest = (nn.Conv2d(48, 32, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5))
    return nn.Sequential(first, nn.BatchNorm2d(48), nn.ReLU(), *rest).eval()


def expected_of(network: nn.Module, done: Preprocessing, raw: NDArray[np.float32]) -> NDArray[np.float64]:
    """Preprocess in NumPy, by the words of the record."""
    shape = (1, -1, *[1] * (raw.ndim - 2))
    mean, deviation = (np.reshape(each, shape) for each in (done.mean or (0.0,), done.deviation or (1.0,)))
    ready = (raw.astype(np.float64) - mean) / deviation * done.scale
    with torch.no_grad():
        outputs: NDArray[np.float64] = network.double()(torch.from_numpy(ready)).numpy()
    return outputs


@pytest.mark.parametrize(
    ("options", "done", "own_layer"),
    [
        ({"padding": 1}, SCALED, False),
        ({"bias": False}, STANDARDISED, False),
        ({"groups": 3}, STANDARDISED, False),
        ({"padding": 1, "padding_mode": "replicate"}, STANDARDISED, False),
        # Zeros around the picture would have to be means.
        ({"padding": 1}, STANDARDISED, True),
        ({"padding": "same"}, STANDARDISED, True),
    ],
    ids=["scale", "valid", "groups", "replicate", "zeros", "same"],
)
def test_a_convolution_takes_raw_values(options: dict[str, object], done: Preprocessing, own_layer: bool) -> None:
    network = convolution(**options)
    changed = absorb(network, done, torch.from_numpy(PICTURES[:4]))
    assert isinstance(changed, Preprocessed) == own_layer
    with torch.no_grad():
        given = changed(torch.from_numpy(PICTURES)).numpy()
    np.testing.assert_allclose(given, expected_of(network, done, PICTURES), rtol=1e-4, atol=1e-5)


def test_a_flattened_picture_and_features_take_raw_values() -> None:
    torch.manual_seed(0)
    rows = PICTURES.reshape(96, -1)[:, :5]
    features = Preprocessing(mean=(1.0, 2.0, 3.0, 4.0, 5.0), deviation=(1.0, 2.0, 1.0, 2.0, 1.0))
    for network, done, raw in (
        (nn.Sequential(nn.Flatten(), nn.Linear(432, 4)), STANDARDISED, PICTURES),
        (nn.Sequential(nn.Linear(5, 4)), features, rows),
    ):
        changed = absorb(network, done, torch.from_numpy(raw[:4]))
        assert not isinstance(changed, Preprocessed)
        with torch.no_grad():
            given = changed(torch.from_numpy(raw)).numpy()
        np.testing.assert_allclose(given, expected_of(network, done, raw), rtol=1e-4, atol=1e-4)


class Twice(nn.Module):
    """Reads its inputs again behind the first layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 5), nn.Linear(5, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.last(torch.relu(self.first(inputs)) + inputs)
        return outputs


def test_inputs_that_are_read_twice_get_a_layer_of_their_own() -> None:
    torch.manual_seed(0)
    network, raw = Twice().eval(), PICTURES.reshape(96, -1)[:, :5]
    changed = absorb(network, SCALED, torch.from_numpy(raw[:4]))
    assert isinstance(changed, Preprocessed)
    with torch.no_grad():
        given = changed(torch.from_numpy(raw)).numpy()
    np.testing.assert_allclose(given, expected_of(network, SCALED, raw), rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module", params=[pytest.param("probabilities", marks=pytest.mark.slow), "class"])
def headed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Exported]:
    spec = ExportSpec(
        precisions=("fp32", "static_wi8_ai8"), calibration=QuantSpec(samples=64), head=request.param, io="uint8"
    )
    made = export(
        convolution(padding=1),
        folder=tmp_path_factory.mktemp(request.param),
        spec=spec,
        calibration=CALIBRATION,
        check=CHECK,
        preprocessing=STANDARDISED,
    )
    return request.param, made


def test_files_take_raw_values_and_give_the_head(headed: tuple[str, Exported]) -> None:
    head, made = headed
    logits = expected_of(convolution(padding=1), STANDARDISED, CHECK)
    powers = np.exp(logits - logits.max(1, keepdims=True))
    probabilities = powers / powers.sum(1, keepdims=True)
    for model in made.models:
        assert (model.input_scale, model.head) == (1.0, head)
        outputs = run_onnx(model.path) if model.format == "onnx" else run_tflite(model.path)
        if head == "class":
            assert (outputs.reshape(-1) == logits.argmax(1)).mean() >= (1.0 if model.precision == "fp32" else 0.9)
        else:
            # Steps of 1/256 at the output, and as many of the inputs'.
            np.testing.assert_allclose(outputs, probabilities, atol=1e-5 if model.precision == "fp32" else 0.02)


def test_bytes_go_in_as_they_are(headed: tuple[str, Exported]) -> None:
    (model,) = (each for each in headed[1].models if each.path.name == "student.static_wi8_ai8.tflite")
    assert (model.inputs[0].dtype, model.inputs[0].zero_point) == ("uint8", 0)
    assert model.inputs[0].scale == pytest.approx(1.0, rel=1e-3)


def test_heads_are_for_classes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="head = class of regression"):
        export(
            nn.Linear(5, 2),
            folder=tmp_path,
            spec=ExportSpec(head="class"),
            calibration=PICTURES.reshape(96, -1)[:, :5],
            check=PICTURES.reshape(96, -1)[:, :5],
            task="regression",
        )


def run_onnx(path: Path) -> NDArray[np.float32]:
    return run_exactly(path, CHECK)


def run_tflite(path: Path) -> NDArray[np.float64]:
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    found = []
    for picture in np.moveaxis(CHECK, 1, -1):
        # What an app has: the bytes of a picture.
        interpreter.set_tensor(taken["index"], picture[None].astype(taken["dtype"]))
        interpreter.invoke()
        scale, zero = given["quantization"]
        value = interpreter.get_tensor(given["index"])[0]
        found.append((value.astype(np.float64) - zero) * scale if scale else value)
    return np.stack(found)
