"""Test vectors are what files take and give; copies are held against originals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgekd.errors import ExportError
from edgekd.records import Cargo, Model, TensorSpec
from edgekd.stages.benchmark import describe_file
from edgekd.stages.package.proving import Copy, as_taken, make_vectors, noise_for, prove

QUANTIZED = "models/mlperf_tiny/image_classification/pretrainedResnet_quant.tflite"


def write_dense(path: Path, weights: NDArray[np.float32]) -> Model:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return describe_file(path)


@pytest.fixture
def weights() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def test_vectors_are_what_the_formula_gives(tmp_path: Path, weights: NDArray[np.float32]) -> None:
    samples = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    (vectors,) = make_vectors([(write_dense(tmp_path / "a.onnx", weights), samples, False)])
    assert vectors is not None
    np.testing.assert_array_equal(vectors.inputs, samples)
    wanted = samples.astype(np.float64) @ weights.astype(np.float64)
    np.testing.assert_allclose(vectors.outputs, wanted, rtol=1e-5, atol=1e-6)


def test_vectors_of_a_quantized_file_are_its_integers_on_both_runtimes(shared_data: Path) -> None:
    model = describe_file(shared_data / QUANTIZED)
    (spec,) = model.inputs
    assert spec.scale is not None
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.float32)
    litert, micro = make_vectors([(model, pixels, False), (model, pixels, True)])
    assert litert is not None
    assert micro is not None
    # The network takes pixels as they are: q = x - 128.
    np.testing.assert_array_equal(litert.inputs, (pixels - 128).astype(np.int8))
    np.testing.assert_array_equal(litert.inputs, micro.inputs)
    assert litert.outputs.dtype == micro.outputs.dtype == np.int8
    # Kernels round in different places, 1/256 of a probability a step.
    assert np.abs(litert.outputs.astype(int) - micro.outputs.astype(int)).max() <= 3
    assert litert.outputs.std() > 1


def test_what_can_t_be_held_saturates() -> None:
    spec = TensorSpec(name="x", shape=(1, 3), dtype="uint8", scale=1 / 255, zero_point=0)
    assert as_taken(np.array([[-1.0, 0.5, 2.0]], np.float32), spec).tolist() == [[0, 128, 255]]
    plain = TensorSpec(name="x", shape=(1, 3), dtype="float32")
    assert as_taken(np.array([[0.25]], np.float32), plain).tolist() == [[0.25]]


def test_no_vectors_of_several_inputs_or_no_samples(tmp_path: Path, weights: NDArray[np.float32]) -> None:
    model = write_dense(tmp_path / "a.onnx", weights)
    assert make_vectors([(model, np.zeros((0, 4), np.float32), False)]) == [None]


@pytest.mark.parametrize(
    ("exact", "factor", "passes"), [(True, 1 + 1e-6, False), (False, 1.05, True), (False, 1.2, False)]
)
def test_a_copy_may_be_off_as_far_as_it_says(
    exact: bool, factor: float, passes: bool, tmp_path: Path, weights: NDArray[np.float32]
) -> None:
    cargo = Cargo(model=write_dense(tmp_path / "a.onnx", weights))
    copy = write_dense(tmp_path / "b.onnx", (weights * np.float32(factor)).astype(np.float32))
    if passes:
        prove([Copy(cargo=cargo, path=copy.path, exact=exact)])
        return
    with pytest.raises(ExportError, match=r"b.onnx: its outputs are up to .* off those of a.onnx"):
        prove([Copy(cargo=cargo, path=copy.path, exact=exact)])


def test_a_copy_that_no_runtime_loads_is_named(tmp_path: Path, weights: NDArray[np.float32]) -> None:
    cargo = Cargo(model=write_dense(tmp_path / "a.onnx", weights))
    (tmp_path / "b.onnx").write_bytes(b"no model")
    with pytest.raises(ExportError, match=r"b.onnx: a runtime failed"):
        prove([Copy(cargo=cargo, path=tmp_path / "b.onnx", exact=True)])


def test_noise_has_the_types_of_the_inputs() -> None:
    ends = [("image", (1, 4, 4, 3), "int8"), ("ids", (None, 7), "int64"), ("features", (1, 5), "float32")]
    model = Model(
        name="m.onnx",
        path=Path("m.onnx"),
        format="onnx",
        precision="fp32",
        role="student",
        sha256="",
        size_bytes=0,
        inputs=tuple(TensorSpec(name=name, shape=shape, dtype=dtype) for name, shape, dtype in ends),
    )
    image, ids, features = noise_for(model, count=3)
    assert [(each.shape, str(each.dtype)) for each in (image, ids, features)] == [
        ((3, 4, 4, 3), "int8"),
        ((3, 7), "int64"),
        ((3, 5), "float32"),
    ]
    assert {*ids.ravel().tolist()} <= {0, 1}
    assert image.min() < -64
    assert image.max() > 64
