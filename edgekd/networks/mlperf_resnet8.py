"""MLPerf Tiny's image classification network, ResNet-8 (Banbury et al. 2021, "MLPerf Tiny Benchmark")."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from edgekd.networks._checks import check_count, check_image
from edgekd.networks._layers import SameConv2d, initialise


def build(
    *,
    classes: int,
    input_shape: tuple[int, ...],
    width: int = 16,
) -> nn.Module:
    """Build MLPerf Tiny's ResNet-8, v0.1, layer by layer as its Keras model.

    Unlike ResNets elsewhere, its convolutions have biases and its shortcut convolutions no batch norm. With
    32 x 32 colour images, 10 classes and a width of 16 it has 78,666 parameters as Keras counts them, the
    batch norms' means and variances included.

    Args:
        classes: Number of logits.
        input_shape: (channels, height, width).
        width: Channels of the first stage; the second and third have two and four times as many.

    Returns:
        A module from (batch, channels, height, width) to logits (batch, classes).

    Raises:
        ConfigError: An option out of range.
        DataError: Not images, or too small ones.

    >>> import torch
    >>> build(classes=10, input_shape=(3, 32, 32))(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    check_count("mlperf_resnet8", "classes", classes)
    check_count("mlperf_resnet8", "width", width)
    channels = check_image("mlperf_resnet8", input_shape, at_least=4)
    network = _ResNet8(channels, classes, width)
    initialise(network)
    return network


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)  # Keras' default


class _ResNet8(nn.Module):
    def __init__(self, channels: int, classes: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(SameConv2d(channels, width, 3), _norm(width), nn.ReLU())
        self.stack1 = _Stack(width, width, stride=1)
        self.stack2 = _Stack(width, 2 * width, stride=2)
        self.stack3 = _Stack(2 * width, 4 * width, stride=2)
        self.linear = nn.Linear(4 * width, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        x = self.stack3(self.stack2(self.stack1(self.stem(inputs))))
        # AVERAGE_POOL_2D in TFLite, as in the reference: half the cycles of MEAN on an Ethos-U.
        logits: Tensor = self.linear(functional.avg_pool2d(x, (x.shape[2], x.shape[3])).flatten(1))
        return logits


class _Stack(nn.Module):
    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = SameConv2d(inputs, outputs, 3, stride=stride)
        self.bn1 = _norm(outputs)
        self.conv2 = SameConv2d(outputs, outputs, 3)
        self.bn2 = _norm(outputs)
        self.shortcut = nn.Identity() if stride == 1 else SameConv2d(inputs, outputs, 1, stride=stride)

    def forward(self, inputs: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(inputs)))
        x = self.bn2(self.conv2(x))
        # In this order, as in the reference: Vela computes the second operand first, here the one with large weights.
        return functional.relu(self.shortcut(inputs) + x)
