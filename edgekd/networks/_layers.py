"""Layers that networks share: a convolution that pads as TFLite does, the last pooling, and the initialisation."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Padding before and after one dimension, as TFLite's SAME has it.

    total = max((ceil(size / stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0); the odd one goes
    behind (TensorFlow Lite, `kernels/padding.h`).

    Args:
        size: Input size in pixels.
        kernel: Kernel size in pixels.
        stride: Step in pixels.
        dilation: Distance of the kernel's taps in pixels.

    Returns:
        Pixels before and behind.

    >>> same_padding(32, 3, 2, 1), same_padding(32, 3, 1, 1), same_padding(33, 3, 2, 1)
    ((0, 1), (1, 1), (1, 1))
    """
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


class SameConv2d(nn.Conv2d):
    """A convolution whose output is ceil(input / stride), padded exactly as TFLite's SAME.

    `Conv2d(stride=2, padding=1)` pads an even image at its top and left, where SAME pads at its bottom and
    right; in a TFLite file that costs a PAD before each such convolution.

    Args:
        in_channels: Channels in.
        out_channels: Channels out.
        kernel_size: (height, width) or one number for both.
        stride: Likewise.
        dilation: Likewise.
        groups: As in `Conv2d`; `in_channels` for a depthwise convolution.
        bias: Whether to add one.

    >>> import torch
    >>> SameConv2d(3, 8, 3, stride=2)(torch.zeros(1, 3, 33, 32)).shape
    torch.Size([1, 8, 17, 16])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] = 1,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride=stride, dilation=dilation, groups=groups, bias=bias
        )

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - Conv2d's own name for it
        """Convolve.

        Args:
            input: (batch, in_channels, height, width).

        Returns:
            (batch, out_channels, ceil(height / stride), ceil(width / stride)).
        """
        (top, bottom), (left, right) = (
            same_padding(input.shape[2 + axis], self.kernel_size[axis], self.stride[axis], self.dilation[axis])
            for axis in (0, 1)
        )
        padding = (top, left)
        # The convolution's own padding where it will do: exporters turn it into SAME by themselves.
        if (top, left) != (bottom, right):
            input, padding = functional.pad(input, (left, right, top, bottom)), (0, 0)  # noqa: A001
        return functional.conv2d(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


def pool_all(features: Tensor) -> Tensor:
    """Average each channel over all pixels.

    A mean without `keepdim` would leave a TRANSPOSE before it in TFLite files.

    Args:
        features: (batch, channels, height, width).

    Returns:
        (batch, channels).

    >>> import torch
    >>> pool_all(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]]))
    tensor([[3.]])
    """
    return functional.adaptive_avg_pool2d(features, 1).flatten(1)


def initialise(network: nn.Module) -> None:
    """Draw the weights of all convolutions and linear layers from N(0, 2 / fan_in); biases become 0.

    He et al. 2015, "Delving Deep into Rectifiers", equation 10. Draws from torch's global generator.

    Args:
        network: Changed in place.

    >>> layer = nn.Linear(4, 2)
    >>> initialise(layer)
    >>> layer.bias.tolist()
    [0.0, 0.0]
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
