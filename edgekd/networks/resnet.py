"""CIFAR-style residual network of 6n+2 layers (He et al. 2016, "Deep Residual Learning", section 4.2)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from edgekd.errors import ConfigError
from edgekd.networks._checks import check_choice, check_count, check_image
from edgekd.networks._layers import SameConv2d, initialise, pool_all


def build(
    *,
    classes: int,
    input_shape: tuple[int, ...],
    depth: int = 20,
    width: int = 16,
    shortcut: Literal["A", "B"] = "B",
    padding: Literal["same", "symmetric"] = "same",
    stem_stride: int = 1,
) -> nn.Module:
    """Build a ResNet for small images.

    Parameters are called as in akamaster/pytorch_resnet_cifar10, whose published weights load with
    `shortcut="A", padding="symmetric"`.

    Args:
        classes: Number of logits.
        input_shape: (channels, height, width).
        depth: Layers with weights, 6n+2.
        width: Channels of the first stage; the second and third have two and four times as many.
        shortcut: Where a stage begins, "A" drops pixels and pads channels with zeros, "B" is a 1x1 convolution.
        padding: "same" pads as TFLite does and gives the smaller TFLite file; "symmetric" as the paper's code.
        stem_stride: Step of the first convolution; 2 or more for larger images.

    Returns:
        A module from (batch, channels, height, width) to logits (batch, classes).

    Raises:
        ConfigError: A depth that is not 6n+2, or another option out of range.
        DataError: Not images, or too small ones.

    >>> network = build(classes=10, input_shape=(3, 32, 32), depth=20, shortcut="A")
    >>> sum(parameter.numel() for parameter in network.parameters())
    269722
    """
    check_count("resnet", "classes", classes)
    check_count("resnet", "depth", depth)
    if depth < 8 or depth % 6 != 2:
        raise ConfigError(
            f"depth = {depth}",
            where="network resnet",
            allowed="6n+2: 8, 14, 20, 26, 32, 38, 44, 50, 56, ...",
            next_step=f"use {max(8, 6 * round((depth - 2) / 6) + 2)}",
        )
    check_count("resnet", "width", width)
    check_count("resnet", "stem_stride", stem_stride)
    check_choice("resnet", "shortcut", shortcut, ("A", "B"))
    check_choice("resnet", "padding", padding, ("same", "symmetric"))
    channels = check_image("resnet", input_shape, at_least=4 * stem_stride)
    network = _ResNet(
        channels=channels,
        classes=classes,
        blocks=(depth - 2) // 6,
        width=width,
        shortcut=shortcut,
        same=padding == "same",
        stem_stride=stem_stride,
    )
    initialise(network)
    return network


def _conv(inputs: int, outputs: int, kernel: int, *, stride: int, same: bool) -> nn.Conv2d:
    if same:
        return SameConv2d(inputs, outputs, kernel, stride=stride, bias=False)
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)


class _ResNet(nn.Module):
    def __init__(
        self, *, channels: int, classes: int, blocks: int, width: int, shortcut: str, same: bool, stem_stride: int
    ) -> None:
        super().__init__()
        self.conv1 = _conv(channels, width, 3, stride=stem_stride, same=same)
        self.bn1 = nn.BatchNorm2d(width)

        def stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
            first = _Block(inputs, outputs, stride=stride, shortcut=shortcut, same=same)
            rest = (_Block(outputs, outputs, stride=1, shortcut=shortcut, same=same) for _ in range(blocks - 1))
            return nn.Sequential(first, *rest)

        self.layer1 = stage(width, width, 1)
        self.layer2 = stage(width, 2 * width, 2)
        self.layer3 = stage(2 * width, 4 * width, 2)
        self.linear = nn.Linear(4 * width, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(inputs)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(pool_all(x))
        return logits


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, *, stride: int, shortcut: str, same: bool) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, outputs, 3, stride=stride, same=same)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = _conv(outputs, outputs, 3, stride=1, same=same)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module
        if stride == 1 and inputs == outputs:
            self.shortcut = nn.Sequential()
        elif shortcut == "A":
            self.shortcut = _PadChannels(outputs - inputs, stride)
        else:
            self.shortcut = nn.Sequential(_conv(inputs, outputs, 1, stride=stride, same=same), nn.BatchNorm2d(outputs))

    def forward(self, inputs: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(inputs)))
        x = self.bn2(self.conv2(x))
        return functional.relu(x + self.shortcut(inputs))


class _PadChannels(nn.Module):
    """Every stride-th pixel, with as many channels of zeros before the others as behind."""

    def __init__(self, extra: int, stride: int) -> None:
        super().__init__()
        self.extra, self.stride = extra, stride

    def forward(self, inputs: Tensor) -> Tensor:
        before = self.extra // 2
        pixels = inputs[:, :, :: self.stride, :: self.stride]
        return functional.pad(pixels, (0, 0, 0, 0, before, self.extra - before))
