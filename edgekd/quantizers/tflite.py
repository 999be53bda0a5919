"""TFLite in every precision through ai-edge-quantizer, without the names that only converters need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import ExportError
from edgekd.records import decode_precision

NEEDS = ("ai_edge_quantizer",)
TOOLS = ("ai-edge-quantizer",)

# LiteRT reads this one; the others tell of the conversion.
_KEPT_METADATA = (b"min_runtime_version",)
_CHANNELS_LAST = (0, 2, 3, 1)


def quantize(*, source: Path, precision: str, samples: NDArray[np.float32], path: Path) -> None:
    """Write a float32 TFLite file again in a precision, ready to ship.

    `static_wi8_ai8`: int8 weights (symmetric, a scale for each channel), int8 activations, input and output
    (min-max over the samples). `fp16`: float16 weights, decoded when the file is loaded. `fp32`: as it is.

    Args:
        source: Of `edgekd.exporters.tflite`, with its tensors' names.
        precision: One of `edgekd.records.PRECISIONS`.
        samples: Network inputs, shape (N, C, H, W) or (N, F); only static precisions look at them.
        path: Written whole.

    Raises:
        ExportError: No samples for a static precision.

    >>> try:
    ...     quantize(source=Path("a"), precision="static_wi8_ai8", samples=np.zeros((0, 2), "f"), path=Path("b.tflite"))
    ... except ExportError as error:
    ...     print(error)
    b.tflite: no calibration samples
    """
    from ai_edge_litert.tools import flatbuffer_utils

    decoded = decode_precision(precision)
    if decoded.mode == "static" and len(samples) == 0:
        raise ExportError("no calibration samples", where=path.name)
    content: Any = source.read_bytes()
    if decoded.mode == "static":
        content = _quantize_static(content, samples)
    elif decoded.weights == "float16":
        content = _cast_weights(content)
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    _strip(model)
    path.write_bytes(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))


def _quantize_static(content: bytes, samples: NDArray[np.float32]) -> bytes:
    from ai_edge_quantizer import calibrator, quantizer, recipe, recipe_manager
    from ai_edge_quantizer.utils import qsv_utils

    rules = recipe.static_wi8_ai8()
    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(rules)
    # The default is a moving average, whose ranges depend on the order of the samples.
    ranges = calibrator.Calibrator(content, num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    signature = ranges.get_signature_list()
    key = next(iter(signature))
    ranges.calibrate({key: _Inputs(signature[key]["inputs"][0], samples)}, manager)
    quantizing = quantizer.Quantizer(content)
    quantizing.load_quantization_recipe(rules)
    result = quantizing.quantize(ranges.get_model_qsvs(), enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model or b"")


class _Inputs:
    """One sample at a time in the file's layout: the calibrator goes through them twice, once to count."""

    def __init__(self, name: str, samples: NDArray[np.float32]) -> None:
        self.name, self.samples = name, samples

    def __iter__(self) -> Iterator[dict[str, NDArray[np.float32]]]:
        for sample in self.samples:
            one = sample[None]
            yield {self.name: np.ascontiguousarray(one.transpose(_CHANNELS_LAST) if one.ndim == 4 else one)}


def _cast_weights(content: bytes) -> bytes:
    from ai_edge_quantizer import algorithm_manager, qtyping, quantizer

    casting = quantizer.Quantizer(content)
    casting.add_weight_only_config(
        regex=".*",
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        num_bits=16,
        algorithm_key=algorithm_manager.AlgorithmName.FLOAT_CASTING,
    )
    result = casting.quantize(enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model or b"")


def _strip(model: Any) -> None:
    """Drop names of tensors, which carry module paths and some 10 % of a small file's bytes."""
    model.description = None
    kept = [each for each in model.metadata or [] if each.name in _KEPT_METADATA]
    # A buffer that nothing points to any more would stay in the file.
    for each in model.metadata or []:
        if each.name not in _KEPT_METADATA:
            model.buffers[each.buffer].data = None
    model.metadata = kept
    for graph in model.subgraphs:
        graph.name = None
        graph.debugMetadataIndex = -1
        for tensor in graph.tensors:
            tensor.name = None
        for operator in graph.operators:
            operator.debugMetadataIndex = -1
    graph = model.subgraphs[0]
    for ends, name in ((graph.inputs, b"input"), (graph.outputs, b"logits")):
        for index, tensor in enumerate(ends):
            graph.tensors[tensor].name = name if index == 0 else name + b"_%d" % index
    for signature in model.signatureDefs or []:
        for end in [*signature.inputs, *signature.outputs]:
            end.name = model.subgraphs[signature.subgraphIndex].tensors[end.tensorIndex].name
