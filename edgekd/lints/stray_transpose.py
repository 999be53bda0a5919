"""TRANSPOSE operators that a converter left and that move data for nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edgekd.inspection import Anatomy, Node, Value
from edgekd.lints._graph import Key, consumers, finding
from edgekd.records import Finding, Target

# What works on each number alone, in whatever order they are.
_ANY_ORDER_NAMES = """
    ABS CEIL ELU FLOOR HARD_SWISH LEAKY_RELU LOGISTIC NEG RELU RELU6 RELU_N1_TO_1 RSQRT SQRT SQUARE TANH QUANTIZE
    DEQUANTIZE PAD Abs Clip Elu HardSwish LeakyRelu Relu Sigmoid Tanh QuantizeLinear DequantizeLinear
"""
_ANY_ORDER = frozenset(_ANY_ORDER_NAMES.split())
_RANK = 3
_NEXT = "export with channels last, from a network that keeps them there"


def find(*, graph: Anatomy, target: Target) -> Iterator[Finding]:
    """Find transposes that undo each other, of constants, and of what the app could give or take in another order.

    PyTorch's channels come first, TFLite's last; see `to_channel_last_io` of litert-torch.

    Args:
        graph: What is in the file.
        target: Where it shall run.

    >>> from edgekd.records import TensorSpec
    >>> from edgekd.inspection import Node, Value
    >>> kernel = Value(name="w", key="w", shape=(3, 3), dtype="float32", constant=True)
    >>> end = TensorSpec(name="x", shape=(1, 8), dtype="float32")
    >>> file = Anatomy(
    ...     format="tflite", inputs=(end,), outputs=(end,), operators=(), parameters=0, macs=0, dtypes=(), layers=(),
    ...     size_bytes=100, layout="flat",
    ...     nodes=(Node(name="t", operator="TRANSPOSE", inputs=(kernel,), outputs=(kernel,)),)
    ... )
    >>> target = Target(name="it", description="", runtimes=("litert",))
    >>> [each.what for each in find(graph=file, target=target)]
    ['TRANSPOSE () is stray: it reorders a constant at every inference']
    """
    takers = consumers(graph)
    inputs, outputs = ({each.name for each in ends} for ends in (graph.inputs, graph.outputs))
    for node in graph.nodes:
        if node.operator not in ("TRANSPOSE", "Transpose") or not node.inputs or node.inputs[0] is None:
            continue
        data = node.inputs[0]
        why = _undone_by(node, takers)
        if data.constant:
            why = "it reorders a constant at every inference"
        elif graph.format == "tflite" and len(data.shape) >= _RANK and not why:
            if _is_end(data, node, inputs) and (node.graph, data.key) not in _made(graph):
                why = "it reorders the input"
            elif _is_end(node.outputs[0], node, outputs) and not takers.get((node.graph, node.outputs[0].key)):
                why = "it reorders the output"
        if why:
            yield finding(__name__, "warning", target, f"{node.operator} {_order(node)} is stray: {why}", _NEXT, node)


def _made(graph: Anatomy) -> set[Key]:
    return {(node.graph, value.key) for node in graph.nodes for value in node.outputs}


def _is_end(value: Value, node: Node, names: set[str]) -> bool:
    return node.graph == 0 and value.name in names


def _order(node: Node) -> tuple[int, ...]:
    """The permutation; empty where it is computed."""
    if node.operator == "Transpose":
        order = node.options.get("perm", ())
        return order if isinstance(order, tuple) else ()
    given = node.inputs[1] if len(node.inputs) > 1 else None
    return given.content or () if given else ()


def _undone_by(node: Node, takers: Mapping[Key, list[Node]]) -> str | None:
    """Follow what takes the result, through what works in any order, to a transpose that turns it back."""
    order, last = _order(node), node
    while order:
        following = takers.get((last.graph, last.outputs[0].key), [])
        if len(following) != 1:
            return None
        (last,) = following
        if last.operator == node.operator:
            back = _order(last)
            undone = len(back) == len(order) and all(order[back[axis]] == axis for axis in range(len(order)))
            return f"{last.name} turns it back" if undone else None
        if last.operator not in _ANY_ORDER or not last.outputs:
            return None
    return None
