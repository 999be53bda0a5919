"""TFLite files, read from their flatbuffer without running them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgekd.formats._numbers import integers, options_of
from edgekd.formats._objects import read_objects, refusing_damage
from edgekd.inspection import Anatomy, DtypeTotal, Layer, Node, Signature, Value
from edgekd.records import TensorSpec

# Sub-byte dtypes are packed.
_BITS = {"int4": 4, "uint4": 4, "int2": 2, "bool": 8}
_METADATA_TEXT_BYTES = 200
# Axes, permutations, paddings and shapes have no more numbers than that.
_SMALL = 16
# Which dimensions of the second input, the weights, a dot product runs over.
_TERMS: dict[str, tuple[int, int | None]] = {
    "CONV_2D": (1, None),  # OHWI
    "CONV_3D": (0, -1),  # DHWIO
    "DEPTHWISE_CONV_2D": (1, 3),  # 1HWO
    "TRANSPOSE_CONV": (0, 3),  # OHWI
    "FULLY_CONNECTED": (-1, None),
}


def read(path: Path) -> Anatomy:
    """Read what is in a TFLite file; run it in a child when the file comes from elsewhere.

    Args:
        path: A `.tflite` file.

    Raises:
        ModelError: Not a TFLite file, or a damaged one.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "cut.tflite"
    >>> _ = file.write_bytes(b"    TFL3")
    >>> read(file)
    Traceback (most recent call last):
        ...
    edgekd.errors.ModelError: ...cut.tflite: a damaged TFLite model; export or download it again
    """
    from ai_edge_litert import schema_py_generated as schema

    model, content = read_objects(path)
    with refusing_damage(path):
        return _Reader(model, schema, content).anatomy()


class _Reader:
    def __init__(self, model: Any, schema: Any, content: bytes) -> None:
        self.model, self.content = model, content
        self.graph = model.subgraphs[0]
        self.operator_names = _names_of(schema.BuiltinOperator)
        self.dtype_names = {code: name.lower() for code, name in _names_of(schema.TensorType).items()}
        # Through DEQUANTIZE, a float16 weight belongs to the operator that uses it.
        self.decoded: dict[int, int] = {}
        self.used: set[int] = set()

    def anatomy(self) -> Anatomy:
        operators: Counter[str] = Counter()
        for graph in self.model.subgraphs:
            operators.update(self.operator_name(operator) for operator in graph.operators or [])
        layers = tuple(
            layer
            for index, operator in enumerate(self.graph.operators or [])
            if (layer := self.layer(index, operator)) is not None
        )
        inputs = tuple(self.spec(index) for index in self.graph.inputs)
        outputs = tuple(self.spec(index) for index in self.graph.outputs)
        if not outputs:
            raise ValueError
        return Anatomy(
            format="tflite",
            inputs=inputs,
            outputs=outputs,
            operators=tuple(sorted(operators.items(), key=lambda item: (-item[1], item[0]))),
            parameters=sum(layer.parameters for layer in layers),
            macs=sum(layer.macs for layer in layers),
            dtypes=self.dtypes(),
            layers=layers,
            size_bytes=len(self.content),
            layout="NHWC" if inputs and len(inputs[0].shape) == 4 else "flat",
            metadata=self.metadata(),
            nodes=tuple(self.nodes()),
            versions={"schema": int(self.model.version)},
            signatures=tuple(self.signatures()),
        )

    def signatures(self) -> Iterator[Signature]:
        """Ways to call the file, each with tensors of a graph of its own."""
        main = self.graph
        for each in self.model.signatureDefs or []:
            self.graph = self.model.subgraphs[each.subgraphIndex]
            inputs, outputs = (
                {_text(tensor.name): self.spec(int(tensor.tensorIndex)) for tensor in tensors or []}
                for tensors in (each.inputs, each.outputs)
            )
            yield Signature(name=_text(each.signatureKey), inputs=inputs, outputs=outputs)
        self.graph = main

    def nodes(self) -> Iterator[Node]:
        """Operators of all graphs; tensors are numbered in each graph anew."""
        main = self.graph
        for number, graph in enumerate(self.model.subgraphs):
            self.graph = graph
            for index, operator in enumerate(self.graph.operators or []):
                code = self.model.operatorCodes[operator.opcodeIndex]
                outputs = tuple(self.value(int(each)) for each in _list(operator.outputs))
                yield Node(
                    name=(outputs[0].name if outputs else "") or f"#{index}",
                    operator=self.operator_name(operator),
                    domain="custom" if code.customCode else "",
                    version=int(code.version),
                    graph=number,
                    inputs=tuple(self.value(int(each)) if each >= 0 else None for each in _list(operator.inputs)),
                    outputs=outputs,
                    options={} if operator.builtinOptions is None else options_of(vars(operator.builtinOptions)),
                )
        self.graph = main

    def value(self, index: int) -> Value:
        tensor, spec, constant = self.tensor(index), self.spec(index), self.is_constant(index)
        quantized = tensor.quantization
        content = None
        if constant and spec.dtype in ("int32", "int64") and math.prod(self.shape(index)) <= _SMALL:
            content = integers(self.stored(tensor), spec.dtype)
        return Value(
            **vars(spec),
            key=str(index),
            constant=constant,
            channels=0 if quantized is None else len(_list(quantized.scale)),
            sparse=tensor.sparsity is not None,
            content=content,
        )

    def stored(self, tensor: Any) -> bytes:
        """Bytes of a constant; those of files above 2 GB lie behind the flatbuffer."""
        buffer = self.model.buffers[tensor.buffer]
        if buffer.offset:
            return self.content[buffer.offset : buffer.offset + buffer.size]
        return bytes(buffer.data)

    def operator_name(self, operator: Any) -> str:
        code = self.model.operatorCodes[operator.opcodeIndex]
        # Codes past 127 do not fit into the older field.
        builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
        return _text(code.customCode) if code.customCode else self.operator_names[builtin]

    def tensor(self, index: int) -> Any:
        if index < 0:
            raise IndexError(index)
        return self.graph.tensors[index]

    def dtype(self, index: int) -> str:
        return self.dtype_names[self.tensor(index).type]

    def shape(self, index: int) -> tuple[int, ...]:
        shape = self.tensor(index).shape
        return () if shape is None else tuple(int(size) for size in shape)

    def is_constant(self, index: int) -> bool:
        buffer = self.model.buffers[self.tensor(index).buffer]
        return bool(buffer.offset) or (buffer.data is not None and len(buffer.data) > 0)

    def spec(self, index: int) -> TensorSpec:
        tensor, shape = self.tensor(index), self.shape(index)
        signature = tensor.shapeSignature
        if signature is not None and len(signature) == len(shape):
            dynamic = tuple(None if int(size) < 0 else int(size) for size in signature)
        else:
            dynamic = shape
        quantized = tensor.quantization
        scales = [] if quantized is None or quantized.scale is None else list(quantized.scale)
        zeros = [] if quantized is None or quantized.zeroPoint is None else list(quantized.zeroPoint)
        return TensorSpec(
            name=_text(tensor.name),
            shape=dynamic,
            dtype=self.dtype(index),
            scale=float(scales[0]) if len(scales) == 1 else None,
            zero_point=int(zeros[0]) if len(zeros) == 1 else None,
        )

    def trained(self, index: int) -> bool:
        """Shapes, axes and paddings are constants too, but integers without a scale."""
        if self.dtype(index).startswith(("float", "bfloat")):
            return True
        quantized = self.tensor(index).quantization
        return quantized is not None and quantized.scale is not None and len(quantized.scale) > 0

    def bytes_of(self, index: int) -> int:
        buffer = self.model.buffers[self.tensor(index).buffer]
        return int(buffer.size) if buffer.offset else len(buffer.data)

    def layer(self, index: int, operator: Any) -> Layer | None:
        name = self.operator_name(operator)
        inputs = [int(each) for each in _list(operator.inputs)]
        outputs = [int(each) for each in _list(operator.outputs)]
        if name == "DEQUANTIZE" and self.is_constant(inputs[0]):
            self.decoded[outputs[0]] = inputs[0]
            return None
        sources = [self.decoded.get(each, each) for each in inputs if each >= 0]
        constants = [each for each in dict.fromkeys(sources) if self.is_constant(each)]
        buffers = {self.tensor(each).buffer: each for each in constants}
        first_used = [each for buffer, each in buffers.items() if buffer not in self.used]
        self.used.update(buffers)
        weights = [each for each in constants if self.trained(each)]
        largest = max(weights, key=lambda each: math.prod(self.shape(each)), default=None)
        return Layer(
            name=(_text(self.tensor(outputs[0]).name) if outputs else "") or f"#{index}",
            operator=name,
            output_shape=self.spec(outputs[0]).shape if outputs else (),
            parameters=sum(math.prod(self.shape(each)) for each in first_used if self.trained(each)),
            macs=self.macs(name, inputs, outputs),
            weight_dtype=None if largest is None else self.dtype(largest),
            size_bytes=sum(self.bytes_of(each) for each in first_used),
        )

    def macs(self, name: str, inputs: list[int], outputs: list[int]) -> int:
        """Output elements times the length of the dot product behind each."""
        if name == "BATCH_MATMUL":
            return math.prod(self.shape(outputs[0])) * self.shape(inputs[0])[-1]
        if name not in _TERMS:
            return 0
        if name == "TRANSPOSE_CONV":  # every input element meets every filter element of its channel
            return math.prod(self.shape(inputs[2])) * math.prod(self.shape(inputs[1])[:3])
        first, last = _TERMS[name]
        return math.prod(self.shape(outputs[0])) * math.prod(self.shape(inputs[1])[first:last])

    def dtypes(self) -> tuple[DtypeTotal, ...]:
        tensors: Counter[str] = Counter()
        sizes: dict[str, dict[int, int]] = {}
        for index, tensor in enumerate(self.graph.tensors):
            dtype = self.dtype(index)
            tensors[dtype] += 1
            stored = sizes.setdefault(dtype, {})
            if self.is_constant(index):
                stored[tensor.buffer] = self.bytes_of(index)  # tensors may share a buffer
                expected = math.prod(self.shape(index)) * _bits(dtype) // 8
                if dtype in ("float32", "float16", "int8", "uint8", "int32") and stored[tensor.buffer] < expected:
                    raise ValueError
        return tuple(
            DtypeTotal(dtype=dtype, tensors=count, size_bytes=sum(sizes[dtype].values()))
            for dtype, count in sorted(tensors.items())
        )

    def metadata(self) -> Mapping[str, str]:
        found = {"schema_version": str(self.model.version)}
        if self.model.description:
            found["description"] = _text(self.model.description)
        for entry in self.model.metadata or []:
            data = self.model.buffers[entry.buffer].data
            content = b"" if data is None else bytes(data)
            text = content.rstrip(b"\0").decode("ascii", "replace")
            readable = len(text) <= _METADATA_TEXT_BYTES and text.isprintable() and "\ufffd" not in text
            found[_text(entry.name)] = text if readable else f"{len(content)} B"
        for signature in self.model.signatureDefs or []:
            names = [_text(each.name) for each in [*(signature.inputs or []), *(signature.outputs or [])]]
            found[f"signature {_text(signature.signatureKey)}"] = ", ".join(names)
        return found


def _list(values: Any) -> list[Any]:
    return [] if values is None else list(values)


def _names_of(enumeration: Any) -> dict[int, str]:
    return {code: name for name, code in vars(enumeration).items() if isinstance(code, int)}


def _text(value: bytes | str | None) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""


def _bits(dtype: str) -> int:
    digits = "".join(each for each in dtype if each.isdigit())
    return _BITS.get(dtype) or int(digits or 8)
