"""Evens out the channels between layers, without changing what the network computes (Nagel et al. 2019)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from edgekd.corrections._checks import check_count
from edgekd.simulation import kind_of, operators

# f(s x) = s f(x) for s > 0; a ReLU6 bends at 6, whatever the scale.
_HOMOGENEOUS = ("ReLU", "LeakyReLU", "PReLU", "relu", "relu_", "leaky_relu")
# Pooling and padding of maps (N, C, ...): nothing is mixed between channels, and zeros stay zeros.
_CHANNELWISE = (
    *("MaxPool1d", "MaxPool2d", "max_pool1d", "max_pool2d", "AvgPool1d", "AvgPool2d", "avg_pool1d", "avg_pool2d"),
    *("AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d"),
    *("ZeroPad1d", "ZeroPad2d"),
)
_FLATTENING = ("Flatten", "flatten", "reshape", "view")
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
# Below a thousandth nothing changes that a scale of 8 bits shows.
_ENOUGH = 1e-3


def correct(*, network: fx.GraphModule, iterations: int = 20) -> fx.GraphModule:
    """Scale output channels of layers down and the next layers' input channels up, until both have equal ranges.

    s_i = sqrt(r1_i r2_i) / r2_i, W1 = S^-1 W1, b1 = S^-1 b1, W2 = W2 S, with r1_i the range of output channel i of the
    first layer and r2_i that of input channel i of the second (Nagel et al. 2019, arXiv:1906.04721, equation 11). Pairs
    are layers of which only the second one reads the first one, with a ReLU, pooling or nothing between them; a ReLU6
    ends a pair. It evens out the ranges of activations, which share one scale; weights have one for each channel.

    Args:
        network: From `edgekd.simulation.fold`; not changed.
        iterations: Passes over all pairs at most.

    Returns:
        Another network with the same outputs, up to float32's rounding.

    Raises:
        ConfigError: Not a whole number of passes.

    >>> import numpy as np
    >>> from edgekd.simulation import fold
    >>> folded = fold(nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 1)), np.zeros((1, 1), "f"))
    >>> _ = folded.get_submodule("0").weight.data.copy_(torch.tensor([[100.0], [1.0]]))
    >>> _ = folded.get_submodule("2").weight.data.copy_(torch.tensor([[1.0, 4.0]]))
    >>> correct(network=folded).get_submodule("0").weight.flatten().tolist()
    [10.0, 2.0]
    """
    check_count("equalization", "iterations", iterations)
    corrected = copy.deepcopy(network)
    pairs = list(_pairs(corrected))
    for _ in range(iterations):
        if not max((_equalize(pair) for pair in pairs), default=0.0) > _ENOUGH:
            break
    return corrected


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """Two layers.

    Attributes:
        first: Its output channels are scaled.
        second: Its input channels are scaled.
        numbers: Input channels of the second for each output channel of the first: pixels that were flattened.
    """

    first: Any
    second: Any
    numbers: int


def _pairs(network: fx.GraphModule) -> Iterator[_Pair]:
    layers: dict[fx.Node, Any] = {
        each.node: each.layer for each in operators(network).values() if each.layer is not None
    }
    calls = [node.target for node in layers]
    for node, first in layers.items():
        reader = _reader(network, layers, node)
        # Weights of transposed convolutions are (in, out / groups, ...): the other way round, and rare.
        if reader is None or not all(isinstance(each, (*_CONVOLUTIONS, nn.Linear)) for each in (first, layers[reader])):
            continue
        second = layers[reader]
        # A layer that is called twice has other neighbours as well.
        if calls.count(node.target) > 1 or calls.count(reader.target) > 1:
            continue
        channels, inputs = int(first.weight.shape[0]), int(second.weight.shape[1]) * int(getattr(second, "groups", 1))
        if inputs % channels == 0:
            yield _Pair(first=first, second=second, numbers=inputs // channels)


def _reader(network: fx.GraphModule, layers: Mapping[fx.Node, Any], first: fx.Node) -> fx.Node | None:
    """Follow what a layer gives to the only layer that reads it; `None` where something else is on the way."""
    node, linear = first, isinstance(layers[first], nn.Linear)
    while len(node.users) == 1:
        (reader,) = node.users
        shape = node.meta["shape"]
        if reader in layers:
            # Linear layers read the last dimension, convolutions the second.
            same = len(shape) == 2 or isinstance(layers[reader], nn.Linear) == linear
            return reader if same else None
        kind, after = kind_of(network, reader), reader.meta["shape"]
        if kind in _FLATTENING and not linear and after is not None:
            # (N, C, ...) to (N, C * ...): a channel's numbers stay together.
            kept = len(after) == 2 and after[0] == shape[0] and after[1] % shape[1] == 0
        else:
            kept = kind in _HOMOGENEOUS or (kind in _CHANNELWISE and not linear)
        if not kept:
            return None
        node = reader
    return None


def _equalize(pair: _Pair) -> float:
    """Scale one pair; gives the largest relative change."""
    weights = [layer.weight.detach().double() for layer in (pair.first, pair.second)]
    groups = int(getattr(pair.second, "groups", 1))
    # Of the second: group, output channel, input channel, and all else.
    columns = weights[1].reshape(groups, weights[1].shape[0] // groups, weights[1].shape[1], -1)
    ranges1 = weights[0].abs().flatten(1).amax(dim=1)
    ranges2 = columns.abs().amax(dim=(1, 3)).reshape(-1, pair.numbers).amax(dim=1)
    scales = (ranges1 * ranges2).sqrt() / ranges2
    # A channel that is always 0, or that nobody reads, needs no scale.
    scales = torch.where((ranges1 > 0) & (ranges2 > 0), scales, torch.ones_like(scales))
    spread = scales.repeat_interleave(pair.numbers).reshape(groups, 1, -1, 1)
    _store(pair.first, weights[0] / scales.reshape(-1, *[1] * (weights[0].ndim - 1)))
    bias = pair.first.bias
    if isinstance(bias, Tensor):
        with torch.no_grad():
            bias.copy_(bias.double() / scales)
    _store(pair.second, (columns * spread).reshape(weights[1].shape))
    return float((scales - 1).abs().max())


def _store(layer: Any, weight: Tensor) -> None:
    with torch.no_grad():
        layer.weight.copy_(weight)
