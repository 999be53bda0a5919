"""ONNX in every precision: QDQ integers and dynamic ones through ONNX Runtime, weights alone, float16."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.errors import ExportError
from edgekd.quantizers._onnx_tables import store_tables, tables_of
from edgekd.quantizers._onnx_weights import (
    OPSET_OF_CHANNELS,
    OPSET_OF_INT4,
    WEIGHTS_OF,
    cast_weights,
    channel_axis,
    channel_scales,
    drop_unused,
    kept_wide,
    quantize_matrices,
    raise_opset,
    store_weights,
)
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


def quantize(*, source: Path, plan: QuantizationPlan, path: Path) -> None:
    """Write a float32 ONNX file again in a precision, ready to ship.

    Integer weights are symmetric, with a scale for each output channel (4-bit weights of matrices: for each block of
    32). `static_wi8_ai8`: QDQ with int8 activations; input and output stay float32. `dynamic_wi8_afp32`: activations
    are quantized as it runs. `weight_only_…` and `fp16`: weights that are decoded when the file is loaded, of matrices
    of 4 bits by MatMulNBits as it runs; activations stay float32. Tables of embeddings have a scale for each row (of 4
    bits for each 32 numbers) and are never decoded as a whole. `fp32`: as it is. Where single layers have precisions
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
            cast_weights(model, path)
            store_tables(model, "float16")
        elif decoded.weights == "int8":
            store_tables(model, "int8")
            store_weights(model, bits=8)
        elif decoded.weights == "int4":
            store_tables(model, "int4")
            model = quantize_matrices(model)
            store_weights(model, bits=4)
    path.write_bytes(model.SerializeToString(deterministic=True))


def prepare(source: Path, path: Path) -> None:
    """Fold what is constant and fuse what runtimes fuse, so that only what really flows is quantized.

    Files of an older opset are raised to the first whose integers have a scale for each channel.
    """
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        raised = Path(folder) / "raised.onnx"
        model = onnx.load(str(source))
        raise_opset(model, OPSET_OF_CHANNELS)
        onnx.save(model, str(raised))
        quant_pre_process(str(raised), str(path), skip_symbolic_shape=True)
    model = onnx.load(str(path))
    _clean(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _quantize_layers(source: Path, plan: QuantizationPlan, path: Path) -> Any:
    """Give each layer its own precision: integers that flow first, then what only stores weights otherwise."""
    import onnx

    chosen = {
        node.output[0]: decode_precision(plan.layers.get(node.output[0], plan.precision))
        for node in onnx.load(str(source)).graph.node
        if node.op_type in WEIGHTS_OF
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
            cast_weights(model, path, layers)
        elif precision.mode == "weight_only":
            store_weights(model, bits=int(precision.weights.removeprefix("int")), layers=layers)
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
    tables = {node.output[0] for node in tables_of(model)}
    if plan.layers or tables:
        _name_nodes(model)
    if any(each.weights == "int4" for each in precisions.values()):
        raise_opset(model, OPSET_OF_INT4)
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
        nodes_to_exclude=[
            node.name
            for node in model.graph.node
            if precisions[node.output[0]].mode != "static" or node.output[0] in tables
        ],
        op_types_to_quantize=list({*QLinearOpsRegistry, *QDQRegistry}),
        extra_options={"TensorQuantOverrides": dict(_overrides(model, precisions))},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    quantized = quantizer.model.model
    store_tables(quantized, "int8")
    _share_zero_points(quantized)
    _clean(quantized)
    return quantized


def _overrides(model: Any, precisions: Mapping[str, Precision]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """What ONNX Runtime's quantizer must do otherwise: 4-bit weights, with the scales that TFLite's has.

    Its own steps are max |w| / 7.5, which the largest weight of a channel does not reach.
    """
    from onnx import numpy_helper
    from onnxruntime.quantization import QuantType

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    wide = kept_wide(model)
    for node in model.graph.node:
        precision = precisions.get(node.output[0])
        if precision is None or node.op_type not in WEIGHTS_OF or node.input[1] not in constants:
            continue
        if precision.mode != "static" or precision.weights != "int4" or node.input[1] in wide:
            continue
        values = numpy_helper.to_array(constants[node.input[1]])
        axis = channel_axis(node) % values.ndim
        zero = np.array(0, np.int8)
        yield (
            node.input[1],
            [
                {"quant_type": QuantType.QInt4, "axis": axis, "scale": scale, "zero_point": zero}
                for scale in channel_scales(values, axis, 4)
            ],
        )


def _quantize_dynamic(source: Path) -> Any:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        named, quantized = Path(folder) / "named.onnx", Path(folder) / "quantized.onnx"
        # A table would have one scale for all of its rows.
        model = onnx.load(str(source))
        _name_nodes(model)
        onnx.save(model, str(named))
        tables = [node.name for node in tables_of(model)]
        options = {"nodes_to_exclude": tables, "weight_type": QuantType.QInt8, "per_channel": True}
        quantize_dynamic(str(named), str(quantized), **options)
        model = onnx.load(str(quantized))
    store_tables(model, "int8")
    _clean(model)
    return model


def _name_nodes(model: Any) -> None:
    """Give names to operators that have none, as files from elsewhere may: nodes are left out by their names."""
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"node_{number}"


def _share_zero_points(model: Any) -> None:
    """Store the zero points of biases once: each layer brings its own, 0 for each channel and as large as the bias.

    Those of weights stay: ONNX Runtime 1.32 can't open files that share them with session.x64quantprecision.
    """
    from onnx import TensorProto

    kept: dict[tuple[int, ...], str] = {}
    shared = {
        tensor.name: kept.setdefault(tuple(tensor.dims), tensor.name)
        for tensor in model.graph.initializer
        if tensor.name.endswith("_zero_point") and tensor.data_type == TensorProto.INT32
    }
    for node in model.graph.node:
        node.input[:] = [shared.get(name, name) for name in node.input]
    drop_unused(model)


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
