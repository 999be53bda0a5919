"""Multilayer perceptron with ReLU, for features, time series and small images (Rumelhart et al. 1986)."""

from __future__ import annotations

import math

from torch import nn

from edgekd.errors import ConfigError, DataError
from edgekd.networks._checks import check_count
from edgekd.networks._layers import initialise


def build(
    *,
    classes: int,
    input_shape: tuple[int, ...],
    hidden: tuple[int, ...] = (64,),
    dropout: float = 0.0,
    input_dropout: float = 0.0,
) -> nn.Module:
    """Build fully connected layers; inputs of any rank are flattened.

    Args:
        classes: Number of logits.
        input_shape: (features,), (channels, height, width) or any other.
        hidden: Widths of the hidden layers; empty for multinomial logistic regression.
        dropout: Share of each hidden layer's output dropped in training.
        input_dropout: Share of the inputs dropped in training (Hinton et al. 2012, arXiv:1207.0580, take 0.2).

    Returns:
        A module from (batch, *input_shape) to logits (batch, classes).

    Raises:
        ConfigError: An option out of range.
        DataError: An empty shape.

    >>> network = build(classes=10, input_shape=(1, 28, 28), hidden=(32,))
    >>> sum(parameter.numel() for parameter in network.parameters())
    25450
    """
    check_count("mlp", "classes", classes)
    for width in hidden:
        check_count("mlp", "hidden", width)
    for option, share in (("dropout", dropout), ("input_dropout", input_dropout)):
        if not 0 <= share < 1:
            raise ConfigError(f"{option} = {share}", where="network mlp", allowed="0 to 1, 1 excluded")
    if not input_shape or min(input_shape) < 1:
        raise DataError(
            f"the data has shape {tuple(input_shape)}", where="network mlp", allowed="one or more sizes, at least 1"
        )
    layers: list[nn.Module] = [nn.Flatten()]
    if input_dropout > 0:
        layers.append(nn.Dropout(input_dropout))
    width = math.prod(input_shape)
    for outputs in hidden:
        layers += [nn.Linear(width, outputs), nn.ReLU()]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
        width = outputs
    layers.append(nn.Linear(width, classes))
    network = nn.Sequential(*layers)
    initialise(network)
    return network
