"""Rounding and its gradients against the papers' formulas in NumPy float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnxruntime import InferenceSession
from torch import nn

from edgekd.errors import ExportError
from edgekd.quantizers.onnx import quantize as quantize_onnx
from edgekd.records import QuantizationPlan
from edgekd.simulation import FakeQuantizer, HalfWeights, WeightQuantizer, fake_quantizers, fold, ranges, simulate

VALUES = np.random.default_rng(0).normal(size=(3, 50)).astype(np.float32) * 2


def expected(values: NDArray[np.float32], low: float, high: float, bits: int) -> tuple[NDArray[np.float64], float]:
    """The TFLite quantization specification: 8 bits with a zero point, 16 bits without."""
    if bits == 8:
        scale = (max(high, 0) - min(low, 0)) / 255
        zero_point = round(-128 - min(low, 0) / scale)
        integers = np.clip(np.round(values.astype(np.float64) / scale) + zero_point, -128, 127)
    else:
        scale, zero_point = max(high, -low) / 32767, 0
        integers = np.clip(np.round(values.astype(np.float64) / scale), -32767, 32767)
    return (integers - zero_point) * scale, scale


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("low", "high"), [(-1.3, 3.1), (0.0, 2.0), (-4.0, 0.0), (0.5, 2.0), (-3.0, -1.0)])
def test_activations_are_rounded_as_files_round_them(bits: int, low: float, high: float) -> None:
    quantizer = FakeQuantizer("a", bits=bits, low=low, high=high)
    rounded, scale = expected(VALUES, low, high, bits)
    given = quantizer(torch.from_numpy(VALUES)).detach().numpy()
    # A number in the middle between two integers may go either way in float32.
    errors = np.abs(given - rounded)
    assert (errors < 1e-2 * scale).mean() > 0.99
    assert errors.max() < 1.01 * scale


@pytest.mark.parametrize("bits", [8, 16])
def test_a_range_that_was_read_gives_the_same_rounding(bits: int) -> None:
    one = FakeQuantizer("a", bits=bits, low=-1.234, high=3.21)
    other = FakeQuantizer("b", bits=bits, low=0, high=1)
    other.set_range(*one.range())
    assert float(other.zero_point) == float(one.zero_point)
    torch.testing.assert_close(other.scale, one.scale, rtol=1e-6, atol=0)


def test_kernels_fix_the_scale_of_a_softmax() -> None:
    # `kernels/activations.cc`: 1/256 and -128, of 16 bits 1/32768 and 0; tanh 1/128 and 0.
    for bits, low, scale, zero_point in ((8, 0.0, 1 / 256, -128), (16, 0.0, 1 / 32768, 0), (8, -1.0, 1 / 128, 0)):
        quantizer = FakeQuantizer("a", bits=bits, low=low, high=1.0, fixed=True)
        assert (quantizer.scale.item(), quantizer.zero_point.item()) == (scale, zero_point)
        assert not quantizer.scale.requires_grad


def test_gradients_are_those_of_lsq() -> None:
    quantizer = FakeQuantizer("a", bits=8, low=-0.5, high=1.5)
    inputs = torch.from_numpy(VALUES).requires_grad_()
    slopes = np.random.default_rng(1).normal(size=VALUES.shape)
    (quantizer(inputs) * torch.from_numpy(slopes).float()).sum().backward()
    scale, zero_point = quantizer.scale.item(), quantizer.zero_point.item()
    low, high = -128 - zero_point, 127 - zero_point
    steps = VALUES.astype(np.float64) / scale
    # Esser et al. 2020, equations 3 and 5, and g of section 2.2.
    of_scale = np.where(steps <= low, low, np.where(steps >= high, high, np.round(steps) - steps))
    of_input = np.where((steps > low) & (steps < high), slopes, 0.0)
    assert inputs.grad is not None
    assert quantizer.scale.grad is not None
    np.testing.assert_allclose(inputs.grad.numpy(), of_input, rtol=1e-6)
    share = 1 / np.sqrt(VALUES.shape[1] * high)
    np.testing.assert_allclose(float(quantizer.scale.grad), (slopes * of_scale).sum() * share, rtol=1e-4)


@pytest.mark.parametrize(("bits", "axis"), [(8, 0), (4, 0), (8, 1)])
def test_weights_are_symmetric_integers_for_each_channel(bits: int, axis: int) -> None:
    weights = np.random.default_rng(2).normal(size=(4, 3, 2, 2)).astype(np.float32)
    weights[0] *= 100
    others = tuple(each for each in range(4) if each != axis)
    largest = 2 ** (bits - 1) - 1
    scales = np.abs(weights.astype(np.float64)).max(axis=others, keepdims=True) / largest
    rounded = np.round(weights / scales) * scales
    tensor = torch.from_numpy(weights).requires_grad_()
    given = WeightQuantizer(bits, axis)(tensor)
    np.testing.assert_allclose(given.detach().numpy(), rounded, rtol=1e-5, atol=1e-6)
    # Straight through, the largest ones too.
    given.sum().backward()
    assert tensor.grad is not None
    assert (tensor.grad == 1).all()
    # Rounded once is rounded for ever.
    assert torch.equal(WeightQuantizer(bits, axis)(given.detach()), given)


def test_a_channel_of_zeros_stays_one() -> None:
    assert WeightQuantizer(8, 0)(torch.zeros(2, 3)).abs().max() == 0


def test_half_weights_are_numpy_s() -> None:
    given = HalfWeights()(torch.from_numpy(VALUES))
    np.testing.assert_array_equal(given.numpy(), VALUES.astype(np.float16).astype(np.float32))


def test_ranges_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ExportError, match="activation 'a': range nan to 1"):
        FakeQuantizer("a", bits=8, low=float("nan"), high=1.0)


def test_a_learned_range_ends_where_relu6_does_because_onnx_runtime_leaves_clipping_to_it(tmp_path: Path) -> None:
    # The quantizer takes Relu and Clip out of the file: only the range of what they gave clips then.
    layers = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.ReLU6(), nn.Conv2d(1, 1, 1, bias=False))
    for layer in (layers[0], layers[2]):
        nn.init.ones_(layer.weight)  # type: ignore[arg-type]
    inputs = np.array([-0.9, 1.0, 5.0, 7.5], np.float32).reshape(1, 1, 2, 2)
    wide = {"input": (-8.0, 8.0), "0": (-1.0, 8.0), "2": (-8.0, 8.0)}
    simulated = simulate(fold(layers, inputs), "static_wi8_ai8", ranges=wide)
    (of_relu6,) = [each for each in fake_quantizers(simulated) if each.site == "0"]
    with torch.no_grad():
        of_relu6.scale.mul_(1.5)
    assert ranges(simulated)["0"] == pytest.approx((0.0, 6.0))
    text = (
        '<ir_version: 10, opset_import: ["": 20]> g (float[n, 1, 2, 2] input) => (float[n, 1, 2, 2] logits)'
        " <float[1, 1, 1, 1] w = {1.0}, float low = {0.0}, float high = {6.0}>"
        " { c = Conv(input, w) r = Clip(c, low, high) logits = Conv(r, w) }"
    )
    onnx.save(onnx.parser.parse_model(text), tmp_path / "float.onnx")
    learned = ranges(simulated)
    named = {"input": learned["input"], "c": (-8.0, 8.0), "r": learned["0"], "logits": learned["2"]}
    plan = QuantizationPlan(precision="static_wi8_ai8", ranges=named)
    quantize_onnx(source=tmp_path / "float.onnx", plan=plan, path=tmp_path / "int8.onnx")
    session = InferenceSession(tmp_path / "int8.onnx", providers=["CPUExecutionProvider"])
    with torch.no_grad():
        outputs = simulated(torch.from_numpy(inputs)).numpy()
    np.testing.assert_allclose(session.run(None, {"input": inputs})[0], outputs, atol=1e-5)
    np.testing.assert_allclose(outputs.ravel(), [0, 1, 5, 6], atol=0.04)
