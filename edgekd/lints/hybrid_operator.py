"""Float data with integer weights in one operator, on a microcontroller."""

from __future__ import annotations

from collections.abc import Iterator

from edgekd.inspection import Anatomy, Node
from edgekd.lints._graph import data_of, finding, is_float, is_micro
from edgekd.records import Finding, Target


def find(*, graph: Anatomy, target: Target) -> Iterator[Finding]:
    """Find operators that multiply floats by integer weights, which TFLite Micro refuses.

    So do files of dynamic-range quantization: https://github.com/tensorflow/tflite-micro/issues/757.

    Args:
        graph: What is in the file.
        target: Where it shall run.

    >>> from edgekd.records import TensorSpec
    >>> from edgekd.inspection import Node, Value
    >>> data = Value(name="x", key="x", shape=(1, 8), dtype="float32")
    >>> weights = Value(name="w", key="w", shape=(4, 8), dtype="int8", constant=True, channels=4)
    >>> end = TensorSpec(name="x", shape=(1, 8), dtype="float32")
    >>> file = Anatomy(
    ...     format="tflite", inputs=(end,), outputs=(end,), operators=(), parameters=0, macs=0, dtypes=(), layers=(),
    ...     size_bytes=100, layout="flat",
    ...     nodes=(Node(name="dense", operator="FULLY_CONNECTED", inputs=(data, weights)),)
    ... )
    >>> target = Target(name="it", description="", runtimes=("tflite_micro",))
    >>> [each.what for each in find(graph=file, target=target)]
    ['FULLY_CONNECTED multiplies float32 data by int8 weights, which TFLite Micro refuses']
    """
    if not is_micro(graph, target):
        return
    for node in graph.nodes:
        weights = _integer_weights(node)
        if weights:
            yield finding(
                __name__,
                "error",
                target,
                f"{node.operator} multiplies float32 data by {weights} weights, which TFLite Micro refuses",
                "export it as static_wi8_ai8",
                node,
            )


def _integer_weights(node: Node) -> str | None:
    data = data_of(node)
    if data is None or not is_float(data) or node.operator in ("QUANTIZE", "DEQUANTIZE"):
        return None
    return next((each.dtype for each in node.inputs if each and each.constant and each.channels), None)
