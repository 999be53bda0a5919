"""QUANTIZE and DEQUANTIZE that follow each other with nothing between."""

from __future__ import annotations

from collections.abc import Iterator

from edgekd.inspection import Anatomy, Value
from edgekd.lints._graph import consumers, finding
from edgekd.records import Finding, Target

_PAIRS = {"DEQUANTIZE": "QUANTIZE", "QUANTIZE": "DEQUANTIZE", "DequantizeLinear": "QuantizeLinear"}


def find(*, graph: Anatomy, target: Target) -> Iterator[Finding]:
    """Find changes of type that undo each other, left by a converter or by fake quantization.

    Args:
        graph: What is in the file.
        target: Where it shall run.

    >>> from edgekd.records import TensorSpec
    >>> from edgekd.inspection import Node, Value
    >>> whole = Value(name="q", key="q", shape=(1, 8), dtype="int8", channels=1, scale=0.1, zero_point=0)
    >>> end = TensorSpec(name="x", shape=(1, 8), dtype="float32")
    >>> file = Anatomy(
    ...     format="tflite", inputs=(end,), outputs=(end,), operators=(), parameters=0, macs=0, dtypes=(), layers=(),
    ...     size_bytes=100, layout="flat",
    ...     nodes=(Node(name="q", operator="QUANTIZE", inputs=(whole,), outputs=(whole,)),)
    ... )
    >>> target = Target(name="it", description="", runtimes=("litert",))
    >>> [each.what for each in find(graph=file, target=target)]
    ['QUANTIZE changes nothing: input and output are of one type and scale']
    """
    takers = consumers(graph)
    for node in graph.nodes:
        following = _PAIRS.get(node.operator)
        if following is None or not node.inputs or node.inputs[0] is None or node.inputs[0].constant:
            continue
        given, made = node.inputs[0], node.outputs[0]
        if node.operator == "QUANTIZE" and _same(given, made):
            what = "changes nothing: input and output are of one type and scale"
        else:
            taken = takers.get((node.graph, made.key), [])
            if not taken or any(each.operator != following for each in taken):
                continue
            what = f"is followed by {following} with nothing between"
        yield finding(__name__, "warning", target, f"{node.operator} {what}", "quantize the float file again", node)


def _same(one: Value, other: Value) -> bool:
    return one.channels == 1 and (one.dtype, one.scale, one.zero_point) == (
        other.dtype,
        other.scale,
        other.zero_point,
    )
