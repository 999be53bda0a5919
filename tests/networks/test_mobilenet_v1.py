"""MobileNetV1 against published sizes and the reference ImageNet TFLite file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from torch import nn

from edgekd.networks import mobilenet_v1


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("multiplier", "millions"), [(0.25, 0.5), (0.5, 1.3), (0.75, 2.6), (1.0, 4.2)])
def test_sizes_are_those_of_the_paper(multiplier: float, millions: float) -> None:
    """Howard et al. 2017, table 6."""
    network = mobilenet_v1.build(classes=1000, input_shape=(3, 224, 224), width_multiplier=multiplier)
    assert round(count(network) / 1e6, 1) == millions


def test_mlperf_tinys_person_detector_has_its_published_size() -> None:
    network = mobilenet_v1.build(classes=2, input_shape=(3, 96, 96), activation="relu", conv_bias=True)
    statistics = sum(2 * each.num_features for each in network.modules() if isinstance(each, nn.BatchNorm2d))
    # Keras' summary of MLPerf Tiny's model, the batch norms' means and variances included.
    assert count(network) + statistics == 221_794
    assert not [each for each in network.modules() if isinstance(each, nn.ReLU6)]


@pytest.mark.parametrize(("activation", "largest"), [("relu6", 6.0), ("relu", 60.0)])
def test_relu6_ends_at_6(activation: Literal["relu6", "relu"], largest: float) -> None:
    network = mobilenet_v1.build(classes=2, input_shape=(3, 32, 32), activation=activation).eval()
    network.linear = nn.Identity()
    last = [each for each in network.modules() if isinstance(each, nn.BatchNorm2d)][-1]
    nn.init.constant_(last.bias, 60.0)
    nn.init.zeros_(last.weight)
    with torch.no_grad():
        assert network(torch.randn(1, 3, 32, 32)).unique().tolist() == [largest]


def test_small_images_fit_with_a_stem_of_stride_1() -> None:
    network = mobilenet_v1.build(classes=10, input_shape=(1, 28, 28), stem_stride=1).eval()
    assert network(torch.zeros(3, 1, 28, 28)).shape == (3, 10)


def test_with_the_reference_weights_it_computes_what_the_reference_file_does(shared_data: Path) -> None:
    file = shared_data / "models/mobilenet_v1_025/mobilenet_v1_0.25_224_1_default_1.tflite"
    interpreter = Interpreter(str(file), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    interpreter.allocate_tensors()
    network = mobilenet_v1.build(classes=1001, input_shape=(3, 224, 224)).eval()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):  # folded into the convolutions there
            norm.running_var = torch.full((norm.num_features,), 1 - norm.eps)
    layers = [each for each in network.modules() if isinstance(each, nn.Conv2d)]
    operators = [each for each in interpreter._get_ops_details() if each["op_name"].endswith("CONV_2D")]
    assert len(operators) == len(layers) + 1  # the last one is the classifier
    for operator, layer in zip(operators, [*layers, network.linear], strict=True):
        weight, bias = (torch.from_numpy(interpreter.get_tensor(each)) for each in operator["inputs"][1:])
        if operator["op_name"] == "DEPTHWISE_CONV_2D":
            weight = weight.permute(3, 0, 1, 2)
        elif isinstance(layer, nn.Conv2d):
            weight = weight.permute(0, 3, 1, 2)
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        layer.weight = nn.Parameter(weight.reshape(layer.weight.shape))
        layer.bias = nn.Parameter(bias)

    with np.load(shared_data / "cifar10" / "cifar10_lossless_train4000.npz") as arrays:
        small = arrays["x_train_first4000"][:5].astype(np.float32)
    images = small.repeat(7, axis=1).repeat(7, axis=2) / 127.5 - 1  # 224 x 224
    expected = []
    for image in images:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
        interpreter.invoke()
        expected.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    with torch.no_grad():
        found = network(torch.from_numpy(images.transpose(0, 3, 1, 2))).softmax(1).numpy()
    np.testing.assert_allclose(found, np.stack(expected), rtol=1e-3, atol=1e-6)
