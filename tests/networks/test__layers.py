"""SAME padding against TFLite's own kernels, and the initialisation against its formula."""

from __future__ import annotations

import flatbuffers
import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from edgekd.networks._layers import SameConv2d, initialise, same_padding

Array = NDArray[np.float32]


def tflite_conv(
    images: Array, weight: Array, bias: Array, stride: tuple[int, int], dilation: tuple[int, int], *, depthwise: bool
) -> Array:
    """Run one (DEPTHWISE_)CONV_2D with SAME in TFLite's reference kernels, NCHW in and out."""
    filters = weight.transpose(1, 2, 3, 0) if depthwise else weight.transpose(0, 2, 3, 1)
    x = images.transpose(0, 2, 3, 1)
    options = (schema.DepthwiseConv2DOptionsT if depthwise else schema.Conv2DOptionsT)(
        padding=schema.Padding.SAME,
        strideH=stride[0],
        strideW=stride[1],
        dilationHFactor=dilation[0],
        dilationWFactor=dilation[1],
    )
    if depthwise:
        options.depthMultiplier = 1
    kind = schema.BuiltinOperator.DEPTHWISE_CONV_2D if depthwise else schema.BuiltinOperator.CONV_2D
    buffers = [schema.BufferT(), schema.BufferT(), schema.BufferT()]
    buffers += [schema.BufferT(data=np.frombuffer(part.tobytes(), np.uint8)) for part in (filters, bias)]
    outputs = (len(x), -(-x.shape[1] // stride[0]), -(-x.shape[2] // stride[1]), len(bias))
    tensors = [
        schema.TensorT(shape=list(shape), type=schema.TensorType.FLOAT32, buffer=buffer, name=f"t{buffer}")
        for buffer, shape in ((1, x.shape), (2, outputs), (3, filters.shape), (4, bias.shape))
    ]
    operator = schema.OperatorT(
        opcodeIndex=0,
        inputs=[0, 2, 3],
        outputs=[1],
        builtinOptionsType=schema.BuiltinOptions.DepthwiseConv2DOptions
        if depthwise
        else schema.BuiltinOptions.Conv2DOptions,
        builtinOptions=options,
    )
    model = schema.ModelT(
        version=3,
        operatorCodes=[schema.OperatorCodeT(deprecatedBuiltinCode=kind, builtinCode=kind, version=2)],
        subgraphs=[schema.SubGraphT(tensors=tensors, inputs=[0], outputs=[1], operators=[operator])],
        buffers=buffers,
    )
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    interpreter = Interpreter(
        model_content=bytes(builder.Output()), experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(0, np.ascontiguousarray(x))
    interpreter.invoke()
    found: Array = interpreter.get_tensor(1).transpose(0, 3, 1, 2)
    return found


sides = st.tuples(st.integers(1, 13), st.integers(1, 13))


@settings(max_examples=150, deadline=None)
@given(
    size=sides,
    kernel=st.tuples(st.integers(1, 10), st.integers(1, 5)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    depthwise=st.booleans(),
)
def test_same_is_tflites_same(
    size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int], depthwise: bool
) -> None:
    channels = 3
    layer = SameConv2d(
        channels,
        channels if depthwise else 2,
        kernel,
        stride=stride,
        dilation=dilation,
        groups=channels if depthwise else 1,
    )
    random = np.random.default_rng(0)
    images = random.standard_normal((2, channels, *size)).astype(np.float32)
    assert layer.bias is not None
    expected = tflite_conv(
        images, layer.weight.detach().numpy(), layer.bias.detach().numpy(), stride, dilation, depthwise=depthwise
    )
    with torch.no_grad():
        found = layer(torch.from_numpy(images)).numpy()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@given(st.integers(1, 300), st.integers(1, 11), st.integers(1, 4), st.integers(1, 3))
def test_the_last_window_ends_in_the_padding_or_on_the_edge(size: int, kernel: int, stride: int, dilation: int) -> None:
    before, behind = same_padding(size, kernel, stride, dilation)
    reach = (kernel - 1) * dilation + 1
    assert (size + before + behind - reach) // stride + 1 == -(-size // stride)
    assert before <= behind <= before + 1


def test_channels_last_gives_the_same() -> None:
    layer = SameConv2d(3, 4, 3, stride=2)
    images = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(layer(images.to(memory_format=torch.channels_last)), layer(images))


@pytest.mark.parametrize("layer", [nn.Conv2d(64, 128, 3), nn.Linear(576, 128)], ids=["convolution", "linear"])
def test_weights_have_the_variance_of_he_et_al(layer: nn.Module) -> None:
    torch.manual_seed(0)
    initialise(layer)
    weight = next(layer.parameters()).detach().double().numpy()
    # 73,728 draws: the variance's standard error is 0.5 % of it.
    assert np.var(weight) == pytest.approx(2 / 576, rel=0.03)
    assert not list(layer.parameters())[1].any()
