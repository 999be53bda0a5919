"""Rounds values to integers' grids while gradients pass (LSQ: Esser et al. 2020, arXiv:1902.08153)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from edgekd.errors import ExportError
from edgekd.simulation.roles import TRANSPOSED

# Of ai-edge-quantizer, so that a channel of zeros has a scale.
_SMALLEST_RANGE = 1e-9


class FakeQuantizer(nn.Module):
    r"""Gives activations the values that integers of one scale can have; learns its range.

    .. math:: y = s \left( \operatorname{clip}\left( \operatorname{round}(x / s) + z, 0, n \right) - z \right), \quad
        s = (high - low) / n, \quad z = \operatorname{round}(-low / s)

    with n = 255 for 8 bits; 16 bits are symmetric, with n = 65534 and high = -low = max(|low|, |high|). Gradients are
    LSQ's (eq. 3 to 5): of x 1 inside the range and 0 outside, of s round(x/s) - x/s inside and the bound's distance
    from z outside, times g = 1 / sqrt(N n) with N numbers a sample. They reach `low` and `high` by the chain rule; so
    that a step moves s as far as in LSQ, where s itself is learned, g is multiplied by n^2. An end at 0 stays there.

    Args:
        site: Whose values these are.
        bits: 8 or 16.
        fixed: Ends that kernels prescribe, which are not learned.

    >>> quantizer = FakeQuantizer("input", bits=8)
    >>> quantizer.set_range(0.0, 2.55)
    >>> quantizer(torch.tensor([[-1.0, 0.014, 0.016, 3.0]])).detach()
    tensor([[0.0000, 0.0100, 0.0200, 2.5500]])
    """

    low: Tensor
    high: Tensor

    def __init__(self, site: str, *, bits: int, fixed: tuple[float, float] | None = None) -> None:
        super().__init__()
        self.site, self.bits = site, bits
        # What `observing` looks at the values with, instead of rounding them.
        self.observer: Any = None
        self.fixed = fixed is not None
        for name, end in zip(("low", "high"), fixed or (math.nan, math.nan), strict=True):
            if self.fixed:
                self.register_buffer(name, torch.tensor([end]))
            else:
                self.register_parameter(name, nn.Parameter(torch.tensor([end])))
        self.ready = self.fixed

    def set_range(self, low: float, high: float) -> None:
        """Set both ends; 0 is always inside."""
        if self.fixed:
            return
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise ExportError(f"range from {low} to {high}", where=f"activation '{self.site}'", allowed="low to high")
        with torch.no_grad():
            self.low.fill_(min(low, 0.0))
            self.high.fill_(max(high, 0.0))
        self.ready = True

    def range(self) -> tuple[float, float]:
        """Both ends as they are now."""
        return min(self.low.detach().item(), 0.0), max(self.high.detach().item(), 0.0)

    def forward(self, values: Tensor) -> Tensor:
        """Round to the grid.

        Args:
            values: (N, ...).

        Returns:
            The same shape.
        """
        if self.observer is not None:
            self.observer(self.site, values)
            return values
        return self.rounded(values, self.bits)

    def rounded(self, values: Tensor, bits: int) -> Tensor:
        """Round to the grid of so many bits over the same range."""
        if not self.ready:
            raise ExportError(
                "no range", where=f"activation '{self.site}'", next_step="give ranges, or calibrate with samples"
            )
        # An end at 0 has the gradient 0: what is never negative needs no values there.
        low, high = -torch.relu(-self.low), torch.relu(self.high)
        if bits == 16:
            steps = 2 * (2**15 - 1)
            high = torch.maximum(high, -low)
            low = -high
        else:
            steps = 2**bits - 1
        scale = torch.clamp(high - low, min=_SMALLEST_RANGE) / steps
        zero = -low / scale
        # torch truncates zero + 0.5, which is right for whole numbers from 0 on.
        zero = zero + (zero.round() - zero).detach()
        factor = steps**2 / math.sqrt(max(values[0].numel(), 1) * steps) if len(values) else 1.0
        rounded: Tensor = torch._fake_quantize_learnable_per_tensor_affine(  # noqa: SLF001 - torch.ao's own use of it
            values, scale, zero, 0, steps, factor
        )
        return rounded

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.ready = bool(torch.isfinite(self.low).all() and torch.isfinite(self.high).all())


class SameRange(nn.Module):
    """Rounds to the grid of another quantizer, with as many bits or others."""

    def __init__(self, source: FakeQuantizer, *, bits: int) -> None:
        super().__init__()
        # Hidden from torch in a tuple: its ends must not be parameters twice.
        self._source, self.bits = (source,), bits

    def forward(self, values: Tensor) -> Tensor:
        """Round to the grid, or let pass while values are observed."""
        (source,) = self._source
        return values if source.observer is not None else source.rounded(values, self.bits)


class QuantizedLayer(nn.Module):
    """A convolution or linear layer whose weights are rounded each time; gradients pass.

    Args:
        layer: With float weights, which are what is trained.
        bits: 4 or 8; 16 for float16.
    """

    def __init__(self, layer: nn.Module, *, bits: int) -> None:
        super().__init__()
        self.layer, self.bits, self.enabled = layer, bits, True

    def weight(self) -> Tensor:
        """Weights as a file would hold them."""
        weight: Any = self.layer.weight
        if self.bits == 16:
            # Adds the difference, so that the gradient of float32 weights stays float32.
            halved: Tensor = weight + (weight.half().float() - weight).detach()
            return halved
        limit = 2 ** (self.bits - 1) - 1
        scales = weight_scales(self.layer, self.bits)
        zeros = torch.zeros(len(scales), dtype=torch.int32, device=weight.device)
        axis = channel_axis(self.layer)
        rounded: Tensor = torch.fake_quantize_per_channel_affine(weight, scales, zeros, axis, -limit, limit)
        return rounded

    def forward(self, values: Tensor) -> Tensor:
        """Compute the layer with rounded weights."""
        if not self.enabled:
            result: Tensor = self.layer(values)
            return result
        rounded: Tensor = torch.func.functional_call(self.layer, {"weight": self.weight()}, (values,))
        return rounded


def channel_axis(layer: nn.Module) -> int:
    """Which dimension of a layer's weights counts output channels."""
    return 1 if isinstance(layer, TRANSPOSED) else 0


def weight_scales(layer: nn.Module, bits: int) -> Tensor:
    """Scale of each output channel's weights, as the quantizers choose it: max |w| / (2^(bits - 1) - 1).

    Args:
        layer: A convolution or linear layer.
        bits: 4 or 8.

    Returns:
        (channels,), without gradient.

    >>> layer = nn.Linear(2, 1)
    >>> layer.weight.data = torch.tensor([[0.5, -1.27]])
    >>> round(weight_scales(layer, 8).item(), 6)
    0.01
    """
    weight: Any = layer.weight
    others = [each for each in range(weight.ndim) if each != channel_axis(layer)]
    largest: Tensor = weight.detach().abs().amax(others)
    scales: Tensor = largest.clamp(min=_SMALLEST_RANGE) / (2 ** (bits - 1) - 1)
    return scales
