"""Operators of an ONNX graph with what goes in and out of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgekd.formats._numbers import options_of
from edgekd.inspection import Node, Value

# Where scales and zero points are: of inputs by their own index, then of the output.
_QOPERATOR_SCALES = {
    "QLinearConv": ({0: 1, 3: 4}, 6),
    "QLinearMatMul": ({0: 1, 3: 4}, 6),
    "QLinearAdd": ({0: 1, 3: 4}, 6),
    "QLinearMul": ({0: 1, 3: 4}, 6),
    "QGemm": ({0: 1, 3: 4}, 7),
}
_SMALL = 16


class Nodes:
    """Iterates over the operators of a model, bodies of control flow too.

    Args:
        model: The protobuf.
        constants: Initializers and outputs of `Constant`, by name.
        shapes: Of values, as inferred.
        dtypes: Of values, as inferred.
        folder: Where external data lies.
    """

    def __init__(
        self,
        model: Any,
        constants: Mapping[str, Any],
        shapes: Mapping[str, tuple[int | None, ...]],
        dtypes: Mapping[str, str],
        folder: Path,
    ) -> None:
        self.model, self.shapes, self.dtypes, self.folder = model, shapes, dtypes, folder
        self.constants = dict(constants)
        self.opsets = {each.domain or "ai.onnx": int(each.version) for each in model.opset_import}
        self.graphs = 0
        # Values that QuantizeLinear makes or DequantizeLinear takes: their scale and zero point.
        self.scales: dict[str, tuple[str, str]] = {}
        self.functions = {(each.domain, each.name) for each in model.functions}
        self.sparse = {each.values.name for each in model.graph.sparse_initializer}

    def __iter__(self) -> Iterator[Node]:
        """Main graph first."""
        yield from self.of(self.model.graph)

    def of(self, graph: Any) -> Iterator[Node]:
        """Operators of one graph, each followed by those of its bodies."""
        number, self.graphs = self.graphs, self.graphs + 1
        self.constants.update({tensor.name: tensor for tensor in graph.initializer})
        for node in graph.node:
            self.note_scales(node)
        for index, node in enumerate(graph.node):
            if node.op_type == "Constant":
                continue
            yield Node(
                name=node.name or f"#{index}",
                operator=node.op_type,
                domain="" if node.domain == "ai.onnx" else node.domain,
                version=self.opsets.get(node.domain or "ai.onnx", 1),
                local=(node.domain, node.op_type) in self.functions,
                graph=number,
                inputs=tuple(self.value(name) if name else None for name in node.input),
                outputs=tuple(self.value(name) for name in node.output if name),
                options=options_of({each.name: _content(each) for each in node.attribute}),
            )
            for attribute in node.attribute:
                for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                    yield from self.of(inner)

    def note_scales(self, node: Any) -> None:
        """Remember which scale belongs to which value."""

        def note(value: str, scale: int) -> None:
            if scale < len(node.input):
                self.scales[value] = (node.input[scale], node.input[scale + 1] if scale + 1 < len(node.input) else "")

        if node.op_type == "QuantizeLinear":
            note(node.output[0], 1)
        elif node.op_type == "DequantizeLinear":
            note(node.input[0], 1)
        elif node.op_type in _QOPERATOR_SCALES:
            inputs, output = _QOPERATOR_SCALES[node.op_type]
            for value, scale in inputs.items():
                note(node.input[value], scale)
            note(node.output[0], output)

    def value(self, name: str) -> Value:
        """What is known of a value: quantization only where its scale is stored."""
        tensor = self.constants.get(name)
        scales, zeros = (self.numbers(each) for each in self.scales.get(name, ("", "")))
        dtype = dtype_of(tensor.data_type) if tensor is not None else self.dtypes.get(name, "undefined")
        content = limits = None
        if tensor is not None and dtype in ("int32", "int64") and math.prod(tensor.dims) <= _SMALL:
            content = tuple(int(each) for each in self.numbers(name))
        if tensor is not None and dtype in ("int8", "uint8") and math.prod(tensor.dims):
            limits = (int(self.array(name).min()), int(self.array(name).max()))
        return Value(
            name=name,
            shape=tuple(tensor.dims) if tensor is not None else self.shapes.get(name, ()),
            dtype=dtype,
            scale=float(scales[0]) if len(scales) == 1 else None,
            zero_point=int(zeros[0]) if len(zeros) == 1 else None,
            key=name,
            constant=tensor is not None,
            channels=len(scales),
            sparse=name in self.sparse,
            content=content,
            limits=limits,
        )

    def numbers(self, name: str) -> list[float]:
        """All numbers of a constant; none of what is computed."""
        return self.array(name).reshape(-1).tolist() if name in self.constants else []

    def array(self, name: str) -> Any:
        """A constant as NumPy array."""
        from onnx import numpy_helper

        return numpy_helper.to_array(self.constants[name], str(self.folder))


def _content(attribute: Any) -> object:
    from onnx import AttributeProto

    kinds = {
        AttributeProto.INT: attribute.i,
        AttributeProto.FLOAT: attribute.f,
        AttributeProto.STRING: attribute.s,
        AttributeProto.INTS: list(attribute.ints),
    }
    return kinds.get(attribute.type)


def dtype_of(code: int) -> str:
    """Name a dtype as NumPy does.

    >>> dtype_of(1)
    'float32'
    """
    from onnx import TensorProto

    name = str(TensorProto.DataType.Name(code)).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)
