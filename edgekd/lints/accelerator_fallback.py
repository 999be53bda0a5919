"""Operators that Vela would leave on the CPU of a target with an Ethos-U."""

from __future__ import annotations

from collections.abc import Iterator

from edgekd.inspection import Anatomy
from edgekd.lints._graph import finding
from edgekd.lints._vela import why_left
from edgekd.records import Finding, Target

RUNS = True  # It runs, on the CPU.


def find(*, graph: Anatomy, target: Target) -> Iterator[Finding]:
    """Find what the target's accelerator does not take.

    Operators and constraints are those of `vela --supported-ops-report`. An error where nothing is left for the
    accelerator.

    Args:
        graph: What is in the file.
        target: Where it shall run.

    >>> from edgekd.records import TensorSpec
    >>> from edgekd.inspection import Node
    >>> end = TensorSpec(name="x", shape=(1, 8), dtype="float32")
    >>> file = Anatomy(
    ...     format="tflite", inputs=(end,), outputs=(end,), operators=(), parameters=0, macs=0, dtypes=(), layers=(),
    ...     size_bytes=100, layout="flat", nodes=(Node(name="last", operator="FLOOR"),)
    ... )
    >>> target = Target(name="it", description="", runtimes=("tflite_micro",), accelerator="ethos-u55-128")
    >>> [each.what for each in find(graph=file, target=target)]
    ['ethos-u55-128 takes none of 1 operators; of FLOOR: it is none that the accelerator has']
    """
    if target.accelerator is None or graph.format != "tflite":
        return
    nodes = [node for node in graph.nodes if not node.domain]
    left = [(node, why) for node in nodes if (why := why_left(node, target.accelerator))]
    if nodes and len(left) == len(nodes):
        yield finding(
            __name__,
            "error",
            target,
            f"{target.accelerator} takes none of {len(nodes)} operators; of {left[0][0].operator}: {left[0][1]}",
            "export it as static_wi8_ai8",
        )
        return
    for node, why in left:
        yield finding(
            __name__,
            "warning",
            target,
            f"{node.operator} runs on the CPU, not on {target.accelerator}: {why}",
            "replace it, or count with the CPU's time",
            node,
        )
