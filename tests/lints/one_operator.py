"""TFLite files of one operator each, in the plainest form, for runtimes to say whether they take it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.lints.tflite_files import Operator, Tensor, activation, numbers, weights, write_tflite

# Output of the operator with its inputs, as integers or floats of one type throughout.
_UNARY = (
    "ABS", "CEIL", "COS", "EXP", "FLOOR", "LOG", "LOGISTIC", "NEG", "ROUND", "RSQRT", "SIN", "SQRT", "SQUARE",
    "TANH", "ELU", "HARD_SWISH", "RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "L2_NORMALIZATION", "LOG_SOFTMAX",
)  # fmt: skip
_BINARY = {
    "ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions", "DIV": "DivOptions", "MAXIMUM": "", "MINIMUM": "",
    "SQUARED_DIFFERENCE": "", "FLOOR_DIV": "", "POW": "", "PRELU": "",
}  # fmt: skip
_REDUCE = ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD")
_FIXED = {
    "LOGISTIC": (1 / 256, -128),
    "SOFTMAX": (1 / 256, -128),
    "TANH": (1 / 128, 0),
    "L2_NORMALIZATION": (1 / 128, 0),
    "LOG_SOFTMAX": (16 / 256, 127),
}
_X = (1, 8, 8, 4)


def _cases(dtype: str) -> Mapping[str, tuple[list[Tensor], Tensor, str, dict[str, Any]]]:
    x, floats = activation(dtype, *_X), not dtype.startswith(("int", "uint"))
    bias = weights("float32", 4) if floats else weights("int64" if dtype == "int16" else "int32", 4)
    kernel = "float32" if floats else ("uint8" if dtype == "uint8" else "int8")

    def w(*shape: int, axis: int = 0) -> Tensor:
        made = weights(kernel, *shape, axis=axis)
        return dataclasses.replace(made, scale=[0.02], zero_point=128) if kernel == "uint8" else made

    b = dataclasses.replace(bias, scale=[0.001]) if kernel == "uint8" else bias
    cases: dict[str, tuple[list[Tensor], Tensor, str, dict[str, Any]]] = {
        "CONV_2D": ([x, w(4, 3, 3, 4), b], x, "Conv2DOptions", {"strideW": 1, "strideH": 1}),
        "DEPTHWISE_CONV_2D": (
            [x, w(1, 3, 3, 4, axis=3), b], x, "DepthwiseConv2DOptions",
            {"strideW": 1, "strideH": 1, "depthMultiplier": 1},
        ),
        "TRANSPOSE_CONV": (
            [numbers(*_X), w(4, 3, 3, 4), x, b], x, "TransposeConvOptions", {"strideW": 1, "strideH": 1},
        ),
        "FULLY_CONNECTED": (
            [activation(dtype, 1, 8), w(4, 8), b], activation(dtype, 1, 4), "FullyConnectedOptions", {},
        ),
        "BATCH_MATMUL": (
            [activation(dtype, 1, 4, 8), activation(dtype, 1, 8, 4)], activation(dtype, 1, 4, 4),
            "BatchMatMulOptions", {},
        ),
        "CONCATENATION": ([x, x], activation(dtype, 1, 8, 8, 8), "ConcatenationOptions", {"axis": 3}),
        "RESHAPE": ([x, numbers(1, 256)], activation(dtype, 1, 256), "ReshapeOptions", {"newShape": [1, 256]}),
        "TRANSPOSE": ([x, numbers(0, 3, 1, 2)], activation(dtype, 1, 4, 8, 8), "TransposeOptions", {}),
        "PAD": ([x, numbers([0, 0], [1, 1], [1, 1], [0, 0])], activation(dtype, 1, 10, 10, 4), "PadOptions", {}),
        "MIRROR_PAD": (
            [x, numbers([0, 0], [1, 1], [1, 1], [0, 0])], activation(dtype, 1, 10, 10, 4), "MirrorPadOptions", {},
        ),
        "SLICE": ([x, numbers(0, 1, 1, 0), numbers(1, 4, 4, 4)], activation(dtype, 1, 4, 4, 4), "SliceOptions", {}),
        "STRIDED_SLICE": (
            [x, numbers(0, 0, 0, 0), numbers(1, 4, 4, 4), numbers(1, 1, 1, 1)], activation(dtype, 1, 4, 4, 4),
            "StridedSliceOptions", {},
        ),
        "SOFTMAX": ([activation(dtype, 1, 8)], activation(dtype, 1, 8), "SoftmaxOptions", {"beta": 1.0}),
        "EXPAND_DIMS": ([x, numbers(0)], activation(dtype, 1, *_X), "ExpandDimsOptions", {}),
        "SQUEEZE": ([activation(dtype, 1, 1, 8)], activation(dtype, 1, 8), "SqueezeOptions", {"squeezeDims": [1]}),
        "LEAKY_RELU": ([x], x, "LeakyReluOptions", {"alpha": 0.1}),
        "GELU": ([x], x, "GeluOptions", {}),
        "RESIZE_BILINEAR": ([x, numbers(16, 16)], activation(dtype, 1, 16, 16, 4), "ResizeBilinearOptions", {}),
        "RESIZE_NEAREST_NEIGHBOR": (
            [x, numbers(16, 16)], activation(dtype, 1, 16, 16, 4), "ResizeNearestNeighborOptions", {},
        ),
        "SPACE_TO_DEPTH": ([x], activation(dtype, 1, 4, 4, 16), "SpaceToDepthOptions", {"blockSize": 2}),
        "DEPTH_TO_SPACE": ([x], activation(dtype, 1, 16, 16, 1), "DepthToSpaceOptions", {"blockSize": 2}),
        "GATHER": ([x, numbers(0, 2)], activation(dtype, 1, 8, 8, 2), "GatherOptions", {"axis": 3}),
        "TILE": ([x, numbers(1, 1, 1, 2)], activation(dtype, 1, 8, 8, 8), "TileOptions", {}),
        "ARG_MAX": (
            [x, dataclasses.replace(numbers(3), shape=[], data=np.array(3, np.int32))],
            Tensor(shape=_X[:3], dtype="int32"), "ArgMaxOptions", {"outputType": 2},
        ),
        "CAST": ([x], Tensor(shape=_X, dtype="int32"), "CastOptions", {}),
    }  # fmt: skip
    for name in ("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"):
        cases[name] = (
            [x], activation(dtype, 1, 4, 4, 4), "Pool2DOptions",
            {"strideW": 2, "strideH": 2, "filterWidth": 2, "filterHeight": 2},
        )  # fmt: skip
    for name in _REDUCE:
        cases[name] = ([x, numbers(1, 2)], activation(dtype, 1, 4), "ReducerOptions", {})
    for name, table in _BINARY.items():
        second = activation(dtype, 1, 1, 1, 4) if name != "PRELU" else w(4)
        if name == "PRELU" and second.scale:
            second = dataclasses.replace(second, scale=[0.02])
        cases[name] = ([x, second], x, table, {})
    for name in _UNARY:
        cases[name] = ([x], x, "", {})
    if dtype in {"int8", "int16"}:
        for name, (scale, zero) in _FIXED.items():
            taken, given, table, options = cases[name]
            fixed = (scale, zero) if dtype == "int8" else (1 / 32768, 0)
            cases[name] = (taken, dataclasses.replace(given, scale=[fixed[0]], zero_point=fixed[1]), table, options)
    return cases


OPERATORS = tuple(_cases("float32"))


def write(path: Path, name: str, dtype: str) -> Path:
    """Write a file with one operator of that name, whose inputs and outputs are of that type."""
    inputs, output, table, options = _cases(dtype)[name]
    tensors = {f"i{index}": each for index, each in enumerate(inputs)} | {"o": output}
    given = [each for each, tensor in tensors.items() if tensor.data is None and each != "o"]
    node = Operator(name=name, inputs=[*tensors][:-1], outputs=["o"], table=table, options=options)
    return write_tflite(path, tensors, [node], given, ["o"])


def write_all(path: Path, dtype: str) -> Path:
    """Write a file with all of them side by side, each with inputs of its own; its output has the operator's name."""
    tensors: dict[str, Tensor] = {}
    nodes = []
    for name, (inputs, output, table, options) in _cases(dtype).items():
        taken = {f"{name}/{index}": each for index, each in enumerate(inputs)}
        tensors |= taken | {name: output}
        nodes.append(Operator(name=name, inputs=[*taken], outputs=[name], table=table, options=options))
    given = [name for name, tensor in tensors.items() if tensor.data is None and name not in OPERATORS]
    return write_tflite(path, tensors, nodes, given, list(OPERATORS))
