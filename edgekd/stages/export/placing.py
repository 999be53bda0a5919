"""Finds the layers of a torch network in a float file, by their weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.stages.export.calibrating import match
from edgekd.stages.export.watching import Tensors, watch

_OF_ONNX = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_OF_TFLITE = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "CONV_3D", "FULLY_CONNECTED", "BATCH_MATMUL")


@dataclass(frozen=True, kw_only=True)
class Placed:
    """An operator with weights in a float file.

    Attributes:
        output: Name of what it gives.
        name: Of the operator in ONNX; TFLite has none.
        layer: The torch module; `None` where its weights are of none.
    """

    output: str
    name: str
    layer: str | None


@dataclass(frozen=True, kw_only=True)
class Places:
    """What a float file holds of a torch network.

    Attributes:
        layers: Operators with weights, in the order of the file.
        activations: By name in the file, the network's operator that gives it.
    """

    layers: tuple[Placed, ...]
    activations: Mapping[str, str]


def place(format_name: str, path: Path, weights: Tensors, activations: Tensors, probes: NDArray[np.float32]) -> Places:
    """Find layers by their weights and activations by what they hold; run it in a child.

    Args:
        format_name: `onnx` or `tflite`.
        path: The float file.
        weights: By torch module, in any shape.
        activations: By operator of the network, (N, ...), of the probes.
        probes: Some inputs, (N, ...), channels first.
    """
    found = {"onnx": _weights_of_onnx, "tflite": _weights_of_tflite}[format_name](path)
    rows = {name: values.reshape(1, -1) for name, values in weights.items()}
    layers = match(rows, {output: values.reshape(1, -1) for output, (_, values) in found.items()})
    sites = match(activations, watch(format_name, path).run(probes))
    return Places(
        layers=tuple(Placed(output=output, name=name, layer=layers[output]) for output, (name, _) in found.items()),
        activations={name: site for name, site in sites.items() if site is not None},
    )


_Weights = dict[str, tuple[str, NDArray[np.float32]]]


def _weights_of_onnx(path: Path) -> _Weights:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    return {
        str(node.output[0]): (str(node.name), numpy_helper.to_array(constants[node.input[1]]))
        for node in graph.node
        if node.op_type in _OF_ONNX and node.input[1] in constants
    }


def _weights_of_tflite(path: Path) -> _Weights:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_path=str(path),
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    names = {each["index"]: str(each["name"]) for each in interpreter.get_tensor_details()}
    computed = {int(index) for each in interpreter._get_ops_details() for index in each["outputs"]}  # noqa: SLF001
    taken = {int(each["index"]) for each in interpreter.get_input_details()}
    found: _Weights = {}
    for operator in interpreter._get_ops_details():  # noqa: SLF001 - no public list of operators
        if operator["op_name"] not in _OF_TFLITE:
            continue
        weights = int(operator["inputs"][1])
        if weights not in computed | taken:
            values: Any = interpreter.get_tensor(weights)
            found[names[int(operator["outputs"][0])]] = ("", values)
    return found
