"""Operators that the target's runtime does not have."""

from __future__ import annotations

from collections.abc import Iterator

from edgekd.inspection import Anatomy, Node
from edgekd.lints import _litert, _onnxruntime, _tflite_micro
from edgekd.lints._graph import finding, runtime_of
from edgekd.lints._vela import on_cpu
from edgekd.records import Finding, Target


def find(*, graph: Anatomy, target: Target) -> Iterator[Finding]:
    """Find operators that a runtime has no kernel for.

    Their lists are facts of TFLite Micro, LiteRT and ONNX Runtime in the versions that edgekd installs. What an
    accelerator takes the runtime never sees.

    Args:
        graph: What is in the file.
        target: Where it shall run.

    >>> from edgekd.records import TensorSpec
    >>> from edgekd.inspection import Node
    >>> end = TensorSpec(name="x", shape=(1, 8), dtype="float32")
    >>> file = Anatomy(
    ...     format="tflite", inputs=(end,), outputs=(end,), operators=(), parameters=0, macs=0, dtypes=(), layers=(),
    ...     size_bytes=100, layout="flat", nodes=(Node(name="erf", operator="GELU"),)
    ... )
    >>> target = Target(name="it", description="", runtimes=("tflite_micro",))
    >>> [each.what for each in find(graph=file, target=target)]
    ['tflite_micro has no GELU']
    """
    runtime = runtime_of(graph, target)
    told = set[str]()
    for node in on_cpu(graph, target):
        if runtime is None or node.operator in told or not _is_missing(node, runtime):
            continue
        told.add(node.operator)
        count = sum(each.operator == node.operator for each in graph.nodes)
        times = f" ({count} times in the file)" if count > 1 else ""
        yield finding(
            __name__,
            "error",
            target,
            f"{runtime} has no {node.operator}{times}",
            "replace the layer that makes it by one of operators that the runtime has",
            node,
        )


def _is_missing(node: Node, runtime: str) -> bool:
    if runtime == "tflite_micro":
        return not node.domain and node.operator not in _tflite_micro.OPERATORS
    if runtime == "litert":
        return not node.domain and node.operator not in _litert.VERSIONS
    if runtime == "onnxruntime" and not node.local:
        contrib = node.domain == "com.microsoft" and node.operator not in _onnxruntime.CONTRIB
        return contrib or (not node.domain and node.operator in _onnxruntime.NO_KERNEL)
    return False
