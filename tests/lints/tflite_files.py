"""Model files made to break one rule each, operator by operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

ACTIVATION = {"int8": (0.05, -3), "uint8": (0.05, 125), "int16": (0.0005, 0)}


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """A tensor of a TFLite file: a constant where it has data, quantized where it has scales."""

    shape: Sequence[int]
    dtype: str = "float32"
    data: NDArray[Any] | None = None
    scale: Sequence[float] = ()
    zero_point: int = 0
    axis: int = 0
    signature: Sequence[int] | None = None
    sparse: bool = False


@dataclass(frozen=True, kw_only=True)
class Operator:
    """An operator of a TFLite file; options are fields of the schema's table of that name."""

    name: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    table: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1


def activation(dtype: str, *shape: int) -> Tensor:
    """What flows between operators; integers with one scale."""
    scale = ACTIVATION.get(dtype)
    return Tensor(shape=shape, dtype=dtype, scale=scale[:1] if scale else (), zero_point=int(scale[1]) if scale else 0)


def weights(dtype: str, *shape: int, axis: int = 0) -> Tensor:
    """A constant; integers with one scale for each channel of `axis`."""
    rng = np.random.default_rng(0)
    if dtype.startswith("float"):
        return Tensor(shape=shape, dtype=dtype, data=rng.normal(size=shape).astype(dtype))
    if dtype == "int4":  # two in a byte
        packed = rng.integers(0, 256, size=(int(np.prod(shape)) + 1) // 2).astype(np.uint8)
        return Tensor(shape=shape, dtype=dtype, data=packed, scale=[0.02] * shape[axis], axis=axis)
    stored = "int32" if dtype == "int32" else dtype
    data = rng.integers(-100, 100, size=shape).astype(stored)
    return Tensor(
        shape=shape, dtype=dtype, data=data, scale=[0.001 if dtype == "int32" else 0.02] * shape[axis], axis=axis
    )


def numbers(*values: Any, dtype: str = "int32") -> Tensor:
    """A constant such as a permutation or a shape."""
    data = np.array(values, dtype)
    return Tensor(shape=data.shape, dtype=dtype, data=data)


def write_tflite(
    path: Path,
    tensors: Mapping[str, Tensor],
    operators: Sequence[Operator],
    inputs: Sequence[str],
    outputs: Sequence[str],
    metadata: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a TFLite file of one graph with the schema that LiteRT ships."""
    model = schema.ModelT()
    model.version, model.buffers = 3, [schema.BufferT()]
    graph = schema.SubGraphT()
    names = list(tensors)

    def buffer(content: bytes) -> int:
        stored = schema.BufferT()
        stored.data = np.frombuffer(content, np.uint8)
        model.buffers.append(stored)
        return len(model.buffers) - 1

    graph.tensors = []
    for name, each in tensors.items():
        tensor = schema.TensorT()
        tensor.name, tensor.shape = name, list(each.shape)
        tensor.type = getattr(schema.TensorType, each.dtype.upper())
        tensor.buffer = 0 if each.data is None else buffer(each.data.tobytes())
        tensor.shapeSignature = None if each.signature is None else list(each.signature)
        if each.scale:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = list(each.scale)
            tensor.quantization.zeroPoint = [each.zero_point] * len(each.scale)
            tensor.quantization.quantizedDimension = each.axis
        if each.sparse:
            tensor.sparsity = schema.SparsityParametersT()
        graph.tensors.append(tensor)
    graph.inputs, graph.outputs = [names.index(each) for each in inputs], [names.index(each) for each in outputs]
    graph.operators, model.operatorCodes = [], []
    for step in operators:
        code = schema.OperatorCodeT()
        builtin = getattr(schema.BuiltinOperator, step.name, schema.BuiltinOperator.CUSTOM)
        code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), step.version
        if builtin == schema.BuiltinOperator.CUSTOM:
            code.customCode = step.name
        operator = schema.OperatorT()
        operator.opcodeIndex = len(model.operatorCodes)
        operator.inputs = [names.index(name) for name in step.inputs]
        operator.outputs = [names.index(name) for name in step.outputs]
        if step.table:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, step.table)
            operator.builtinOptions = getattr(schema, f"{step.table}T")()
            vars(operator.builtinOptions).update(step.options)
        model.operatorCodes.append(code)
        graph.operators.append(operator)
    model.subgraphs = [graph]
    model.metadata = []
    for key, content in (metadata or {}).items():
        entry = schema.MetadataT()
        entry.name, entry.buffer = key, buffer(content)
        model.metadata.append(entry)
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path
