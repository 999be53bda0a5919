"""What Vela leaves on the CPU: operators and constraints of Arm's Ethos-U.

Source: ethos-u-vela 5.2.0, `vela --supported-ops-report`; `tests/lints` lets the installed Vela compile the same files.
Left out are constraints on the content of weights and on the shapes of transposed and reduced tensors of more than
65,536 elements. Of Ethos-U85, which does more, those that it shares.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from edgekd.inspection import Anatomy, Node, Value
from edgekd.lints._graph import data_of
from edgekd.records import Target

VERSION = "5.2.0"

_U55_NAMES = """
    ABS ADD ARG_MAX AVERAGE_POOL_2D BATCH_MATMUL CONCATENATION CONV_2D DEPTHWISE_CONV_2D ELU EXP EXPAND_DIMS
    FULLY_CONNECTED GELU HARD_SWISH LEAKY_RELU LOG LOGISTIC MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG PACK PAD
    PADV2 PRELU QUANTIZE REDUCE_MAX REDUCE_MIN RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR
    RESIZE_NEAREST_NEIGHBOR REVERSE_V2 RSQRT SLICE SOFTMAX SPLIT SPLIT_V SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB
    SUM TANH TILE TRANSPOSE TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK
"""
_U55 = frozenset(_U55_NAMES.split())
_U85_NAMES = """
    ASSIGN_VARIABLE CAST DIV EQUAL GATHER GREATER GREATER_EQUAL LESS LESS_EQUAL LOGICAL_AND LOGICAL_NOT LOGICAL_OR
    NOT_EQUAL READ_VARIABLE REDUCE_ALL REDUCE_ANY SCATTER_ND SELECT SELECT_V2
"""
_U85 = _U55 | frozenset(_U85_NAMES.split())
_TYPES = ("int8", "uint8", "int16", "int32", "int64")
_OWN_TYPES = {
    "ELU": ("int8",),
    "GELU": ("int8", "uint8"),
    "LOG": ("int8", "int16"),
    "RSQRT": ("int8", "int16"),
    "MEAN": ("int8", "uint8", "int16"),
    "HARD_SWISH": ("int8", "uint8"),
    "ARG_MAX": ("int8", "uint8"),
}
# Ethos-U55 and U65 do these in 32 bits; RESHAPE and its like only move.
_INT32_NAMES = "ADD SUB MUL NEG SUM RESHAPE SQUEEZE EXPAND_DIMS MIRROR_PAD TRANSPOSE ARG_MAX FULLY_CONNECTED"
_INT32 = frozenset(_INT32_NAMES.split())
_UNQUANTIZED_NAMES = "ARG_MAX EXPAND_DIMS MIRROR_PAD PAD PADV2 QUANTIZE TRANSPOSE RESHAPE SQUEEZE CAST"
_UNQUANTIZED = frozenset(_UNQUANTIZED_NAMES.split())
_WITH_WEIGHTS = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1}
_CONSTANT_PARAMETERS = {"MEAN", "MIRROR_PAD", "PAD", "PADV2", "SLICE", "STRIDED_SLICE", "TRANSPOSE"}
_VALID = 1  # tflite's enumeration Padding
_MOST_STRIDE = 3
_MOST_KERNEL, _MOST_SAME_KERNEL = 256, 8
_MOST_ARG_MAX = 127


def why_left(node: Node, accelerator: str) -> str | None:
    """Say why an operator would run on the CPU, or nothing when the accelerator takes it.

    Args:
        node: An operator of a TFLite file.
        accelerator: As Vela calls it, such as `ethos-u55-128`.
    """
    larger = accelerator.startswith("ethos-u85")
    if node.operator not in (_U85 if larger else _U55):
        return "it is none that the accelerator has"
    return next(_reasons(node, larger=larger), None)


def on_cpu(graph: Anatomy, target: Target) -> Iterator[Node]:
    """Operators that the target's runtime runs itself: all, or those that Vela leaves to it."""
    for node in graph.nodes:
        if target.accelerator is None or node.domain or why_left(node, target.accelerator):
            yield node


def _reasons(node: Node, *, larger: bool) -> Iterator[str]:
    values = [each for each in (*node.inputs, *node.outputs) if each is not None]
    for value in values:
        allowed = (*_TYPES, "bool") if larger else _TYPES
        if value.dtype not in allowed:
            yield f"a tensor of it is {value.dtype}; the accelerator takes {', '.join(allowed)}"
        if None in value.shape[1:]:
            yield "a tensor of it has dynamic dimensions after the first"
    yield from _types(node, larger=larger)
    yield from _quantization(node, values)
    yield from _constants(node)
    yield from _windows(node)


def _types(node: Node, *, larger: bool) -> Iterator[str]:
    data = data_of(node)
    if data is None:
        return
    allowed = _OWN_TYPES.get(node.operator)
    if node.operator == "BATCH_MATMUL" and not larger:
        allowed = ("int8",)
    if allowed and data.dtype not in allowed:
        yield f"its data is {data.dtype}; the accelerator takes {', '.join(allowed)}"
    if data.dtype == "int32" and not larger and node.operator not in _INT32:
        yield "its data is int32, which the accelerator takes of few operators"


def _quantization(node: Node, values: list[Value]) -> Iterator[str]:
    for value in values:
        if value.dtype in ("int8", "uint8", "int16") and not value.channels and node.operator not in _UNQUANTIZED:
            yield "a tensor of it has no scale"
        if value.channels > 1 and node.operator not in _WITH_WEIGHTS:
            yield "a tensor of it has a scale for each channel"
    if node.operator in ("MAXIMUM", "MINIMUM"):
        scales = {(each.scale, each.zero_point) for each in values}
        if len(scales) > 1:
            yield "its inputs and its output have not one scale"


def _constants(node: Node) -> Iterator[str]:
    if node.operator in _WITH_WEIGHTS:
        weights = node.inputs[_WITH_WEIGHTS[node.operator]]
        if weights is not None and weights.dtype not in ("int8", "uint8"):
            yield f"its weights are {weights.dtype}; the accelerator takes 8 bits"
        bias = node.inputs[-1] if len(node.inputs) > (3 if node.operator == "TRANSPOSE_CONV" else 2) else None
        if bias is not None and not bias.constant:
            yield "its bias is computed"
    if node.operator in _CONSTANT_PARAMETERS and any(each and not each.constant for each in node.inputs[1:]):
        yield "its parameters are computed"
    if node.operator == "GATHER" and node.options.get("axis", 0) != node.options.get("batchDims", 0):
        yield "it does not gather along the axis after its batch dimensions"
    if node.operator == "ARG_MAX":
        data, axis = node.inputs[0], node.inputs[1]
        if data is not None and axis is not None and axis.content:
            if axis.content[0] % len(data.shape) != len(data.shape) - 1:
                yield "it does not run along the last axis"
            elif (data.shape[-1] or 0) > _MOST_ARG_MAX:
                yield f"its last axis has {data.shape[-1]} entries; the accelerator takes {_MOST_ARG_MAX}"


def _windows(node: Node) -> Iterator[str]:
    options = {name: value for name, value in node.options.items() if isinstance(value, int)}
    stride = max(options.get("strideW", 1), options.get("strideH", 1))
    dilation = max(options.get("dilationWFactor", 1), options.get("dilationHFactor", 1))
    valid = options.get("padding") == _VALID
    free = node.operator in ("CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D") and valid and dilation == 1
    if node.operator != "TRANSPOSE_CONV" and stride > _MOST_STRIDE and not free:
        yield f"its stride is {stride}; the accelerator takes {_MOST_STRIDE}"
    if node.operator in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        height, width = options.get("filterHeight", 1), options.get("filterWidth", 1)
        if node.operator == "AVERAGE_POOL_2D" and not valid and max(height, width) > _MOST_SAME_KERNEL:
            yield f"its window is {height}x{width}; padded, the accelerator takes {_MOST_SAME_KERNEL}"
        elif height > _MOST_KERNEL or height * width > _MOST_KERNEL**2:
            yield f"its window is {height}x{width}; the accelerator takes {_MOST_KERNEL}x{_MOST_KERNEL}"
    if node.operator in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
        yield from _resizing(node)


def _resizing(node: Node) -> Iterator[str]:
    before, after = node.inputs[0], node.outputs[0]
    if before is None or None in (*before.shape, *after.shape) or before.shape == after.shape:
        return
    (height, width), (tall, wide) = (tuple(each.shape[1:3]) for each in (before, after))
    if height is None or width is None or tall is None or wide is None or height == width == 1:
        return
    corners = 1 if node.options.get("alignCorners") else 0
    factors = {
        (out - corners) / (in_ - corners) if in_ > corners else math.inf for in_, out in ((height, tall), (width, wide))
    }
    allowed = (2,) if node.operator == "RESIZE_BILINEAR" and node.options.get("halfPixelCenters") else (2, 4, 8)
    if len(factors) > 1 and 1 not in (tall, wide):
        yield "it does not scale height and width alike"
    elif not factors & set(allowed):
        yield f"it scales by {max(factors):g}; the accelerator takes {', '.join(str(each) for each in allowed)}"
