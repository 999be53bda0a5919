"""Reads and writes TFLite files as objects, for packagers."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from edgekd.errors import ModelError


def read_objects(path: Path) -> Any:
    """A TFLite file as the objects of its schema; a zip file at its end is left behind.

    Raises:
        ModelError: Not a TFLite file, or a damaged one.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "cut.tflite"
    >>> _ = file.write_bytes(b"    TFL3")
    >>> try:
    ...     read_objects(file)
    ... except ModelError as error:
    ...     print(error.what)
    a damaged TFLite model
    """
    from ai_edge_litert import schema_py_generated as schema

    content = path.read_bytes()
    if content[4:8] != b"TFL3":
        raise ModelError("not a TFLite model: its identifier is missing", where=str(path))
    try:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    except (struct.error, ValueError, IndexError, TypeError, KeyError, AttributeError, OverflowError, MemoryError):
        raise ModelError("a damaged TFLite model", where=str(path), next_step="export or download it again") from None
    if not model.subgraphs or not model.buffers:
        raise ModelError("a damaged TFLite model", where=str(path), next_step="export or download it again")
    return model


def to_bytes(model: Any) -> bytes:
    """The file of such objects."""
    from ai_edge_litert.tools import flatbuffer_utils

    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def operator_names(model: Any) -> tuple[str, ...]:
    """Which operators a file uses, each once, sorted; a custom one by its own name."""
    from ai_edge_litert import schema_py_generated as schema

    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    used = {operator.opcodeIndex for graph in model.subgraphs for operator in graph.operators or []}
    found = set()
    for index in used:
        code = model.operatorCodes[index]
        custom = code.customCode
        # Codes past 127 do not fit into the older field.
        found.add(custom.decode() if custom else names[max(code.builtinCode, code.deprecatedBuiltinCode)])
    return tuple(sorted(found))


def hybrid_operators(model: Any) -> tuple[str, ...]:
    """Operators with float inputs and integer or float16 weights, which TFLite Micro refuses."""
    from ai_edge_litert import schema_py_generated as schema

    kinds = schema.TensorType
    packed = {kinds.INT8, kinds.INT4, kinds.FLOAT16}
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    found = set()
    for graph in model.subgraphs:
        for operator in graph.operators or []:
            inputs = [graph.tensors[each] for each in operator.inputs if each >= 0]
            stored = [each for each in inputs if _is_constant(model, each)]
            outputs = [graph.tensors[each] for each in operator.outputs]
            gives_float = any(each.type == kinds.FLOAT32 for each in outputs)
            if gives_float and any(each.type in packed for each in stored):
                code = model.operatorCodes[operator.opcodeIndex]
                found.add(names[max(code.builtinCode, code.deprecatedBuiltinCode)])
    return tuple(sorted(found))


def _is_constant(model: Any, tensor: Any) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0
