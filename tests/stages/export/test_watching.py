"""Files are judged by what they say, on every processor."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.quantizers.onnx import quantize
from edgekd.records import QuantizationPlan
from edgekd.stages.export.watching import exact_session


@pytest.mark.parametrize(
    "layers",
    [{}, {"logits": "weight_only_wi8_afp32"}, {"logits": "weight_only_wi4_afp32"}],
    ids=["int8", "stored int8", "stored int4"],
)
def test_products_at_the_ends_of_their_ranges_do_not_overflow(layers: dict[str, str], tmp_path: Path) -> None:
    # 255 * 127 twice is past 16 bits, which x86 without VNNI adds in by default.
    first, second = np.full((64, 8), 0.5, np.float32), np.full((8, 3), 0.25, np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["input", "w"], ["hidden"]),
            helper.make_node("MatMul", ["hidden", "v"], ["logits"]),
        ],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(first, "w"), numpy_helper.from_array(second, "v")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "float.onnx")
    ranges = {"input": (0.0, 1.0), "hidden": (0.0, 32.0), "logits": (0.0, 64.0)}
    plan = QuantizationPlan(precision="static_wi8_ai8", ranges=ranges, layers=layers)
    quantize(source=tmp_path / "float.onnx", plan=plan, path=tmp_path / "file.onnx")
    inputs = np.ones((5, 64), np.float32)
    found = exact_session(onnx.load(tmp_path / "file.onnx")).run(None, {"input": inputs})[0]
    np.testing.assert_allclose(found, inputs @ first @ second, rtol=1e-3)
