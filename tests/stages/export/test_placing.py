"""Layers of a torch network, found in files by their weights."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgekd import child
from edgekd.stages.export.placing import Placed, place

RANDOM = np.random.default_rng(0)
TABLE, HEAD, OTHER = (RANDOM.normal(size=(8, 8)).astype(np.float32) for _ in range(3))


def test_layers_are_found_by_weights_and_activations_by_what_they_hold(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["features", "first"], ["product"], name="one"),
        helper.make_node("Relu", ["product"], ["relu"], name="two"),
        helper.make_node("Gemm", ["relu", "second"], ["scores"], name="three", transB=1),
        helper.make_node("MatMul", ["scores", "third"], ["more"], name="four"),
    ]
    tensors = {"first": np.ascontiguousarray(TABLE.T), "second": HEAD, "third": OTHER}
    graph = helper.make_graph(
        nodes,
        "by hand",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("more", TensorProto.FLOAT, ["batch", 8])],
        [numpy_helper.from_array(values, name) for name, values in tensors.items()],
    )
    path = tmp_path / "file.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    probes = RANDOM.normal(size=(4, 8)).astype(np.float32)
    relu = np.maximum(probes @ TABLE.T, 0)
    # Torch stores x W^T, and what folding changes is the last digit.
    weights = {"body": TABLE * np.float32(1 + 1e-7), "head": HEAD}
    known = {"input": probes, "body": relu, "head": relu @ HEAD.T}
    found = child.call("the runtime", place, "onnx", path, weights, known, probes)
    assert found.layers == (
        Placed(output="product", name="one", layer="body"),
        Placed(output="scores", name="three", layer="head"),
        Placed(output="more", name="four", layer=None),
    )
    assert found.activations == {"features": "input", "relu": "body", "scores": "head"}
