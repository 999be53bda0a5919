"""DS-CNN against MLPerf Tiny's published size."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgekd.networks import ds_cnn


def test_size_is_the_published_one() -> None:
    network = ds_cnn.build(classes=12, input_shape=(1, 49, 10))
    statistics = sum(2 * each.num_features for each in network.modules() if isinstance(each, nn.BatchNorm2d))
    # Keras' summary of MLPerf Tiny's model, the batch norms' means and variances included.
    assert sum(parameter.numel() for parameter in network.parameters()) + statistics == 24_908


def test_the_stem_halves_49_x_10_to_25_x_5_as_the_reference() -> None:
    network = ds_cnn.build(classes=12, input_shape=(1, 49, 10)).eval()
    stem, blocks = network.get_submodule("stem"), network.get_submodule("blocks")
    features = stem(torch.zeros(1, 1, 49, 10))
    assert features.shape == (1, 64, 25, 5)
    assert blocks(features).shape == (1, 64, 25, 5)


@pytest.mark.parametrize("shape", [(1, 8, 8), (6, 100, 1), (3, 33, 20)])
def test_other_inputs_fit(shape: tuple[int, int, int]) -> None:
    network = ds_cnn.build(classes=4, input_shape=shape, width=8, blocks=2, stem_kernel=(3, 3), stem_stride=1)
    assert network(torch.randn(2, *shape)).shape == (2, 4)


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    network = ds_cnn.build(classes=4, input_shape=(1, 16, 16), width=8, dropout=0.2).eval()
    images = torch.randn(2, 1, 16, 16)
    assert torch.equal(network(images), network(images))
    network.get_submodule("dropout").train()
    assert not torch.equal(network(images), network(images))
