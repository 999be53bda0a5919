"""Writes tables of embeddings in fewer bits: of a small language model they are most of the bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import ExportError
from edgekd.quantizers._onnx_weights import drop_unused, packed, replace_nodes

# GatherBlockQuantized takes powers of 2 from 16 on.
_BLOCK = 32


def tables_of(model: Any) -> list[Any]:
    """Find the operators that look up rows of a constant float table, (V, D)."""
    from onnx import TensorProto

    constants = {each.name: each for each in model.graph.initializer if each.data_type == TensorProto.FLOAT}
    return [
        node
        for node in model.graph.node
        if node.op_type == "Gather"
        and node.input[0] in constants
        and len(constants[node.input[0]].dims) == 2
        and not any(each.name == "axis" and each.i for each in node.attribute)
    ]


def store_tables(model: Any, dtype: str) -> None:
    """Store tables in a dtype; what is looked up becomes float32 again.

    Args:
        model: `ModelProto`, changed in place.
        dtype: `float16`; `int8`, with a scale for each row: s = max |w| / 127; `int4`, with a scale for each 32 numbers
            of a row, by ONNX Runtime's GatherBlockQuantized.

    Raises:
        ExportError: Numbers past float16's 65504.
    """
    from onnx import numpy_helper

    lookups = {id(node): node for node in tables_of(model)}
    constants = {each.name: each for each in model.graph.initializer}
    stored: dict[str, list[Any]] = {}
    nodes = []
    for node in model.graph.node:
        if id(node) not in lookups:
            nodes.append(node)
            continue
        table = node.input[0]
        if table not in stored:
            stored[table] = _stored(numpy_helper.to_array(constants[table]), table, dtype)
            model.graph.initializer.extend(stored[table])
        nodes += _lookup(node, [each.name for each in stored[table]], dtype)
    if dtype == "int4" and stored:
        _add_domain(model)
    replace_nodes(model, nodes)
    # A table that is also the last layer's matrix stays for that.
    drop_unused(model)


def _stored(values: NDArray[np.float32], name: str, dtype: str) -> list[Any]:
    from onnx import TensorProto, helper, numpy_helper

    if dtype == "float16":
        largest = float(np.finfo(np.float16).max)
        if values.size and float(np.abs(values).max()) > largest:
            raise ExportError(
                f"numbers of table '{name}' go past {largest:g}, float16's largest number",
                next_step="leave fp16 out of the precisions",
            )
        return [numpy_helper.from_array(values.astype(np.float16), f"{name}_fp16")]
    if dtype == "int8":
        scales = _scales(values, 127)
        integers = np.clip(np.round(values / scales), -127, 127).astype(np.int8)
        return [
            numpy_helper.from_array(integers, f"{name}_rows"),
            numpy_helper.from_array(scales, f"{name}_row_scales"),
        ]
    rows, width = values.shape
    padded = np.pad(values, ((0, 0), (0, -width % _BLOCK))).reshape(rows, -1, _BLOCK)
    scales = _scales(padded, 7)
    integers = np.clip(np.round(padded / scales), -7, 7).astype(np.int8).reshape(rows, -1)[:, :width]
    tensor = helper.make_tensor(f"{name}_blocks", TensorProto.INT4, values.shape, packed(integers), raw=True)
    return [tensor, numpy_helper.from_array(scales[..., 0], f"{name}_block_scales")]


def _scales(values: NDArray[np.float32], largest: int) -> NDArray[np.float32]:
    found = np.abs(values).max(axis=-1, keepdims=True)
    scales: NDArray[np.float32] = np.maximum(found, np.finfo(np.float32).tiny) / np.float32(largest)
    return scales


def _lookup(node: Any, tables: list[str], dtype: str) -> list[Any]:
    from onnx import TensorProto, helper

    given, name = node.output[0], node.name or node.output[0]
    if dtype == "int4":
        return [
            helper.make_node(
                "GatherBlockQuantized",
                [tables[0], node.input[1], tables[1]],
                [given],
                name=name,
                domain="com.microsoft",
                gather_axis=0,
                quantize_axis=1,
                block_size=_BLOCK,
            )
        ]
    rows = [
        helper.make_node("Gather", [tables[0], node.input[1]], [f"{given}_rows"], name=name),
        helper.make_node(
            "Cast",
            [f"{given}_rows"],
            [given if dtype == "float16" else f"{given}_floats"],
            name=f"{name}_cast",
            to=TensorProto.FLOAT,
        ),
    ]
    if dtype == "float16":
        return rows
    return [
        *rows,
        helper.make_node("Gather", [tables[1], node.input[1]], [f"{given}_scales"], name=f"{name}_scales"),
        helper.make_node("Mul", [f"{given}_floats", f"{given}_scales"], [given], name=f"{name}_decode"),
    ]


def _add_domain(model: Any) -> None:
    if all(each.domain != "com.microsoft" for each in model.opset_import):
        model.opset_import.add(domain="com.microsoft", version=1)
