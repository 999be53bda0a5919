"""Model files nobody here wrote, as cargo, and an ONNX file written by hand."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgekd import store
from edgekd.inspection import inspect
from edgekd.records import Cargo, Model

MakeCargo = Callable[..., Cargo]
RESNET = "models/mlperf_tiny/image_classification/pretrainedResnet"


def cargo_of(path: Path, precision: str = "fp32", input_scale: float = 1.0, **known: Any) -> Cargo:
    anatomy = inspect(path)
    model = Model(
        name=path.name,
        path=path,
        format=anatomy.format,
        precision=precision,
        role="student",
        sha256=store.sha256_of(path),
        size_bytes=anatomy.size_bytes,
        inputs=anatomy.inputs,
        outputs=anatomy.outputs,
        input_scale=input_scale,
    )
    return Cargo(model=model, **known)


@pytest.fixture(scope="session")
def make_cargo() -> MakeCargo:
    return cargo_of


@pytest.fixture(scope="session")
def cifar(shared_data: Path) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Ten test images (N, 32, 32, 3), and the names of the classes."""
    image = pytest.importorskip("PIL.Image")
    with np.load(shared_data / "cifar10/cifar10_jpeg_bytes.npz") as file:
        content, offsets = file["test_bytes"], file["test_offsets"]
        labels = tuple(str(each) for each in file["classes"])
    images = [image.open(io.BytesIO(content[offsets[i] : offsets[i + 1]].tobytes())) for i in range(10)]
    return np.stack([np.asarray(each) for each in images]), labels


@pytest.fixture(scope="session")
def float_resnet(shared_data: Path, cifar: tuple[NDArray[np.uint8], tuple[str, ...]]) -> Cargo:
    path = shared_data / f"{RESNET}.tflite"
    return cargo_of(
        path,
        labels=cifar[1],
        content="image",
        head="probabilities",
        raw_range=(0, 255),
        title="ResNet-8",
        description="Tells ten things apart.",
        author="MLCommons",
        licence="Apache-2.0",
        version="1.0",
    )


@pytest.fixture(scope="session")
def int8_resnet(shared_data: Path, cifar: tuple[NDArray[np.uint8], tuple[str, ...]]) -> Cargo:
    path = shared_data / f"{RESNET}_quant.tflite"
    return cargo_of(path, "static_wi8_ai8", labels=cifar[1], content="image", head="probabilities", raw_range=(0, 255))


@pytest.fixture(scope="session")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Channels first, (N, 3, 4, 4) to 5 scores."""
    random = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("onnx") / "student.fp32.onnx"
    nodes = [
        helper.make_node("Conv", ["input", "filters"], ["conv"]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "by hand",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 4, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 5])],
        [numpy_helper.from_array(random.normal(size=(5, 3, 3, 3)).astype(np.float32), "filters")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path


@pytest.fixture(scope="session")
def onnx_cargo(onnx_file: Path) -> Cargo:
    """Pixels are scaled to 0..1, then normalized for each channel."""
    return cargo_of(
        onnx_file,
        input_scale=1 / 255,
        labels=("ant", "bee", 'a "wasp"', "mosquito?", "fly, äußerst $klein"),
        content="image",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        raw_range=(0, 255),
        licence="Apache-2.0",
    )
