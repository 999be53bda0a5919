"""Runs model files and shows every number that flows between their operators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tensors = Mapping[str, NDArray[np.float32]]

_CHANNELS_LAST = (0, 2, 3, 1)


def watch(format_name: str, path: Path) -> Callable[[NDArray[np.float32]], Tensors]:
    """Load a file so that each call gives its activations; run it in a child.

    Args:
        format_name: `onnx` or `tflite`.
        path: The file.

    Returns:
        A function from inputs (N, …), channels first, to activations by their names in the file: of ONNX (N, …) as they
        are, of TFLite (N, …) as they are, channels last; integers dequantized.
    """
    return {"onnx": _watch_onnx, "tflite": _watch_tflite}[format_name](path)


def _watch_onnx(path: Path) -> Callable[[NDArray[np.float32]], Tensors]:
    import onnx
    import onnxruntime

    model = onnx.load(str(path))
    name = next(each.name for each in model.graph.input if each.name not in _constants(model))
    watched = [*dict.fromkeys((name, *_floats(model)))]
    given = {each.name for each in model.graph.output}
    for each in watched:
        if each not in given and each != name:
            model.graph.output.append(onnx.ValueInfoProto(name=each))
    options = onnxruntime.SessionOptions()
    # An optimizer would fuse away what is to be seen.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs = [each for each in watched if each != name]

    def run(inputs: NDArray[np.float32]) -> Tensors:
        return {name: inputs, **dict(zip(outputs, session.run(outputs, {name: inputs}), strict=True))}

    return run


def _constants(model: Any) -> set[str]:
    found = {tensor.name for tensor in model.graph.initializer}
    return found | {node.output[0] for node in model.graph.node if node.op_type == "Constant"}


def _floats(model: Any) -> Iterator[str]:
    """Names of float32 activations."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    known = {
        each.name: each.type.tensor_type.elem_type for each in [*inferred.graph.value_info, *inferred.graph.output]
    }
    # What is computed from constants alone is one itself: weights that are decoded when the file is loaded.
    fixed = _constants(model)
    for node in model.graph.node:
        if node.input and all(each in fixed for each in node.input if each):
            fixed.update(node.output)
            continue
        yield from (each for each in node.output if known.get(each) == onnx.TensorProto.FLOAT and each not in fixed)


def _watch_tflite(path: Path) -> Callable[[NDArray[np.float32]], Tensors]:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_path=str(path),
        num_threads=1,
        experimental_preserve_all_tensors=True,
        # The same kernels for all operators: a delegate would keep what is between them to itself.
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    details = {each["index"]: each for each in interpreter.get_tensor_details()}
    taken = interpreter.get_input_details()[0]
    # The interpreter's own list of operators: constants are outputs of none.
    written = [int(index) for each in interpreter._get_ops_details() for index in each["outputs"]]  # noqa: SLF001
    watched = [details[index] for index in [taken["index"], *written] if index in details]

    def run(inputs: NDArray[np.float32]) -> Tensors:
        seen: dict[str, list[NDArray[np.float32]]] = {}
        ready = np.ascontiguousarray(inputs.transpose(_CHANNELS_LAST)) if inputs.ndim == 4 else inputs
        for sample in ready:
            interpreter.set_tensor(taken["index"], quantized(sample[None], taken))
            interpreter.invoke()
            for each in watched:
                if np.issubdtype(each["dtype"], np.floating) or each["quantization"][0]:
                    seen.setdefault(each["name"], []).append(dequantized(interpreter.get_tensor(each["index"]), each))
        return {name: np.concatenate(values) for name, values in seen.items() if values[0].ndim}

    return run


def quantized(values: NDArray[np.float32], detail: Mapping[str, Any]) -> NDArray[Any]:
    """Turn values into what a TFLite tensor holds: q = round(x / scale) + zero point, clipped."""
    scale, zero_point = detail["quantization"]
    if not scale:
        return values
    limits = np.iinfo(detail["dtype"])
    rounded: NDArray[Any] = np.clip(np.round(values / scale) + zero_point, limits.min, limits.max)
    return rounded.astype(detail["dtype"])


def dequantized(values: NDArray[Any], detail: Mapping[str, Any]) -> NDArray[np.float32]:
    """Turn what a TFLite tensor holds into values: x = (q - zero point) * scale."""
    scale, zero_point = detail["quantization"]
    floats: NDArray[np.float32] = values.astype(np.float32)
    return (floats - np.float32(zero_point)) * np.float32(scale) if scale else floats
