"""ONNX teachers: batches, layouts, outputs, external data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgekd.errors import ModelError
from edgekd.teachers.onnx import load

CHANCE = np.random.default_rng(4)
WEIGHT = CHANCE.normal(size=(12, 3)).astype("f4")


def written(file: Path, nodes: list[Any], shape: list[Any], *, outputs: tuple[str, ...] = ("y",), **other: Any) -> Path:
    """A file whose input `x` has a shape; its constants are `w` and those in `other`."""
    constants = {"w": WEIGHT, **other}
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * len(shape)) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(file))
    return file


def product(inputs: str = "x") -> Any:
    return helper.make_node("MatMul", [inputs, "w"], ["y"])


@pytest.mark.parametrize("batch", ["n", *(pytest.param(each, marks=pytest.mark.slow) for each in (1, 4))])
def test_any_batch_goes_through_files_of_any_batch(tmp_path: Path, batch: int | str) -> None:
    teacher = load(weights=written(tmp_path / "m.onnx", [product()], [batch, 12]), outputs=3, input_shape=(12,))
    for count in (1, 3, 4, 9, 0):
        samples = CHANCE.normal(size=(count, 12)).astype("f4")
        found = teacher(torch.from_numpy(samples)).numpy()
        np.testing.assert_allclose(found, samples.astype("f8") @ WEIGHT, atol=1e-5)


def test_a_network_that_mixes_its_samples_gets_them_one_by_one(tmp_path: Path) -> None:
    # The largest value of the whole batch scales it, as dynamic quantization does.
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
        helper.make_node("Div", ["x", "top"], ["scaled"]),
        product("scaled"),
    ]
    teacher = load(weights=written(tmp_path / "m.onnx", nodes, ["n", 12]), outputs=3, input_shape=(12,))
    samples = CHANCE.random((5, 12)).astype("f4") * np.array([[1], [50], [3], [9], [200]], "f4")
    expected = samples / samples.max(axis=1, keepdims=True) @ WEIGHT
    np.testing.assert_allclose(teacher(torch.from_numpy(samples)).numpy(), expected, atol=1e-5)


@pytest.mark.slow
def test_both_layouts_and_reconstructions_in_them(tmp_path: Path) -> None:
    twice = [helper.make_node("Add", ["x", "x"], ["y"])]
    samples = CHANCE.normal(size=(5, 3, 4, 6)).astype("f4")
    for shape in (["n", 3, 4, 6], ["n", 4, 6, 3]):
        file = written(tmp_path / "m.onnx", twice, shape)
        teacher = load(weights=file, outputs=72, input_shape=(3, 4, 6), task="reconstruction")
        found = teacher(torch.from_numpy(samples)).numpy()
        np.testing.assert_array_equal(found, 2 * samples.reshape(5, 72))


def test_of_several_outputs_one_is_named(tmp_path: Path) -> None:
    nodes = [product(), helper.make_node("Neg", ["y"], ["z"])]
    file = written(tmp_path / "m.onnx", nodes, ["n", 12], outputs=("y", "z"))
    with pytest.raises(ModelError, match="has 2 outputs; allowed: y, z; choose one with 'output_name'"):
        load(weights=file, outputs=3, input_shape=(12,))
    first, second = (load(weights=file, outputs=3, input_shape=(12,), output_name=name) for name in "yz")
    samples = torch.from_numpy(CHANCE.normal(size=(2, 12)).astype("f4"))
    torch.testing.assert_close(first(samples), -second(samples))
    # A cache of one must not be taken for the other's.
    assert getattr(first, "fingerprint")() != getattr(second, "fingerprint")()  # noqa: B009 - not nn.Module's


@pytest.mark.slow
def test_external_data_is_part_of_the_weights(tmp_path: Path) -> None:
    file = written(tmp_path / "m.onnx", [product()], ["n", 12])
    onnx.save(onnx.load(str(file)), str(file), save_as_external_data=True, location="m.bin", size_threshold=0)
    prints = []
    for change in (0, 1):
        data = bytearray((tmp_path / "m.bin").read_bytes())
        data[0] ^= change
        (tmp_path / "m.bin").write_bytes(data)
        teacher: Any = load(weights=file, outputs=3, input_shape=(12,))
        prints.append(teacher.fingerprint())
    assert prints[0] != prints[1]
    (tmp_path / "m.bin").unlink()
    with pytest.raises(ModelError, match="external data of 'w' is missing"):
        load(weights=file, outputs=3, input_shape=(12,))


def test_what_can_not_be_a_teacher_says_why(tmp_path: Path) -> None:
    unknown = [helper.make_node("Mystery", ["x"], ["y"], domain="of.mine")]
    graph = helper.make_graph(
        unknown,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, None])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("of.mine", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(tmp_path / "unknown.onnx"))
    with pytest.raises(ModelError, match=r"ONNX Runtime can't run it: .*Mystery") as caught:
        load(weights=tmp_path / "unknown.onnx", outputs=3, input_shape=(12,))
    assert "\n" not in str(caught.value)
    (tmp_path / "other.onnx").write_bytes(b"\x1c\0\0\0TFL3" + bytes(100))
    with pytest.raises(ModelError, match="TFLite"):
        load(weights=tmp_path / "other.onnx", outputs=3, input_shape=(12,))


def test_two_inputs_are_too_many(shared_data: Path) -> None:
    file = shared_data / "models/dtln/model_1.onnx"
    with pytest.raises(ModelError, match=r"takes 2 inputs: .*; allowed: one input"):
        load(weights=file, outputs=257, input_shape=(1, 257))
