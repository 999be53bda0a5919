"""MobileNetV1, 13 depthwise separable blocks (Howard et al. 2017, "MobileNets", table 1)."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, nn

from edgekd.errors import ConfigError
from edgekd.networks._checks import check_choice, check_count, check_image
from edgekd.networks._layers import SameConv2d, initialise, pool_all

# Channels and step of each block, before the width multiplier.
_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))


def build(
    *,
    classes: int,
    input_shape: tuple[int, ...],
    width_multiplier: float = 0.25,
    activation: Literal["relu6", "relu"] = "relu6",
    conv_bias: bool = False,
    stem_stride: int = 2,
    dropout: float = 0.0,
) -> nn.Module:
    """Build a MobileNetV1.

    MLPerf Tiny's person detector is `width_multiplier=0.25, activation="relu", conv_bias=True` on
    96 x 96 colour images with 2 classes.

    Args:
        classes: Number of logits.
        input_shape: (channels, height, width).
        width_multiplier: Factor on all channels, which stay at least 8.
        activation: "relu6" as in the ImageNet reference, "relu" as in MLPerf Tiny.
        conv_bias: Whether convolutions have biases, which the batch norm behind them makes redundant.
        stem_stride: Step of the first convolution; 1 for small images.
        dropout: Share of the last features dropped in training.

    Returns:
        A module from (batch, channels, height, width) to logits (batch, classes).

    Raises:
        ConfigError: An option out of range.
        DataError: Not images, or too small ones.

    >>> network = build(classes=1000, input_shape=(3, 224, 224))
    >>> sum(parameter.numel() for parameter in network.parameters())
    470072
    """
    check_count("mobilenet_v1", "classes", classes)
    check_choice("mobilenet_v1", "activation", activation, ("relu6", "relu"))
    check_count("mobilenet_v1", "stem_stride", stem_stride)
    if not (width_multiplier > 0 and math.isfinite(width_multiplier)):
        raise ConfigError(
            f"width_multiplier = {width_multiplier}",
            where="network mobilenet_v1",
            allowed="above 0; in the paper 0.25, 0.5, 0.75 and 1",
        )
    if not 0 <= dropout < 1:
        raise ConfigError(f"dropout = {dropout}", where="network mobilenet_v1", allowed="0 to 1, 1 excluded")
    channels = check_image("mobilenet_v1", input_shape, at_least=16 * stem_stride)
    network = _MobileNetV1(
        channels=channels,
        classes=classes,
        width_multiplier=width_multiplier,
        activation=nn.ReLU6 if activation == "relu6" else nn.ReLU,
        conv_bias=conv_bias,
        stem_stride=stem_stride,
        dropout=dropout,
    )
    initialise(network)
    return network


class _MobileNetV1(nn.Module):
    def __init__(
        self,
        *,
        channels: int,
        classes: int,
        width_multiplier: float,
        activation: type[nn.Module],
        conv_bias: bool,
        stem_stride: int,
        dropout: float,
    ) -> None:
        super().__init__()

        def scaled(width: int) -> int:
            return max(int(width * width_multiplier), 8)

        def layer(inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
            return nn.Sequential(
                SameConv2d(inputs, outputs, kernel, stride=stride, groups=groups, bias=conv_bias),
                # The reference's epsilon: depthwise channels of tiny variance would get huge folded weights.
                nn.BatchNorm2d(outputs, eps=1e-3),
                activation(),
            )

        width = scaled(32)
        self.stem = layer(channels, width, 3, stride=stem_stride)
        self.blocks = nn.Sequential()
        for block_width, stride in _BLOCKS:
            outputs = scaled(block_width)
            self.blocks.append(
                nn.Sequential(layer(width, width, 3, stride=stride, groups=width), layer(width, outputs, 1))
            )
            width = outputs
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        x = self.blocks(self.stem(inputs))
        logits: Tensor = self.linear(self.dropout(pool_all(x)))
        return logits
