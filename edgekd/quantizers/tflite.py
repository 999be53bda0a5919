"""TFLite in every precision through ai-edge-quantizer, without the names that only converters need."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import records
from edgekd.errors import ExportError
from edgekd.records import QuantizationPlan, Ranges, decode_precision

NEEDS = ("ai_edge_quantizer",)
TOOLS = ("ai-edge-quantizer",)
PRECISIONS = records.PRECISIONS
# Of single layers in a file of several. A layer of `dynamic_wi8_afp32` would run, but nothing simulates it.
LAYER_PRECISIONS = tuple(each for each in records.LAYER_PRECISIONS if not each.startswith("dynamic"))
# LiteRT reads this one; the others tell of the conversion.
_KEPT_METADATA = (b"min_runtime_version",)
# Matches everything, as ".*" does, but rules of this name come after those of single layers: the last one counts.
_ENDS = "^.*"
# Operators whose kernels take no 4-bit weights: they get 8 bits.
_WITHOUT_INT4 = ("DEPTHWISE_CONV_2D", "CONV_2D_TRANSPOSE")


def quantize(*, source: Path, plan: QuantizationPlan, path: Path) -> None:
    """Write a float32 TFLite file again in a precision, ready to ship.

    Integer weights are symmetric, with a scale for each output channel. `static_wi8_ai8` and `static_wi8_ai16` have
    integer activations (of 16 bits symmetric), input and output. `dynamic_wi8_afp32` quantizes activations as it runs;
    `weight_only_…` and `fp16` decode weights when the file is loaded. `fp32`: as it is.

    Args:
        source: Of `edgekd.exporters.tflite`; static ranges are found by its tensors' names.
        plan: Precision, ranges for the static ones, and types of input and output.
        path: Written whole.

    Raises:
        ExportError: A static precision without ranges.

    >>> try:
    ...     plan = QuantizationPlan(precision="static_wi8_ai8")
    ...     quantize(source=Path("a"), plan=plan, path=Path("b.tflite"))
    ... except ExportError as error:
    ...     print(error)
    b.tflite: no ranges of activations; give calibration samples
    """
    from ai_edge_litert.tools import flatbuffer_utils

    precisions = {decode_precision(each) for each in (plan.precision, *plan.layers.values())}
    is_static = any(each.mode == "static" for each in precisions)
    if is_static and not plan.ranges:
        raise ExportError("no ranges of activations", where=path.name, next_step="give calibration samples")
    content = _with_names(_with_signature(source.read_bytes()))
    if any(each.name != "fp32" for each in precisions):
        content = _quantize(content, plan, is_static=is_static)
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    _strip(model)
    path.write_bytes(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))


def _with_signature(content: bytes) -> bytes:
    """Give the main graph a signature where it has none: the quantizer finds inputs by it, and so do runtimes."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    if model.signatureDefs:
        return content

    def named(tensors: Any) -> list[Any]:
        ends = []
        for index in tensors:
            end = schema.TensorMapT()
            end.name, end.tensorIndex = model.subgraphs[0].tensors[index].name, int(index)
            ends.append(end)
        return ends

    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    signature.inputs, signature.outputs = (
        named(each) for each in (model.subgraphs[0].inputs, model.subgraphs[0].outputs)
    )
    model.signatureDefs = [signature]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _with_names(content: bytes) -> bytes:
    """Name tensors where some have no name, as in files of edgekd: the quantizer tells them apart by it."""
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    if all(tensor.name for graph in model.subgraphs for tensor in graph.tensors):
        return content
    taken: set[bytes] = set()
    for number, graph in enumerate(model.subgraphs):
        for index, tensor in enumerate(graph.tensors):
            if not tensor.name or tensor.name in taken:
                tensor.name = b"%d_%d" % (number, index)
            taken.add(tensor.name)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _quantize(content: bytes, plan: QuantizationPlan, *, is_static: bool) -> bytes:
    from ai_edge_quantizer import quantizer

    quantizing = quantizer.Quantizer(content)
    _add_rules(quantizing, ".*", plan.precision)
    for name, precision in sorted(plan.layers.items()):
        # An operator's scope is the names of its outputs.
        _add_rules(quantizing, "^" + re.escape(name) + "(;.*)?$", precision)
    if plan.io:
        _set_io(quantizing, plan.io)
    elif plan.layers:
        # Input and output have the scopes of the layers beside them.
        _set_own_io(quantizing, plan.precision)
    result = quantizing.quantize(
        _statistics(content, quantizing, plan.ranges) if is_static else None,
        enable_progress_bar=False,
        enable_progress_report=False,
    )
    return bytes(result.quantized_model or b"")


def _add_rules(quantizing: Any, regex: str, precision: str) -> None:
    from ai_edge_quantizer import algorithm_manager, qtyping

    every = qtyping.TFLOperationName.ALL_SUPPORTED
    algorithms = algorithm_manager.AlgorithmName
    decoded = decode_precision(precision)
    if precision == "static_wi4_ai8":
        # What has no 4-bit kernel takes the rule before.
        _add_rules(quantizing, regex, "static_wi8_ai8")
    if precision == "fp32":
        quantizing.update_quantization_recipe(regex, every, algorithm_key=algorithms.NO_QUANTIZE)
    elif precision == "fp16":
        quantizing.add_weight_only_config(regex, every, num_bits=16, algorithm_key=algorithms.FLOAT_CASTING)
    elif decoded.mode == "static":
        bits = [int(each.removeprefix("int")) for each in (decoded.activations, decoded.weights)]
        quantizing.add_static_config(regex, every, activation_num_bits=bits[0], weight_num_bits=bits[1])
        # The rule above leaves tables as floats; with one scale a row, TFLite Micro gives wrong numbers for them.
        quantizing.add_dynamic_config(
            regex,
            qtyping.TFLOperationName.EMBEDDING_LOOKUP,
            num_bits=8,
            granularity=qtyping.QuantGranularity.TENSORWISE,
        )
    elif decoded.mode == "dynamic":
        quantizing.add_dynamic_config(regex, every, num_bits=8)
    else:
        bits_of_weights = int(decoded.weights.removeprefix("int"))
        quantizing.add_weight_only_config(regex, every, num_bits=bits_of_weights)
        if bits_of_weights == 4:
            for operator in _WITHOUT_INT4:
                quantizing.add_weight_only_config(regex, qtyping.TFLOperationName(operator), num_bits=8)


def _set_own_io(quantizing: Any, precision: str) -> None:
    from ai_edge_quantizer import algorithm_manager, qtyping

    decoded = decode_precision(precision)
    for end in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
        if decoded.mode == "static":
            quantizing.add_static_config(
                _ENDS, end, activation_num_bits=int(decoded.activations.removeprefix("int")), weight_num_bits=8
            )
        else:
            quantizing.update_quantization_recipe(_ENDS, end, algorithm_key=algorithm_manager.AlgorithmName.NO_QUANTIZE)


def _set_io(quantizing: Any, io: str) -> None:
    from ai_edge_quantizer import algorithm_manager, qtyping

    for end in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
        if io == "float32":
            quantizing.update_quantization_recipe(_ENDS, end, algorithm_key=algorithm_manager.AlgorithmName.NO_QUANTIZE)
        elif io == "uint8":
            unsigned = qtyping.TensorQuantizationConfig(num_bits=8, symmetric=False, dtype=qtyping.TensorDataType.UINT)
            quantizing.update_quantization_recipe(
                _ENDS,
                end,
                op_config=qtyping.OpQuantizationConfig(
                    activation_tensor_config=unsigned,
                    weight_tensor_config=qtyping.TensorQuantizationConfig(
                        num_bits=8, symmetric=True, granularity=qtyping.QuantGranularity.CHANNELWISE
                    ),
                    compute_precision=qtyping.ComputePrecision.INTEGER,
                    explicit_dequantize=False,
                ),
            )


def _statistics(content: bytes, quantizing: Any, ranges: Ranges) -> dict[str, Any]:
    """Ranges in the quantizer's own form: one inference on zeros shows it, and what that measured is replaced."""
    from ai_edge_quantizer import calibrator, recipe_manager
    from ai_edge_quantizer.utils import qsv_utils

    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(quantizing.get_quantization_recipe())
    measuring = calibrator.Calibrator(content, num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    key, ends = next(iter(measuring.get_signature_list().items()))
    runner = measuring._tfl_interpreter.get_signature_runner(key)  # noqa: SLF001 - the only way to the input's shape
    zeros = {
        name: np.zeros(runner.get_input_details()[name]["shape"], runner.get_input_details()[name]["dtype"])
        for name in ends["inputs"]
    }
    try:
        measuring.calibrate({key: [zeros]}, manager)
    except ValueError as error:
        # Seen of unrolled recurrent layers.
        if "Tensor data is null" not in str(error):
            raise
        raise ExportError(
            "ai-edge-quantizer can't quantize this network: LiteRT has no data of one of its tensors",
            allowed="dynamic and weight-only precisions, fp16, fp32",
            next_step="of recurrent layers take those, or the ONNX file",
        ) from None
    statistics: dict[str, Any] = measuring.get_model_qsvs()
    for name, (low, high) in ranges.items():
        if statistics.get(name):
            for end, value in (("min", low), ("max", high)):
                statistics[name][end] = np.full_like(np.asarray(statistics[name][end], np.float32), value)
    return statistics


def _strip(model: Any) -> None:
    """Drop names of tensors, which carry module paths and some 10 % of a small file's bytes."""
    model.description = None
    kept = [each for each in model.metadata or [] if each.name in _KEPT_METADATA]
    # A buffer that nothing points to any more would stay in the file.
    for each in model.metadata or []:
        if each.name not in _KEPT_METADATA:
            model.buffers[each.buffer].data = None
    model.metadata = kept
    named = _named_ends(model)
    for graph in model.subgraphs:
        graph.name = None
        graph.debugMetadataIndex = -1
        for tensor in graph.tensors:
            tensor.name = None
        for operator in graph.operators:
            operator.debugMetadataIndex = -1
    # Which of several inputs is which, only their names say.
    for (number, index), name in (named or _plain_ends(model)).items():
        model.subgraphs[number].tensors[index].name = name
    for signature in () if named else model.signatureDefs or []:
        for end in [*signature.inputs, *signature.outputs]:
            end.name = model.subgraphs[signature.subgraphIndex].tensors[end.tensorIndex].name


def _plain_ends(model: Any) -> dict[tuple[int, int], bytes]:
    """Names by graph and tensor, of a file with one input."""
    graph = model.subgraphs[0]
    return {
        (0, int(tensor)): name if index == 0 else name + b"_%d" % index
        for ends, name in ((graph.inputs, b"input"), (graph.outputs, b"output"))
        for index, tensor in enumerate(ends)
    }


def _named_ends(model: Any) -> dict[tuple[int, int], bytes]:
    """The same of a file whose signatures have several inputs; empty of others."""
    signatures = model.signatureDefs or []
    if all(len(each.inputs) == 1 for each in signatures):
        return {}
    return {
        (each.subgraphIndex, end.tensorIndex): end.name for each in signatures for end in [*each.inputs, *each.outputs]
    }
