"""ONNX in every precision: QDQ int8 through ONNX Runtime, float16 weights."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import ExportError
from edgekd.records import decode_precision

NEEDS = ("onnxruntime",)
TOOLS = ("onnx", "onnxruntime")

_CALIBRATION_BATCH = 32
_WEIGHTS_OF = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def quantize(*, source: Path, precision: str, samples: NDArray[np.float32], path: Path) -> None:
    """Write a float32 ONNX file again in a precision, ready to ship.

    `static_wi8_ai8`: QDQ, int8 weights (symmetric, a scale for each channel) and int8 activations (min-max
    over the samples); input and output stay float32. `fp16`: float16 weights that a Cast decodes when the
    file is loaded; activations stay float32, so it runs on any CPU. `fp32`: as it is.

    Args:
        source: Of `edgekd.exporters.onnx`.
        precision: One of `edgekd.records.PRECISIONS`.
        samples: Network inputs, shape (N, C, H, W) or (N, F); only static precisions look at them.
        path: Written whole.

    Raises:
        ExportError: No samples for a static precision, or weights past float16's 65504.

    >>> import tempfile, onnx.parser
    >>> from edgekd import inspection
    >>> one, two = (Path(tempfile.mkdtemp()) / name for name in ("one.onnx", "two.onnx"))
    >>> text = '<ir_version: 10, opset_import: ["": 20]> g (float[n, 2] input) => (float[n, 1] logits)'
    >>> body = " <float[2, 1] w = {0.5, 1.0}> { logits = MatMul(input, w) }"
    >>> onnx.save(onnx.parser.parse_model(text + body), one)
    >>> quantize(source=one, precision="fp16", samples=np.zeros((0, 2), "f"), path=two)
    >>> inspection.inspect(two).layers[0].weight_dtype
    'float16'
    """
    import onnx

    decoded = decode_precision(precision)
    if decoded.mode == "static":
        if len(samples) == 0:
            raise ExportError("no calibration samples", where=path.name)
        model = _quantize_static(source, samples)
    else:
        model = onnx.load(str(source))
        if decoded.weights == "float16":
            _cast_weights(model, path)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _quantize_static(source: Path, samples: NDArray[np.float32]) -> Any:
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import CalibrationDataReader
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Batches(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        """One batch at a time, so that activations of all samples are never held together."""

        def __init__(self) -> None:
            self._starts = iter(range(0, len(samples), _CALIBRATION_BATCH))

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            start = next(self._starts, None)
            return None if start is None else {"input": samples[start : start + _CALIBRATION_BATCH]}

    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        prepared, quantized = Path(folder) / "prepared.onnx", Path(folder) / "quantized.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(quantized),
            Batches(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        model = onnx.load(str(quantized))
    _clean(model)
    return model


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


def _cast_weights(model: Any, path: Path) -> None:
    from onnx import TensorProto, helper, numpy_helper

    users = {name for node in model.graph.node if node.op_type in _WEIGHTS_OF for name in node.input[1:2]}
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
    nodes = [*casts, *model.graph.node]
    # `extend` copies, so the list must be built before it is cleared.
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
