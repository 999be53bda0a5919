"""Runs model files and shows every number that flows between their operators."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tensors = Mapping[str, NDArray[np.float32]]

_CHANNELS_LAST = (0, 2, 3, 1)
# "x64 SSE4.1/AVX2/AVX512 with no VNNI": kOrtSessionOptionsAvx2PrecisionMode in ONNX Runtime's header of options.
_EXACT = "session.x64quantprecision"
# "package.module._Class_attribute", of classes named in CamelCase.
_MODULE = re.compile(r"\._*[A-Za-z0-9]+_(\w+)$")
# Operators that compute nothing: between integers and floats, and between integers of two scales.
_CODECS = ("QUANTIZE", "DEQUANTIZE", "DELEGATE")


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A loaded file that shows its activations.

    Attributes:
        run: From inputs (N, …), channels first, to activations by name: of ONNX as they are, of TFLite channels last;
            integers dequantized. The input is one of them, where it is no token.
        operators: By name of the activation, in the order of the file: the operator that gives it.
        modules: By name of the activation, the torch module that it comes from, where the file says so.
        takes_tokens: Whether whole numbers go in, and masks are among the activations.
    """

    run: Callable[[NDArray[np.float32]], Tensors]
    operators: Mapping[str, str]
    modules: Mapping[str, str]
    takes_tokens: bool = False


def watch(format_name: str, path: Path) -> Watched:
    """Load a file so that each call gives its activations; run it in a child.

    Args:
        format_name: `onnx` or `tflite`.
        path: The file. Activations of a TFLite file without names are called by their number among the operators that
            compute: `#0`, `#1`, …
    """
    return {"onnx": _watch_onnx, "tflite": _watch_tflite}[format_name](path)


def exact_session(model: Any, options: Any = None) -> Any:
    """Open a file so that ONNX Runtime gives what it says on every x86.

    By default it adds products of bytes in 16 bits where the processor has no VNNI instructions, and these overflow: a
    processor's fault that lint tells of, and none of the file.

    Args:
        model: `ModelProto`.
        options: `SessionOptions`, for all else.
    """
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail

    options = options or onnxruntime.SessionOptions()
    providers = ["CPUExecutionProvider"]
    # Weights alone don't overflow.
    if any(node.op_type in ("QuantizeLinear", "DynamicQuantizeLinear") for node in model.graph.node):
        options.add_session_config_entry(_EXACT, "1")
        try:
            return onnxruntime.InferenceSession(_with_zero_points(model), options, providers=providers)
        except Fail:  # it can't where layers share weights, as the steps of a recurrent layer do
            options.add_session_config_entry(_EXACT, "0")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)


def _with_zero_points(model: Any) -> bytes:
    """Say what is the default: in its exact mode ONNX Runtime 1.32 breaks on stored weights without a zero point."""
    from onnx import TensorProto, helper

    complete = type(model)()
    complete.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in complete.graph.initializer}
    for node in complete.graph.node:
        if node.op_type == "DequantizeLinear" and len(node.input) == 2 and set(node.input) <= constants.keys():
            weights, scales = (constants[name] for name in node.input)
            count = math.prod(scales.dims)
            size = (count + 1) // 2 if weights.data_type == TensorProto.INT4 else count
            zero = helper.make_tensor(f"{node.output[0]}_zero", weights.data_type, scales.dims, bytes(size), raw=True)
            complete.graph.initializer.append(zero)
            node.input.append(zero.name)
    content: bytes = complete.SerializeToString()
    return content


def _watch_onnx(path: Path) -> Watched:
    import onnx
    import onnxruntime

    model = onnx.load(str(path))
    name, dtype = input_of(model)
    givers = dict(_floats(model))
    given = {each.name for each in model.graph.output}
    for each in givers:
        if each not in given:
            model.graph.output.append(onnx.ValueInfoProto(name=each))
    options = onnxruntime.SessionOptions()
    # An optimizer would fuse away what is to be seen.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = exact_session(model, options)
    outputs = list(givers)

    def run(inputs: NDArray[np.float32]) -> Tensors:
        size = batch_size(session, len(inputs))
        ready = inputs.astype(dtype, copy=False)
        parts = [session.run(outputs, {name: ready[start : start + size]}) for start in range(0, len(inputs), size)]
        joined = (np.concatenate([np.atleast_1d(each) for each in values]) for values in zip(*parts, strict=True))
        # Tokens are no activation: nothing rounds them.
        taken = {name: inputs} if dtype == np.float32 else {}
        return {**taken, **dict(zip(outputs, joined, strict=True))}

    weights = {each: str(next((i for i in node.input[1:] if "." in i), "")) for each, node in givers.items()}
    modules = {each: weight.split("_DequantizeLinear")[0].rpartition(".")[0] for each, weight in weights.items()}
    return Watched(
        run=run,
        operators={each: str(node.op_type) for each, node in givers.items()},
        modules={each: module for each, module in modules.items() if module},
        takes_tokens=dtype.kind in "iu",
    )


def input_of(model: Any) -> tuple[str, np.dtype[Any]]:
    """Name the input of a `ModelProto`, and its dtype, as NumPy has it."""
    from onnx import helper

    fixed = _constants(model)
    taken = next(each for each in model.graph.input if each.name not in fixed)
    return str(taken.name), helper.tensor_dtype_to_np_dtype(taken.type.tensor_type.elem_type)


def batch_size(session: Any, most: int) -> int:
    """How many samples a session takes at once: those of its fixed batch, else as many as asked for."""
    shape = session.get_inputs()[0].shape
    return shape[0] if shape and isinstance(shape[0], int) else most


def _constants(model: Any) -> set[str]:
    found = {tensor.name for tensor in model.graph.initializer}
    return found | {node.output[0] for node in model.graph.node if node.op_type == "Constant"}


def _floats(model: Any) -> Iterator[tuple[str, Any]]:
    """Names of float32 activations, and the nodes that give them."""
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
        yield from ((each, node) for each in node.output if known.get(each) == onnx.TensorProto.FLOAT)


def _watch_tflite(path: Path) -> Watched:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with warnings.catch_warnings():
        # That keeping all tensors takes memory is what is wanted here.
        warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors", category=UserWarning)
        interpreter = Interpreter(
            model_path=str(path),
            num_threads=1,
            experimental_preserve_all_tensors=True,
            # A delegate would keep to itself what is between its operators.
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
    interpreter.allocate_tensors()
    details = {each["index"]: each for each in interpreter.get_tensor_details()}
    taken = interpreter.get_input_details()[0]
    is_watched = taken["quantization"][0] or np.issubdtype(taken["dtype"], np.floating)
    watched: dict[str, Mapping[str, Any]] = {taken["name"]: taken} if is_watched else {}
    operators: dict[str, str] = {}
    number = 0
    for operator in interpreter._get_ops_details():  # noqa: SLF001 - no public list of operators
        if operator["op_name"] in _CODECS:
            continue
        for index in operator["outputs"]:
            detail = details.get(int(index))
            if detail and (np.issubdtype(detail["dtype"], np.floating) or detail["quantization"][0]):
                name = detail["name"] or f"#{number}"
                watched[name], operators[name] = detail, operator["op_name"]
        number += 1

    def run(inputs: NDArray[np.float32]) -> Tensors:
        seen: dict[str, list[NDArray[np.float32]]] = {}
        ready = np.ascontiguousarray(inputs.transpose(_CHANNELS_LAST)) if inputs.ndim == 4 else inputs
        for sample in ready:
            interpreter.set_tensor(taken["index"], quantized(sample[None], taken))
            interpreter.invoke()
            for name, detail in watched.items():
                seen.setdefault(name, []).append(dequantized(interpreter.get_tensor(detail["index"]), detail))
        return {name: np.concatenate(values) for name, values in seen.items() if values[0].ndim}

    modules = {name: _module_of(name) for name in operators}
    return Watched(
        run=run,
        operators=operators,
        modules={name: each for name, each in modules.items() if each},
        takes_tokens=not is_watched,
    )


def _module_of(tensor: str) -> str:
    """The torch module in a name that litert-torch gave: its path from the class of the network on.

    >>> _module_of("m.Wrapper/m._Net_wrapped/m.Norm_1;;m.Wrapper/m._Net_wrapped/m._Stack_stack1/m.Conv2d_a;2")
    'stack1.a'
    """
    path = next((each for each in reversed(tensor.split(";")) if "/" in each), "")
    _, _, inner = path.partition("_wrapped/")
    return ".".join(match[1] for each in inner.split("/") if (match := _MODULE.search(each)))


def quantized(values: NDArray[np.float32], detail: Mapping[str, Any]) -> NDArray[Any]:
    """Turn values into what a TFLite tensor holds: q = round(x / scale) + zero point, clipped; tokens are whole."""
    scale, zero_point = detail["quantization"]
    if not scale:
        return values.astype(detail["dtype"], copy=False)
    limits = np.iinfo(detail["dtype"])
    rounded: NDArray[Any] = np.clip(np.round(values / scale) + zero_point, limits.min, limits.max)
    return rounded.astype(detail["dtype"])


def dequantized(values: NDArray[Any], detail: Mapping[str, Any]) -> NDArray[np.float32]:
    """Turn what a TFLite tensor holds into values: x = (q - zero point) * scale."""
    scale, zero_point = detail["quantization"]
    floats: NDArray[np.float32] = values.astype(np.float32)
    return (floats - np.float32(zero_point)) * np.float32(scale) if scale else floats
