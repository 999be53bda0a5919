"""ORT format: ONNX Runtime itself loads it."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from edgekd.errors import ExportError
from edgekd.packagers.ort import pack
from edgekd.records import Cargo


@pytest.fixture(scope="module")
def packed(onnx_cargo: Cargo, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    return pack(cargo=onnx_cargo, folder=tmp_path_factory.mktemp("ort"))


def test_runs_without_the_onnx_file_and_gives_the_same_outputs(onnx_cargo: Cargo, packed: tuple[Path, ...]) -> None:
    path, _ = packed
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.load_model_format", "ORT")
    inputs = {"input": np.random.default_rng(1).normal(size=(3, 3, 4, 4)).astype(np.float32)}
    found = onnxruntime.InferenceSession(path, options).run(None, inputs)[0]
    expected = onnxruntime.InferenceSession(onnx_cargo.model.path).run(None, inputs)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_config_names_the_operators_after_fusion(packed: tuple[Path, ...]) -> None:
    _, config = packed
    lines = config.read_text().splitlines()
    # Domain, opset, operators: what `--include_ops_by_config` reads. Conv and Relu are one by then.
    operators = {name for line in lines for name in line.split(";")[2].split(",")}
    assert operators == {"FusedConv", "Flatten", "GlobalAveragePool"}


def test_weights_of_four_bits_are_refused(onnx_cargo: Cargo, tmp_path: Path) -> None:
    """ONNX Runtime 1.32 writes them, and then does not know the type."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"]
    weights = helper.make_tensor("w", TensorProto.INT4, [4], [1, -2, 3, -4])
    scale = helper.make_tensor("s", TensorProto.FLOAT, [], [0.5])
    nodes = [helper.make_node("DequantizeLinear", ["w", "s"], ["d"]), helper.make_node("Add", ["x", "d"], ["y"])]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [weights, scale])
    path = tmp_path / "four.onnx"
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)]), path)
    cargo = dataclasses.replace(onnx_cargo, model=dataclasses.replace(onnx_cargo.model, name="four.onnx", path=path))
    with pytest.raises(ExportError, match="weights of 4 bits, which the ORT format does not hold"):
        pack(cargo=cargo, folder=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_file_that_onnxruntime_can_not_load_is_an_error_of_one_line(onnx_cargo: Cargo, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"\xff" * 64)
    model = dataclasses.replace(onnx_cargo.model, path=damaged)
    with pytest.raises(ExportError, match="converter refused it") as caught:
        pack(cargo=dataclasses.replace(onnx_cargo, model=model), folder=tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
