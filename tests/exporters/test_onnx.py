"""The ONNX exporter against torch, ONNX Runtime and itself."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from edgekd import child
from edgekd.exporters.onnx import export
from edgekd.inspection import inspect


def make_network() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.ZeroPad2d((0, 1, 0, 1)),
        nn.Conv2d(8, 16, 3, 2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 5),
    )
    norm = network[1]
    assert isinstance(norm, nn.BatchNorm2d)
    norm.running_mean = torch.randn(8)
    norm.running_var = torch.rand(8) + 0.5
    return network.eval()


EXAMPLE = np.zeros((1, 2, 12, 10), np.float32)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same network in two folders, by one child that exports twice."""
    network, example = make_network(), EXAMPLE
    paths = [tmp_path_factory.mktemp(folder) / f"{folder}.onnx" for folder in ("here", "elsewhere")]

    def both() -> None:
        for path in paths:
            export(network=network, example=example, path=path)

    child.call("the converter", both)
    return paths[0], paths[1]


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_runs_as_torch_does_at_any_batch_size(exported: tuple[Path, Path], batch: int) -> None:
    inputs = np.random.default_rng(batch).normal(size=(batch, 2, 12, 10)).astype(np.float32)
    with torch.inference_mode():
        expected = make_network()(torch.from_numpy(inputs)).numpy()
    (outputs,) = onnxruntime.InferenceSession(exported[0]).run(["output"], {"input": inputs})
    np.testing.assert_allclose(outputs, expected, atol=1e-5, rtol=0)


def test_padding_ends_in_the_convolution(exported: tuple[Path, Path]) -> None:
    anatomy = inspect(exported[0])
    assert anatomy.count("Conv") == 2
    assert anatomy.count("Pad") == anatomy.count("BatchNormalization") == anatomy.count("Transpose") == 0
    assert [(end.name, end.shape) for end in (*anatomy.inputs, *anatomy.outputs)] == [
        ("input", (None, 2, 12, 10)),
        ("output", (None, 5)),
    ]


def test_bytes_do_not_depend_on_the_folder(exported: tuple[Path, Path]) -> None:
    assert exported[0].read_bytes() == exported[1].read_bytes()


def test_nothing_tells_where_it_was_made(exported: tuple[Path, Path]) -> None:
    content = exported[0].read_bytes()
    for trace in (b"site-packages", b".py", b"torch.nn", str(Path.cwd()).encode(), str(exported[0].parent).encode()):
        assert trace not in content
    model = onnx.load(exported[0])
    assert not any(tensor.data_location for tensor in model.graph.initializer)
