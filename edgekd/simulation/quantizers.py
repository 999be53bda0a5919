"""Rounds numbers in torch as integers of a file would, and lets gradients through."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from edgekd.errors import ExportError

# What ai-edge-quantizer calls the smallest range, so that no scale is 0.
_SMALLEST_RANGE = 1e-9


class FakeQuantizer(nn.Module):
    """Rounds one activation to integers with one scale for the tensor, which training may learn.

    q = clip(round(x / s) + z, q_min, q_max), y = (q - z) * s. 8 bits: any zero point z; 16 bits: z = 0 (the TFLite
    quantization specification). The gradient of s is that of Esser et al. 2020, arXiv:1902.08153, equation 3.

    Args:
        site: Name of what is quantized.
        bits: 8 or 16.
        low: Lower end of the range; 0 is always in it.
        high: Upper end.
        fixed: Whether the kernel fixes the scale: nothing is learned.
        bounds: What a fused activation gives at most. No range goes past them, since ONNX Runtime's quantizer leaves
            ReLU and ReLU6 to the ends of the range.

    >>> FakeQuantizer("relu", bits=8, low=0.0, high=2.55)(torch.tensor([-1.0, 0.013, 1.0, 9.0])).tolist()
    [0.0, 0.0099..., 1.0, 2.549...]
    """

    zero_point: Tensor

    def __init__(
        self,
        site: str,
        *,
        bits: int,
        low: float,
        high: float,
        fixed: bool = False,
        bounds: tuple[float, float] = (-math.inf, math.inf),
    ) -> None:
        super().__init__()
        self.site, self.bits, self.fixed, self.bounds = site, bits, fixed, bounds
        # 16 bits are symmetric: -32767 to 32767.
        self.q_max: int = 2 ** (bits - 1) - 1
        self.q_min: int = -128 if bits == 8 else -self.q_max
        self.scale = nn.Parameter(torch.ones(()), requires_grad=not fixed)
        self.register_buffer("zero_point", torch.zeros(()))
        self.set_range(low, high)

    def set_range(self, low: float, high: float) -> None:
        """Take the scale and zero point that quantizers derive from a range.

        Args:
            low: Lower end.
            high: Upper end.

        Raises:
            ExportError: Ends that are not finite.
        """
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ExportError(f"range {low} to {high}", where=f"activation '{self.site}'", allowed="finite ends")
        low, high = max(min(float(low), 0.0), self.bounds[0]), min(max(float(high), 0.0), self.bounds[1])
        if self.fixed:
            # Kernels divide their range in 2^bits parts.
            scale = (high - low) / 2**self.bits if self.bits == 8 else high / 2 ** (self.bits - 1)
            zero_point = round(self.q_min - low / scale) if self.bits == 8 else 0
        elif self.bits == 8:
            scale = max(high - low, _SMALLEST_RANGE) / (self.q_max - self.q_min)
            zero_point = round(self.q_min - low / scale)
        else:
            scale, zero_point = max(high, -low, _SMALLEST_RANGE) / self.q_max, 0
        with torch.no_grad():
            self.scale.fill_(scale)
            self.zero_point.fill_(zero_point)

    def range(self) -> tuple[float, float]:
        """Lower and upper end that give a quantizer this scale and zero point."""
        scale, zero_point = float(self._step().detach()), float(self.zero_point)
        low, high = (self.q_min - zero_point) * scale, (self.q_max - zero_point) * scale
        return max(low, self.bounds[0]), min(high, self.bounds[1])

    def _step(self) -> Tensor:
        """The scale, kept from growing past the bounds."""
        scale: Tensor = self.scale.abs()
        if not math.isfinite(self.bounds[1]):
            return scale
        return torch.minimum(scale, self.bounds[1] / (self.q_max - self.zero_point))

    def forward(self, inputs: Tensor) -> Tensor:
        """Round.

        Args:
            inputs: (N, ...).

        Returns:
            Of the same shape.
        """
        low, high = self.q_min - self.zero_point, self.q_max - self.zero_point
        rounded: Tensor = _RoundToScale.apply(inputs, self._step(), low, high)  # type: ignore[no-untyped-call]
        return rounded

    def extra_repr(self) -> str:
        """Show it in the printed network."""
        return f"{self.site}, bits={self.bits}"


class _RoundToScale(torch.autograd.Function):
    """y = s * clip(round(x / s), low, high), straight through, with LSQ's gradient of s."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, scale: Tensor, low: Tensor, high: Tensor) -> Tensor:
        steps = inputs / scale
        rounded = torch.clamp(torch.round(steps), low, high)
        ctx.save_for_backward(steps, rounded, low, high)
        return rounded * scale

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        steps, rounded, low, high = ctx.saved_tensors
        inside = (steps >= low) & (steps <= high)
        of_scale = None
        if ctx.needs_input_grad[1]:
            slopes = torch.where(inside, rounded - steps, rounded)
            # Section 2.2: as many numbers as a sample has, and as many steps upwards, share one scale.
            share = 1 / math.sqrt(max(1, steps[0].numel()) * max(1.0, float(high)))
            of_scale = (gradient * slopes).sum() * share
        return gradient * inside, of_scale, None, None


class WeightQuantizer(nn.Module):
    """Rounds weights to symmetric integers with a scale for each output channel; a parametrization of `weight`.

    s = max |w| / q_max over the channel, q = round(w / s), q_max = 2^(bits - 1) - 1. The scale follows the weights as
    they learn, as exporters' quantizers take it from them in the end.

    Args:
        bits: 4 or 8.
        axis: Dimension that counts output channels.

    >>> WeightQuantizer(8, 0)(torch.tensor([[1.27, 0.004], [0.5, -127.0]]))
    tensor([[   1.2700,    0.0000],
            [   0.0000, -127.0000]])
    """

    def __init__(self, bits: int, axis: int) -> None:
        super().__init__()
        self.axis = axis
        self.q_max = 2 ** (bits - 1) - 1

    def forward(self, weight: Tensor) -> Tensor:
        """Round.

        Args:
            weight: Of a layer.

        Returns:
            Of the same shape.
        """
        scales = channel_scales(weight.detach(), self.axis, self.q_max)
        zero_points = torch.zeros_like(scales, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scales, zero_points, self.axis, -self.q_max, self.q_max)


class HalfWeights(nn.Module):
    """Rounds weights to float16, straight through; a parametrization of `weight`.

    >>> HalfWeights()(torch.tensor([1.0001])).tolist()
    [1.0]
    """

    def forward(self, weight: Tensor) -> Tensor:
        """Round.

        Args:
            weight: Of a layer.

        Returns:
            Of the same shape, float32.
        """
        return weight.half().to(weight.dtype)


def channel_scales(weight: Tensor, axis: int, q_max: int) -> Tensor:
    """Give the scale that a min-max quantizer gives each output channel.

    Args:
        weight: Of a layer.
        axis: Dimension that counts output channels.
        q_max: Largest integer.

    Returns:
        (channels,), above 0.

    >>> channel_scales(torch.tensor([[1.27, 0.5], [0.0, -254.0]]), 0, 127).tolist()
    [0.0099..., 2.0]
    """
    others = [each for each in range(weight.ndim) if each != axis]
    return weight.abs().amax(dim=others).clamp_min(_SMALLEST_RANGE) / q_max
