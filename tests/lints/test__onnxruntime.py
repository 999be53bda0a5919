"""The facts of ONNX Runtime against the installed package."""

from __future__ import annotations

import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnxruntime.capi import onnxruntime_pybind11_state as native

from edgekd.lints import _onnxruntime

pytestmark = pytest.mark.skipif(
    onnxruntime.__version__ != _onnxruntime.VERSION, reason=f"the facts are of {_onnxruntime.VERSION}"
)


def loads(ir: int, opset: int) -> bool:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("a", "b")]
    graph = helper.make_graph([helper.make_node("Relu", ["a"], ["b"])], "stamps", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except native.Fail:
        return False
    return True


def test_newest_stamps_are_those_that_load() -> None:
    newest = _onnxruntime.newest_stamps(onnxruntime.__version__)
    assert newest is not None
    ir, opset = newest
    assert (loads(ir, 13), loads(ir + 1, 13)) == (True, False)
    assert (loads(8, opset), loads(8, opset + 1)) == (True, False)


def test_kernels_are_those_of_the_package() -> None:
    kernels = {(each.domain, each.op_name) for each in native.get_all_opkernel_def() if each.provider.startswith("CPU")}
    assert {name for domain, name in kernels if domain == "com.microsoft"} == set(_onnxruntime.CONTRIB)
    # Operators without kernel of their own are functions of others, or constants.
    schemas = [each for each in onnx.defs.get_all_schemas() if each.domain == ""]
    composed = {each.name for each in schemas if each.has_function or each.has_context_dependent_function}
    missing = {each.name for each in schemas} - {name for domain, name in kernels if not domain} - composed
    assert missing - {"Constant"} == set(_onnxruntime.NO_KERNEL)


@pytest.mark.parametrize(("version", "stamps"), [("1.15.0", None), ("1.16.3", (9, 19)), ("1.27.1", (13, 26))])
def test_releases_between_two_read_what_the_older_one_does(version: str, stamps: tuple[int, int] | None) -> None:
    assert _onnxruntime.newest_stamps(version) == stamps
