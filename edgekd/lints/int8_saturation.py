"""Int8 weights that ONNX Runtime multiplies wrongly on x86 without VNNI."""

from __future__ import annotations

from collections.abc import Iterator

from edgekd.inspection import Anatomy, Node, Value
from edgekd.lints._graph import consumers, finding, runtime_of
from edgekd.records import Finding, Target

RUNS = True  # It runs, and gives wrong numbers, which its accuracy shows.

_X86 = ("x86_64", "x86-64", "amd64", "x86", "i686")
# Where these operators have their weights.
_INTEGER_PRODUCTS = {
    "QLinearConv": 3,
    "QLinearMatMul": 3,
    "QGemm": 3,
    "ConvInteger": 1,
    "MatMulInteger": 1,
    "DynamicQuantizeMatMul": 1,
}
_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_SAFE = 32767 // (2 * 255)


def find(*, graph: Anatomy, target: Target) -> Iterator[Finding]:
    """Find products of bytes whose sums overflow where the processor has no VNNI instructions.

    Without them two products of an unsigned and a signed byte are added in 16 bits (VPMADDUBSW) and cut at 32767:
    weights within ±floor(32767 / (2 · 255)) = ±64 can't reach that. See `reduce_range` in ONNX Runtime's guide to
    quantization, and https://github.com/microsoft/onnxruntime/issues/12072 (top-1 accuracy 0.0003 with per-channel
    scales in QLinearConv).

    Args:
        graph: What is in the file.
        target: Where it shall run.

    >>> from edgekd.records import TensorSpec
    >>> from edgekd.inspection import Node, Value
    >>> data = Value(name="x", key="x", shape=(1, 8), dtype="uint8")
    >>> kernel = Value(name="w", key="w", shape=(4, 8), dtype="int8", constant=True, limits=(-127, 90))
    >>> end = TensorSpec(name="x", shape=(1, 8), dtype="float32")
    >>> file = Anatomy(
    ...     format="onnx", inputs=(end,), outputs=(end,), operators=(), parameters=0, macs=0, dtypes=(), layers=(),
    ...     size_bytes=100, layout="flat", nodes=(Node(name="c", operator="ConvInteger", inputs=(data, kernel)),)
    ... )
    >>> target = Target(name="it", description="", runtimes=("onnxruntime",), arch="x86_64", cpu_features=("avx2",))
    >>> [each.what for each in find(graph=file, target=target)]
    ['weights of ConvInteger go from -127 to 90; without VNNI sums of products past ±64 overflow']
    """
    features = target.cpu_features
    if runtime_of(graph, target) != "onnxruntime" or target.arch not in _X86 or features is None:
        return
    if any("vnni" in each or each.startswith("amx_int8") for each in features):
        return
    for node, weights in _products(graph):
        low, high = weights.limits or (0, 0)
        if weights.dtype != "int8" or max(-low, high) <= _SAFE:
            continue
        certain = node.operator in _INTEGER_PRODUCTS and weights.channels > 1
        yield finding(
            __name__,
            "error" if certain else "warning",
            target,
            f"weights of {node.operator} go from {low} to {high}; without VNNI sums of products past ±{_SAFE} overflow",
            "set session.x64quantprecision to 1 in ONNX Runtime, or measure the accuracy on this very processor",
            node,
        )


def _products(graph: Anatomy) -> Iterator[tuple[Node, Value]]:
    takers = consumers(graph)
    for node in graph.nodes:
        index = _INTEGER_PRODUCTS.get(node.operator)
        if index is not None and len(node.inputs) > index:
            weights = node.inputs[index]
            if weights is not None:
                yield node, weights
        elif node.operator == "DequantizeLinear" and node.inputs[0] is not None and node.inputs[0].constant:
            for taker in takers.get((node.graph, node.outputs[0].key), []):
                if taker.operator in _PRODUCTS:
                    yield taker, node.inputs[0]
