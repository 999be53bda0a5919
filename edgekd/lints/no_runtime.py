"""A file of a format that no runtime of the target reads."""

from __future__ import annotations

from collections.abc import Iterator

from edgekd.inspection import Anatomy
from edgekd.lints._graph import finding, runtime_of
from edgekd.records import Finding, Target


def find(*, graph: Anatomy, target: Target) -> Iterator[Finding]:
    """Say when a target has no runtime for a file.

    Args:
        graph: What is in the file.
        target: Where it shall run.

    >>> from edgekd.records import TensorSpec
    >>> end = TensorSpec(name="x", shape=(1, 8), dtype="float32")
    >>> file = Anatomy(
    ...     format="onnx", inputs=(end,), outputs=(end,), operators=(), parameters=0, macs=0, dtypes=(), layers=(),
    ...     size_bytes=100, layout="flat",
    ... )
    >>> target = Target(name="it", description="", runtimes=("tflite_micro",))
    >>> [each.what for each in find(graph=file, target=target)]
    ['no runtime of it reads onnx; it has tflite_micro']
    """
    if runtime_of(graph, target) is None:
        yield finding(
            __name__,
            "error",
            target,
            f"no runtime of {target.name} reads {graph.format}; it has {', '.join(target.runtimes) or 'none'}",
            "export the other format for it",
        )
