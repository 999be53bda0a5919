"""The perceptron against its formula in NumPy float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgekd.errors import ConfigError
from edgekd.networks import mlp


@settings(max_examples=30, deadline=None)
@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    hidden=st.lists(st.integers(1, 9), max_size=3),
    classes=st.integers(1, 5),
)
def test_is_relu_between_matrix_products(shape: list[int], hidden: list[int], classes: int) -> None:
    torch.manual_seed(0)
    network = mlp.build(
        classes=classes, input_shape=tuple(shape), hidden=tuple(hidden), dropout=0.3, input_dropout=0.2
    ).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    inputs = torch.randn(3, *shape)
    expected = inputs.double().numpy().reshape(3, -1)
    layers = [each for each in network.modules() if isinstance(each, nn.Linear)]
    assert [layer.out_features for layer in layers] == [*hidden, classes]
    for position, layer in enumerate(layers):
        if position:
            expected = np.maximum(expected, 0)
        expected = expected @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()
    with torch.no_grad():
        np.testing.assert_allclose(network(inputs).numpy(), expected, rtol=1e-4, atol=1e-4)


def test_input_dropout_drops_that_share_of_inputs_and_scales_the_others() -> None:
    torch.manual_seed(0)
    network = mlp.build(classes=1, input_shape=(100, 100), hidden=(), input_dropout=0.2).train()
    *_, linear = network.modules()
    assert isinstance(linear, nn.Linear)
    with torch.no_grad():
        linear.weight.fill_(1.0)
        linear.bias.zero_()
        kept = float(network(torch.ones(1, 100, 100))) * (1 - 0.2) / 10_000
    # A binomial share of 10,000 draws; five standard deviations are 0.02.
    assert abs(kept - 0.8) < 0.02
    assert kept != 0.8


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_of_inputs_that_leaves_nothing_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match=f"input_dropout = {share}"):
        mlp.build(classes=2, input_shape=(4,), input_dropout=share)
