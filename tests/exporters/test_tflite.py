"""The TFLite exporter against torch, LiteRT and itself; one child makes all files, because its imports are slow."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekd import child
from edgekd.errors import ExportError
from edgekd.exporters.tflite import export
from edgekd.inspection import inspect
from edgekd.networks.mlperf_resnet8 import build


def make_networks() -> dict[str, nn.Module]:
    class PooledByMean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.ReLU())
            self.linear = nn.Linear(6, 5)

        def forward(self, inputs: Tensor) -> Tensor:
            logits: Tensor = self.linear(self.features(inputs).mean((2, 3)))
            return logits

    class Shuffled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(2, 8, 3), nn.Conv2d(10, 4, 3)
            self.linear = nn.Linear(4, 5)

        def forward(self, inputs: Tensor) -> Tensor:
            rows = self.first(inputs).permute(0, 2, 1, 3)
            logits: Tensor = self.linear(self.second(rows).mean((2, 3)))
            return logits

    torch.manual_seed(0)
    networks = {
        # Pads at the bottom and right only, as TFLite's SAME does at stride 2.
        "same": nn.Sequential(
            nn.Conv2d(2, 8, 3, padding=1),
            nn.ReLU(),
            nn.ZeroPad2d((0, 1, 0, 1)),
            nn.Conv2d(8, 16, 3, 2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, 5),
        ),
        "flattened": nn.Sequential(
            nn.Conv2d(2, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 5 * 4, 12), nn.Linear(12, 5)
        ),
        "pooled": nn.Sequential(
            nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        ),
        "negative": nn.Sequential(
            nn.Conv2d(2, 8, 3, padding=1), nn.MaxPool2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        ),
        "mean": PooledByMean(),
        "dense": nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 5)),
        "shuffled": Shuffled(),
        # As training leaves it.
        "trained": build(classes=5, input_shape=(2, 12, 10)).to(memory_format=torch.channels_last),  # type: ignore[call-overload]
    }
    return {name: network.eval() for name, network in networks.items()}


def shape_of(name: str) -> tuple[int, ...]:
    return (20,) if name == "dense" else (2, 12, 10)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    networks = make_networks()
    jobs = [(networks[name], np.zeros((1, *shape_of(name)), np.float32), name) for name in networks]
    jobs.append((networks["same"], np.ones((1, *shape_of("same")), np.float32), "again"))

    def export_all() -> None:
        for network, example, name in jobs:
            try:
                export(network=network, example=example, path=folder / f"{name}.tflite")
            except ExportError as error:
                (folder / f"{name}.error").write_text(str(error))

    child.call("the converter", export_all)
    return folder


def run(path: Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    interpreter = Interpreter(str(path))
    signature = interpreter.get_signature_runner()
    (taken,) = signature.get_input_details()
    (output,) = signature.get_output_details()
    return np.concatenate([signature(**{taken: sample[None]})[output] for sample in inputs])


@pytest.mark.parametrize("name", ["same", "flattened", "mean", "dense", "pooled", "negative", "trained"])
def test_runs_as_torch_does(folder: Path, name: str) -> None:
    inputs = np.random.default_rng(0).normal(size=(4, *shape_of(name))).astype(np.float32)
    with torch.inference_mode():
        expected = make_networks()[name](torch.from_numpy(inputs)).numpy()
    channels_last = inputs.transpose(0, 2, 3, 1) if inputs.ndim == 4 else inputs
    np.testing.assert_allclose(run(folder / f"{name}.tflite", channels_last), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "operators"),
    [
        ("same", ["DEPTHWISE_CONV_2D|CONV_2D", "CONV_2D", "MEAN", "FULLY_CONNECTED"]),
        ("flattened", ["CONV_2D", "MAX_POOL_2D", "RESHAPE", "FULLY_CONNECTED", "FULLY_CONNECTED"]),
        ("mean", ["CONV_2D", "CONV_2D", "MEAN", "FULLY_CONNECTED"]),
        ("dense", ["FULLY_CONNECTED", "FULLY_CONNECTED"]),
    ],
)
def test_no_operator_only_moves_data(folder: Path, name: str, operators: list[str]) -> None:
    found = [layer.operator for layer in inspect(folder / f"{name}.tflite").layers]
    assert len(found) == len(operators)
    assert all(one in allowed.split("|") for one, allowed in zip(found, operators, strict=True)), found


def test_what_is_rectified_is_padded_with_numbers_that_integers_can_hold(folder: Path) -> None:
    constants = {}
    for name in ("pooled", "negative"):
        interpreter = Interpreter(str(folder / f"{name}.tflite"))
        interpreter.allocate_tensors()
        details = interpreter._get_ops_details()
        (pad,) = (each for each in details if each["op_name"] == "PADV2")
        constants[name] = float(interpreter.get_tensor(pad["inputs"][2]).ravel()[0])
    assert constants == {"pooled": 0.0, "negative": -np.inf}


def test_input_is_channels_last(folder: Path) -> None:
    anatomy = inspect(folder / "same.tflite")
    assert (anatomy.inputs[0].shape, anatomy.layout) == ((1, 12, 10, 2), "NHWC")
    assert anatomy.outputs[0].shape == (1, 5)


def test_bytes_depend_on_the_network_only(folder: Path) -> None:
    assert (folder / "same.tflite").read_bytes() == (folder / "again.tflite").read_bytes()


def test_transposes_that_are_left_are_an_error(folder: Path) -> None:
    message = (folder / "shuffled.error").read_text()
    assert "TRANSPOSE operators" in message
    assert "shuffled.tflite" in message
    assert message[len("shuffled.tflite: ")].isdigit()
