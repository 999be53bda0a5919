"""Operators that neither the format nor the runtime defines."""

from __future__ import annotations

from collections.abc import Iterator

from edgekd.inspection import Anatomy, Node
from edgekd.lints import _litert, _onnxruntime, _tflite_micro
from edgekd.lints._graph import finding, runtime_of
from edgekd.records import Finding, Target


def find(*, graph: Anatomy, target: Target) -> Iterator[Finding]:
    """Find custom operators that nothing on the target is known to run.

    TFLite's custom operators (those of TensorFlow, `Flex...`, among them) and ONNX's foreign domains.

    Args:
        graph: What is in the file.
        target: Where it shall run.

    >>> from edgekd.records import TensorSpec
    >>> from edgekd.inspection import Node
    >>> end = TensorSpec(name="x", shape=(1, 8), dtype="float32")
    >>> file = Anatomy(
    ...     format="tflite", inputs=(end,), outputs=(end,), operators=(), parameters=0, macs=0, dtypes=(), layers=(),
    ...     size_bytes=100, layout="flat", nodes=(Node(name="erf", operator="FlexErf", domain="custom"),)
    ... )
    >>> target = Target(name="it", description="", runtimes=("tflite_micro",))
    >>> [each.what for each in find(graph=file, target=target)]
    ['FlexErf is a custom operator of TensorFlow']
    """
    runtime = runtime_of(graph, target)
    known = {"tflite_micro": _tflite_micro.CUSTOM, "litert": _litert.CUSTOM}.get(runtime or "", frozenset[str]())
    for node in graph.nodes:
        if runtime is None or not _is_foreign(node) or node.operator in known:
            continue
        if node.operator == "ethos-u" and target.accelerator:
            continue
        flex = node.operator.startswith("Flex")
        yield finding(
            __name__,
            "error",
            target,
            f"{node.operator} is a custom operator" + (" of TensorFlow" if flex else f" of '{node.domain}'"),
            "convert without select TensorFlow operators" if flex else f"register it with {runtime}, or replace it",
            node,
        )


def _is_foreign(node: Node) -> bool:
    return not node.local and node.domain not in (*_onnxruntime.DOMAINS, "com.microsoft")
