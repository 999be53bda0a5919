"""Operators that run in float in a file whose others run in integers."""

from __future__ import annotations

from collections.abc import Iterator

from edgekd.inspection import Anatomy, Node
from edgekd.lints._graph import finding, is_integer_file, producers, runs_in_float
from edgekd.records import Finding, Target

_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def find(*, graph: Anatomy, target: Target) -> Iterator[Finding]:
    """Find the float islands of an integer file: each costs two changes of type, and arithmetic in floats.

    Args:
        graph: What is in the file.
        target: Where it shall run.

    >>> from edgekd.records import TensorSpec
    >>> from edgekd.inspection import Node, Value
    >>> real = Value(name="x", key="x", shape=(1, 8), dtype="float32")
    >>> whole = Value(name="q", key="q", shape=(1, 8), dtype="int8", channels=1)
    >>> conv = Node(name="conv", operator="CONV_2D", inputs=(whole,), outputs=(whole,))
    >>> end = TensorSpec(name="x", shape=(1, 8), dtype="float32")
    >>> file = Anatomy(
    ...     format="tflite", inputs=(end,), outputs=(end,), operators=(), parameters=0, macs=0, dtypes=(), layers=(),
    ...     size_bytes=100, layout="flat",
    ...     nodes=(conv, conv, Node(name="erf", operator="GELU", inputs=(real,), outputs=(real,))),
    ... )
    >>> target = Target(name="it", description="", runtimes=("litert",))
    >>> [each.what for each in find(graph=file, target=target)]
    ['GELU runs in float32 in a file of integers']
    """
    for node in _in_tflite(graph) if graph.format == "tflite" else _in_onnx(graph):
        yield finding(
            __name__,
            "warning",
            target,
            f"{node.operator} runs in float32 in a file of integers",
            "quantize its layer too, or replace it by one that can be",
            node,
        )


def _in_tflite(graph: Anatomy) -> list[Node]:
    return [node for node in graph.nodes if runs_in_float(node)] if is_integer_file(graph) else []


def _in_onnx(graph: Anatomy) -> list[Node]:
    """ONNX Runtime runs in integers what stands between DequantizeLinear and QuantizeLinear."""
    makers = producers(graph)
    quantized, floats = list[Node](), list[Node]()
    for node in graph.nodes:
        if node.operator not in _PRODUCTS or not node.inputs or node.inputs[0] is None:
            continue
        maker = makers.get((node.graph, node.inputs[0].key))
        (quantized if maker and maker.operator == "DequantizeLinear" else floats).append(node)
    return floats if len(quantized) > len(floats) else []
