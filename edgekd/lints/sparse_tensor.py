"""Sparse tensors, on a microcontroller."""

from __future__ import annotations

from collections.abc import Iterator

from edgekd.inspection import Anatomy
from edgekd.lints._graph import finding, is_micro
from edgekd.records import Finding, Target


def find(*, graph: Anatomy, target: Target) -> Iterator[Finding]:
    """Find tensors that are stored without their zeros, which TFLite Micro would read as if they were dense.

    Args:
        graph: What is in the file.
        target: Where it shall run.

    >>> from edgekd.records import TensorSpec
    >>> from edgekd.inspection import Node, Value
    >>> kernel = Value(name="w", key="w", shape=(4, 8), dtype="int8", constant=True, sparse=True)
    >>> end = TensorSpec(name="x", shape=(1, 8), dtype="float32")
    >>> file = Anatomy(
    ...     format="tflite", inputs=(end,), outputs=(end,), operators=(), parameters=0, macs=0, dtypes=(), layers=(),
    ...     size_bytes=100, layout="flat", nodes=(Node(name="dense", operator="FULLY_CONNECTED", inputs=(kernel,)),)
    ... )
    >>> target = Target(name="it", description="", runtimes=("tflite_micro",))
    >>> [each.what for each in find(graph=file, target=target)]
    ['weights of FULLY_CONNECTED are sparse, which TFLite Micro does not decode']
    """
    if not is_micro(graph, target):
        return
    told = set[tuple[int, str]]()
    for node in graph.nodes:
        for value in node.inputs:
            if value is not None and value.sparse and (node.graph, value.key) not in told:
                told.add((node.graph, value.key))
                yield finding(
                    __name__,
                    "error",
                    target,
                    f"weights of {node.operator} are sparse, which TFLite Micro does not decode",
                    "convert the model without sparsity",
                    node,
                )
