"""Shapes that are open where the runtime plans its memory beforehand."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from edgekd.inspection import Anatomy
from edgekd.lints._graph import finding, is_micro
from edgekd.records import Finding, Target, TensorSpec


def find(*, graph: Anatomy, target: Target) -> Iterator[Finding]:
    """Find dynamic dimensions, which microcontrollers and accelerators have no memory for.

    The first one may be open: it is the batch, and both run one sample. TFLite Micro takes the shape that is stored,
    Vela leaves the operator on the CPU.

    Args:
        graph: What is in the file.
        target: Where it shall run.

    >>> from edgekd.records import TensorSpec
    >>> end = TensorSpec(name="x", shape=(None, None, 8), dtype="float32")
    >>> file = Anatomy(
    ...     format="tflite", inputs=(end,), outputs=(end,), operators=(), parameters=0, macs=0, dtypes=(), layers=(),
    ...     size_bytes=100, layout="flat",
    ... )
    >>> target = Target(name="it", description="", runtimes=("tflite_micro",))
    >>> [each.what for each in find(graph=file, target=target)]
    ["the shape of input 'x' is open: (?, ?, 8)", "the shape of output 'x' is open: (?, ?, 8)"]
    """
    if not is_micro(graph, target) and target.accelerator is None:
        return
    ends = [*(("input", each) for each in graph.inputs), *(("output", each) for each in graph.outputs)]
    found: list[tuple[str, TensorSpec]] = [(f"{kind} '{end.name}'", end) for kind, end in ends if _is_open(end)]
    if not found:
        made = ((node, value) for node in graph.nodes for value in node.outputs if _is_open(value))
        found += [(f"what {node.operator} makes", value) for node, value in itertools.islice(made, 1)]
    for what, value in found:
        shape = ", ".join("?" if size is None else str(size) for size in value.shape)
        yield finding(
            __name__,
            "error",
            target,
            f"the shape of {what} is open: ({shape})",
            "export it with all dimensions but the first fixed",
        )


def _is_open(value: TensorSpec) -> bool:
    return None in value.shape[1:]
