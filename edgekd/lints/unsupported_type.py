"""Types of data or weights that the runtime's operator has no kernel for."""

from __future__ import annotations

from collections.abc import Iterator

from edgekd.inspection import Anatomy, Node
from edgekd.lints import _litert, _tflite_micro
from edgekd.lints._graph import data_of, finding, runtime_of
from edgekd.lints._vela import on_cpu
from edgekd.records import Finding, Target


def find(*, graph: Anatomy, target: Target) -> Iterator[Finding]:
    """Find operators whose data or weights are of a type that the runtime does not take.

    float16, uint8 and four-bit weights above all; as TFLite Micro and LiteRT answered in the versions that edgekd
    installs. What an accelerator takes the runtime never sees.

    Args:
        graph: What is in the file.
        target: Where it shall run.

    >>> from edgekd.records import TensorSpec
    >>> from edgekd.inspection import Node, Value
    >>> half = Value(name="w", key="w", shape=(8, 8), dtype="float16", constant=True)
    >>> end = TensorSpec(name="x", shape=(1, 8), dtype="float32")
    >>> file = Anatomy(
    ...     format="tflite", inputs=(end,), outputs=(end,), operators=(), parameters=0, macs=0, dtypes=(), layers=(),
    ...     size_bytes=100, layout="flat", nodes=(Node(name="weights", operator="DEQUANTIZE", inputs=(half,)),)
    ... )
    >>> target = Target(name="it", description="", runtimes=("tflite_micro",))
    >>> [each.what for each in find(graph=file, target=target)]
    ["tflite_micro's DEQUANTIZE takes int8, uint8, int16, not float16"]
    """
    runtime = runtime_of(graph, target)
    why = {"tflite_micro": _in_micro, "litert": _in_litert}.get(runtime or "")
    for node in on_cpu(graph, target):
        what = why(node) if why else None
        if what:
            yield finding(
                __name__, "error", target, f"{runtime}'s {node.operator} {what}", "export it as static_wi8_ai8", node
            )


def _in_micro(node: Node) -> str | None:
    data, allowed = data_of(node), _tflite_micro.TYPES.get(node.operator)
    if data is not None and allowed and data.dtype not in allowed:
        return f"takes {', '.join(allowed)}, not {data.dtype}"
    if node.operator == "QUANTIZE" and data and data.dtype == "float32" and node.outputs[0].dtype == "uint8":
        return "makes int8 and int16 of floats, not uint8"
    weights = _four_bits(node)
    if weights is None or data is None or data.dtype == "float32":  # floats with integers are hybrid: another rule
        return None
    if node.operator not in _tflite_micro.INT4_WEIGHTS or data.dtype != "int8":
        return f"takes no int4 weights with {data.dtype} data"
    if node.operator == "FULLY_CONNECTED" and weights > 1:
        return "takes int4 weights with one scale, not with one for each channel"
    return None


def _in_litert(node: Node) -> str | None:
    data = data_of(node)
    if data is not None and _four_bits(node) and (node.operator, data.dtype) in _litert.NO_INT4:
        return f"takes no int4 weights with {data.dtype} data"
    return None


def _four_bits(node: Node) -> int | None:
    """How many scales the four-bit weights of an operator have."""
    data = data_of(node)
    return next((each.channels for each in node.inputs if each and each is not data and each.dtype == "int4"), None)
