"""ONNX in every precision: QDQ integers and dynamic ones through ONNX Runtime, weights alone, float16."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import ExportError
from edgekd.records import Precision, QuantizationPlan, decode_precision

NEEDS = ("onnxruntime",)
TOOLS = ("onnx", "onnxruntime")
PRECISIONS = (
    "fp32",
    "fp16",
    "dynamic_wi8_afp32",
    "static_wi8_ai8",
    "weight_only_wi8_afp32",
    "weight_only_wi4_afp32",
)
# Of single layers in a file of several.
LAYER_PRECISIONS = (
    "fp32",
    "fp16",
    "static_wi8_ai8",
    "static_wi4_ai8",
    "weight_only_wi8_afp32",
    "weight_only_wi4_afp32",
)

_WEIGHTS_OF = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# The smallest block that MatMulNBits takes is 16; at 32 a scale costs a tenth of the weights' bytes.
_BLOCK = 32
# int4 in DequantizeLinear.
_OPSET_OF_INT4 = 21


def quantize(*, source: Path, plan: QuantizationPlan, path: Path) -> None:
    """Write a float32 ONNX file again in a precision, ready to ship.

    Integer weights are symmetric, with a scale for each output channel (4-bit weights of matrices: for each block of
    32). `static_wi8_ai8`: QDQ with int8 activations; input and output stay float32. `dynamic_wi8_afp32`: activations
    are quantized as it runs. `weight_only_…` and `fp16`: weights that are decoded when the file is loaded, of matrices
    of 4 bits by MatMulNBits as it runs; activations stay float32. `fp32`: as it is. Where single layers have precisions
    of their own, 4-bit weights have a scale for each output channel in matrices too.

    Args:
        source: Of `edgekd.exporters.onnx`, or as `prepare` leaves a file.
        plan: Precision, and ranges for the static one.
        path: Written whole.

    Raises:
        ExportError: A static precision without ranges, or weights past float16's 65504.

    >>> import tempfile, onnx.parser
    >>> from edgekd import inspection
    >>> one, two = (Path(tempfile.mkdtemp()) / name for name in ("one.onnx", "two.onnx"))
    >>> text = '<ir_version: 10, opset_import: ["": 20]> g (float[n, 2] input) => (float[n, 1] logits)'
    >>> body = " <float[2, 1] w = {0.5, 1.0}> { logits = MatMul(input, w) }"
    >>> onnx.save(onnx.parser.parse_model(text + body), one)
    >>> quantize(source=one, plan=QuantizationPlan(precision="fp16"), path=two)
    >>> inspection.inspect(two).layers[0].weight_dtype
    'float16'
    """
    import onnx

    decoded = decode_precision(plan.precision)
    used = {decoded, *map(decode_precision, plan.layers.values())}
    if not plan.ranges and any(each.mode == "static" for each in used):
        raise ExportError("no ranges of activations", where=path.name, next_step="give calibration samples")
    if plan.layers:
        model = _quantize_layers(source, plan, path)
    elif decoded.mode == "static":
        model = _quantize_static(source, plan)
    elif decoded.mode == "dynamic":
        model = _quantize_dynamic(source)
    else:
        model = onnx.load(str(source))
        if decoded.weights == "float16":
            _cast_weights(model, path)
        elif decoded.weights == "int8":
            _store_weights(model, bits=8)
        elif decoded.weights == "int4":
            model = _quantize_matrices(model)
            _store_weights(model, bits=4)
    path.write_bytes(model.SerializeToString(deterministic=True))


def prepare(source: Path, path: Path) -> None:
    """Fold what is constant and fuse what runtimes fuse, so that only what really flows is quantized."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    quant_pre_process(str(source), str(path), skip_symbolic_shape=True)
    model = onnx.load(str(path))
    _clean(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _quantize_layers(source: Path, plan: QuantizationPlan, path: Path) -> Any:
    """Give each layer its own precision: integers that flow first, then what only stores weights otherwise."""
    import onnx

    chosen = {
        node.output[0]: decode_precision(plan.layers.get(node.output[0], plan.precision))
        for node in onnx.load(str(source)).graph.node
        if node.op_type in _WEIGHTS_OF
    }
    for name in plan.layers:
        if name not in chosen:
            raise ExportError(f"no layer gives '{name}'", where=source.name, allowed=", ".join(chosen))
    if any(each.mode == "static" for each in (*chosen.values(), decode_precision(plan.precision))):
        model = _quantize_static(source, plan)
    else:
        model = onnx.load(str(source))
    for precision in dict.fromkeys(chosen.values()):
        layers = {name for name, each in chosen.items() if each == precision}
        if precision.mode == "dynamic":
            raise ExportError(
                f"{precision.name} for single layers", where=path.name, allowed=", ".join(LAYER_PRECISIONS)
            )
        if precision.weights == "float16":
            _cast_weights(model, path, layers)
        elif precision.mode == "weight_only":
            _store_weights(model, bits=int(precision.weights.removeprefix("int")), layers=layers)
    return model


def _quantize_static(source: Path, plan: QuantizationPlan) -> Any:
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.quantize import update_opset_version
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    model = onnx.load(str(source))
    precisions = {
        node.output[0]: decode_precision(plan.layers.get(node.output[0], plan.precision)) for node in model.graph.node
    }
    if any(each.weights == "int4" for each in precisions.values()):
        _raise_opset(model, _OPSET_OF_INT4)
    model = onnx.shape_inference.infer_shapes(model)
    model = update_opset_version(model, QuantType.QInt8, QuantType.QInt8)
    ranges = {
        name: (np.array(low, np.float32), np.array(high, np.float32)) for name, (low, high) in plan.ranges.items()
    }
    quantizer = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, ranges),
        nodes_to_quantize=[],
        nodes_to_exclude=[node.name for node in model.graph.node if precisions[node.output[0]].mode != "static"],
        op_types_to_quantize=list({*QLinearOpsRegistry, *QDQRegistry}),
        extra_options={"TensorQuantOverrides": dict(_overrides(model, precisions))},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    quantized = quantizer.model.model
    _clean(quantized)
    return quantized


def _overrides(model: Any, precisions: Mapping[str, Precision]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """What ONNX Runtime's quantizer must do otherwise: 4-bit weights, with the scales that TFLite's has.

    Its own steps are max |w| / 7.5, which the largest weight of a channel does not reach.
    """
    from onnx import numpy_helper
    from onnxruntime.quantization import QuantType

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    wide = _kept_wide(model)
    for node in model.graph.node:
        precision = precisions.get(node.output[0])
        if precision is None or node.op_type not in _WEIGHTS_OF or node.input[1] not in constants:
            continue
        if precision.mode != "static" or precision.weights != "int4" or node.input[1] in wide:
            continue
        values = numpy_helper.to_array(constants[node.input[1]])
        axis = _channel_axis(node) % values.ndim
        zero = np.array(0, np.int8)
        yield (
            node.input[1],
            [
                {"quant_type": QuantType.QInt4, "axis": axis, "scale": scale, "zero_point": zero}
                for scale in _channel_scales(values, axis, 4)
            ],
        )


def _quantize_dynamic(source: Path) -> Any:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        quantized = Path(folder) / "quantized.onnx"
        quantize_dynamic(str(source), str(quantized), weight_type=QuantType.QInt8, per_channel=True)
        model = onnx.load(str(quantized))
    _clean(model)
    return model


def _quantize_matrices(model: Any) -> Any:
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
    _replace_nodes(model, nodes)
    _drop_unused(model)


def _store_weights(model: Any, *, bits: int, layers: Collection[str] | None = None) -> None:
    """Store float weights as integers behind a DequantizeLinear, a scale for each output channel.

    `layers`: those that give these outputs; `None` is all.
    """
    from onnx import TensorProto, helper, numpy_helper

    if bits == 4:
        _raise_opset(model, _OPSET_OF_INT4)
    wide = _kept_wide(model)

    def encode(name: str, values: NDArray[np.float32], axis: int) -> tuple[list[Any], Any]:
        width = 8 if name in wide else bits
        largest = 2 ** (width - 1) - 1
        scales = _channel_scales(values, axis, width)
        shape = [-1 if each == axis else 1 for each in range(values.ndim)]
        integers = np.clip(np.round(values / scales.reshape(shape)), -largest, largest).astype(np.int8)
        if width == 8:
            tensor = numpy_helper.from_array(integers, f"{name}_integers")
        else:
            tensor = helper.make_tensor(f"{name}_integers", TensorProto.INT4, values.shape, _packed(integers), raw=True)
        tensors = [tensor, numpy_helper.from_array(scales.astype(np.float32), f"{name}_scales")]
        inputs = [each.name for each in tensors]
        return tensors, helper.make_node("DequantizeLinear", inputs, [name], name=f"{name}_decode", axis=axis)

    _replace_weights(model, encode, layers)


def _kept_wide(model: Any) -> set[str]:
    """Weights that have 8 bits where others have 4: as in TFLite, whose kernels take no fewer of these."""
    return {node.input[1] for node in model.graph.node if node.op_type == "ConvTranspose" or _is_depthwise(model, node)}


def _channel_scales(values: NDArray[np.float32], axis: int, bits: int) -> NDArray[np.float32]:
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
        node.input[1]: _channel_axis(node)
        for node in model.graph.node
        if node.op_type in _WEIGHTS_OF and (layers is None or node.output[0] in layers)
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
    _replace_nodes(model, [*decoders, *model.graph.node])


def _is_depthwise(model: Any, node: Any) -> bool:
    """Whether each filter of a convolution sees one channel."""
    shapes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    return node.op_type == "Conv" and int(shapes.get(node.input[1], [0, 0])[1]) == 1


def _channel_axis(node: Any) -> int:
    """Which dimension of the weights counts output channels."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm" and any(each.name == "transB" and each.i for each in node.attribute):
        return 0
    return 1 if node.op_type in ("ConvTranspose", "Gemm") else -1


def _packed(integers: NDArray[np.int8]) -> bytes:
    """Two 4-bit numbers a byte, the first one in the low half."""
    flat = integers.ravel().astype(np.uint8) & 0xF
    flat = np.append(flat, np.zeros(len(flat) % 2, np.uint8))
    return (flat[::2] | flat[1::2] << 4).astype(np.uint8).tobytes()


def _raise_opset(model: Any, version: int) -> None:
    from onnx import version_converter

    if all(each.version >= version for each in model.opset_import if each.domain in ("", "ai.onnx")):
        return
    custom = [each for each in model.opset_import if each.domain not in ("", "ai.onnx")]
    converted = version_converter.convert_version(model, version)
    known = {each.domain for each in converted.opset_import}
    converted.opset_import.extend(each for each in custom if each.domain not in known)
    model.CopyFrom(converted)


def _replace_nodes(model: Any, nodes: list[Any]) -> None:
    # `extend` copies, so the list must be built before it is cleared.
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _drop_unused(model: Any) -> None:
    used = {name for node in model.graph.node for name in node.input}
    for tensor in [each for each in model.graph.initializer if each.name not in used]:
        model.graph.initializer.remove(tensor)


def _clean(model: Any) -> None:
    """Drop what ONNX Runtime's passes leave behind: shapes in between, and opsets that no operator uses."""
    del model.graph.value_info[:]
    del model.metadata_props[:]
    used = {node.domain for node in model.graph.node} | {""}
    kept = [opset for opset in model.opset_import if opset.domain in used or opset.domain == "ai.onnx"]
    entries = sorted((opset.domain, opset.version) for opset in kept)
    del model.opset_import[:]
    for domain, version in entries:
        model.opset_import.add(domain=domain, version=version)


def _cast_weights(model: Any, path: Path, layers: Collection[str] | None = None) -> None:
    from onnx import TensorProto, helper, numpy_helper

    users = {
        name
        for node in model.graph.node
        if node.op_type in _WEIGHTS_OF and (layers is None or node.output[0] in layers)
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
    _replace_nodes(model, [*casts, *model.graph.node])
