"""Writes weights of ONNX files in fewer bits, and what decodes them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import ExportError

WEIGHTS_OF = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# The smallest block that MatMulNBits takes is 16; at 32 a scale costs a tenth of the weights' bytes.
_BLOCK = 32
# A scale for each channel in DequantizeLinear.
OPSET_OF_CHANNELS = 13
# int4 in DequantizeLinear.
OPSET_OF_INT4 = 21


def quantize_matrices(model: Any) -> Any:
    """Give products with constant matrices 4-bit weights in blocks."""
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    _split_gemms(model)
    config = DefaultWeightOnlyQuantConfig(block_size=_BLOCK, is_symmetric=True, bits=4)
    quantizer = MatMulNBitsQuantizer(model, bits=4, block_size=_BLOCK, is_symmetric=True, algo_config=config)
    quantizer.process()
    return quantizer.model.model


def _split_gemms(model: Any) -> None:
    """Turn x W^T + b into a product and a sum: MatMulNBits takes matrices of MatMul only."""
    from onnx import helper, numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        options = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        plain = options.get("alpha", 1.0) == options.get("beta", 1.0) == 1.0 and not options.get("transA", 0)
        if node.op_type != "Gemm" or not plain or node.input[1] not in constants:
            nodes.append(node)
            continue
        weights = constants[node.input[1]]
        if options.get("transB", 0):
            values = np.ascontiguousarray(numpy_helper.to_array(weights).T)
            model.graph.initializer.append(numpy_helper.from_array(values, f"{weights.name}_transposed"))
        matrix = f"{weights.name}_transposed" if options.get("transB", 0) else weights.name
        has_bias = len(node.input) == 3
        product = f"{node.output[0]}_product" if has_bias else node.output[0]
        nodes.append(helper.make_node("MatMul", [node.input[0], matrix], [product], name=node.name))
        if has_bias:
            nodes.append(helper.make_node("Add", [product, node.input[2]], list(node.output), name=f"{node.name}_bias"))
    replace_nodes(model, nodes)
    drop_unused(model)


def store_weights(model: Any, *, bits: int, layers: Collection[str] | None = None) -> None:
    """Store float weights as integers behind a DequantizeLinear, a scale for each output channel.

    `layers`: those that give these outputs; `None` is all.
    """
    from onnx import TensorProto, helper, numpy_helper

    if bits == 4:
        raise_opset(model, OPSET_OF_INT4)
    wide = kept_wide(model)

    def encode(name: str, values: NDArray[np.float32], axis: int) -> tuple[list[Any], Any]:
        width = 8 if name in wide else bits
        largest = 2 ** (width - 1) - 1
        scales = channel_scales(values, axis, width)
        shape = [-1 if each == axis else 1 for each in range(values.ndim)]
        integers = np.clip(np.round(values / scales.reshape(shape)), -largest, largest).astype(np.int8)
        if width == 8:
            tensor = numpy_helper.from_array(integers, f"{name}_integers")
        else:
            tensor = helper.make_tensor(f"{name}_integers", TensorProto.INT4, values.shape, packed(integers), raw=True)
        tensors = [tensor, numpy_helper.from_array(scales.astype(np.float32), f"{name}_scales")]
        inputs = [each.name for each in tensors]
        return tensors, helper.make_node("DequantizeLinear", inputs, [name], name=f"{name}_decode", axis=axis)

    _replace_weights(model, encode, layers)


def kept_wide(model: Any) -> set[str]:
    """Weights that have 8 bits where others have 4: as in TFLite, whose kernels take no fewer of these."""
    return {node.input[1] for node in model.graph.node if node.op_type == "ConvTranspose" or _is_depthwise(model, node)}


def channel_scales(values: NDArray[np.float32], axis: int, bits: int) -> NDArray[np.float32]:
    """Max |w| / (2^(bits - 1) - 1) of each output channel."""
    others = tuple(each for each in range(values.ndim) if each != axis)
    largest: NDArray[np.float32] = np.maximum(np.abs(values).max(axis=others), np.finfo(np.float32).tiny)
    return largest / np.float32(2 ** (bits - 1) - 1)


def _replace_weights(
    model: Any,
    encode: Callable[[str, NDArray[np.float32], int], tuple[list[Any], Any]],
    layers: Collection[str] | None,
) -> None:
    """Replace the constant weights of products and convolutions by others and an operator that decodes them."""
    from onnx import TensorProto, numpy_helper

    axes = {
        node.input[1]: channel_axis(node)
        for node in model.graph.node
        if node.op_type in WEIGHTS_OF and (layers is None or node.output[0] in layers)
    }
    kept, decoders = [], []
    for tensor in model.graph.initializer:
        if tensor.name not in axes or tensor.data_type != TensorProto.FLOAT:
            kept.append(tensor)
            continue
        values = numpy_helper.to_array(tensor)
        tensors, decoder = encode(tensor.name, values, axes[tensor.name] % values.ndim)
        kept += tensors
        decoders.append(decoder)
    copies = [type(tensor).FromString(tensor.SerializeToString()) for tensor in kept]
    del model.graph.initializer[:]
    model.graph.initializer.extend(copies)
    replace_nodes(model, [*decoders, *model.graph.node])


def _is_depthwise(model: Any, node: Any) -> bool:
    """Whether each filter of a convolution sees one channel."""
    shapes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    return node.op_type == "Conv" and int(shapes.get(node.input[1], [0, 0])[1]) == 1


def channel_axis(node: Any) -> int:
    """Which dimension of the weights counts output channels."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm" and any(each.name == "transB" and each.i for each in node.attribute):
        return 0
    return 1 if node.op_type in ("ConvTranspose", "Gemm") else -1


def packed(integers: NDArray[np.int8]) -> bytes:
    """Two 4-bit numbers a byte, the first one in the low half."""
    flat = integers.ravel().astype(np.uint8) & 0xF
    flat = np.append(flat, np.zeros(len(flat) % 2, np.uint8))
    return (flat[::2] | flat[1::2] << 4).astype(np.uint8).tobytes()


def raise_opset(model: Any, version: int) -> None:
    from onnx import version_converter

    if all(each.version >= version for each in model.opset_import if each.domain in ("", "ai.onnx")):
        return
    custom = [each for each in model.opset_import if each.domain not in ("", "ai.onnx")]
    converted = version_converter.convert_version(model, version)
    known = {each.domain for each in converted.opset_import}
    converted.opset_import.extend(each for each in custom if each.domain not in known)
    model.CopyFrom(converted)


def replace_nodes(model: Any, nodes: list[Any]) -> None:
    """Give the main graph these operators."""
    # `extend` copies, so the list must be built before it is cleared.
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def drop_unused(model: Any) -> None:
    """Drop constants that no operator takes."""
    used = {name for node in model.graph.node for name in node.input}
    for tensor in [each for each in model.graph.initializer if each.name not in used]:
        model.graph.initializer.remove(tensor)


def cast_weights(model: Any, path: Path, layers: Collection[str] | None = None) -> None:
    from onnx import TensorProto, helper, numpy_helper

    users = {
        name
        for node in model.graph.node
        if node.op_type in WEIGHTS_OF and (layers is None or node.output[0] in layers)
        for name in node.input[1:2]
    }
    largest = float(np.finfo(np.float16).max)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.name not in users or tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size and float(np.abs(values).max()) > largest:
            raise ExportError(
                f"weights of '{tensor.name}' go past {largest:g}, float16's largest number",
                where=path.name,
                next_step="leave fp16 out of the precisions",
            )
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_fp16"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], name=f"{name}_cast", to=TensorProto.FLOAT))
    replace_nodes(model, [*casts, *model.graph.node])
