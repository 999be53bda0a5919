"""Operators that LiteRT's fast kernels, XNNPACK, do not take."""

from __future__ import annotations

from collections.abc import Iterator

from edgekd.inspection import Anatomy, Node
from edgekd.lints._graph import data_of, finding, is_float, runtime_of
from edgekd.lints._litert import ASKED, XNNPACK
from edgekd.records import Finding, Target


def find(*, graph: Anatomy, target: Target) -> Iterator[Finding]:
    """Find operators that run on LiteRT's plain kernels, several times slower.

    As LiteRT's delegate answered in the version that edgekd installs; of operators that it was not asked about
    nothing is said.

    Args:
        graph: What is in the file.
        target: Where it shall run.

    >>> from edgekd.records import TensorSpec
    >>> from edgekd.inspection import Node, Value
    >>> data = Value(name="x", key="x", shape=(1, 8), dtype="int8", channels=1)
    >>> end = TensorSpec(name="x", shape=(1, 8), dtype="float32")
    >>> file = Anatomy(
    ...     format="tflite", inputs=(end,), outputs=(end,), operators=(), parameters=0, macs=0, dtypes=(), layers=(),
    ...     size_bytes=100, layout="flat", nodes=(Node(name="softmax", operator="SOFTMAX", inputs=(data,)),)
    ... )
    >>> target = Target(name="it", description="", runtimes=("litert",))
    >>> [each.what for each in find(graph=file, target=target)]
    ['XNNPACK does not take SOFTMAX of int8: it runs on slower kernels']
    """
    if runtime_of(graph, target) != "litert" or not target.xnnpack:
        return
    for node in graph.nodes:
        why = _why_left(node)
        if why:
            yield finding(
                __name__,
                "warning",
                target,
                f"XNNPACK does not take {node.operator} {why}: it runs on slower kernels",
                "measure what it costs before replacing it",
                node,
            )


def _why_left(node: Node) -> str | None:
    data = data_of(node)
    if data is None or node.operator not in ASKED or data.dtype not in XNNPACK:
        return None
    if node.operator not in XNNPACK[data.dtype]:
        return f"of {data.dtype}"
    converted = node.operator == "QUANTIZE" and (node.outputs[0].dtype == "int16" or not _same_kind(node))
    return f"from {data.dtype} to {node.outputs[0].dtype}" if converted else None


def _same_kind(node: Node) -> bool:
    """XNNPACK quantizes floats, and rescales integers of one type."""
    data = data_of(node)
    return data is not None and (is_float(data) or data.dtype == node.outputs[0].dtype)
