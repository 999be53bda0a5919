"""Files that a record can't vouch for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgekd.errors import ModelError
from edgekd.stages.benchmark import describe_file


def weights() -> onnx.TensorProto:
    return helper.make_tensor("w", TensorProto.FLOAT, [4], np.ones(4, np.float32).tobytes(), raw=True)


def save(path: Path, nodes: list[onnx.NodeProto], initializers: list[onnx.TensorProto], *, external: bool) -> Path:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(
        model,
        path,
        save_as_external_data=external,
        location="weights.bin",
        size_threshold=0,
        convert_attribute=True,
    )
    return path


@pytest.mark.parametrize("place", ["initializer", "attribute"])
def test_weights_in_another_file_are_refused_until_they_are_inside(tmp_path: Path, place: str) -> None:
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    if place == "attribute":
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=weights()))
    path = save(tmp_path / "big.onnx", nodes, [weights()] if place == "initializer" else [], external=True)
    assert (tmp_path / "weights.bin").is_file()
    with pytest.raises(ModelError) as caught:
        describe_file(path)
    assert str(caught.value).startswith(f"{path}: part of its data is in another file, 'weights.bin'")
    advice = f"save it as one file: onnx.save(onnx.load('{path}'), other_path)"
    assert caught.value.next_step == advice
    whole = tmp_path / "elsewhere" / "whole.onnx"
    whole.parent.mkdir()
    exec(advice.partition(": ")[2], {"onnx": onnx, "other_path": whole})  # noqa: S102 - the advice has to work
    assert describe_file(whole).size_bytes == whole.stat().st_size
