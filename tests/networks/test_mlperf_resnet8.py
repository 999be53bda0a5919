"""ResNet-8 against MLPerf Tiny's published size and its reference TFLite file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from torch import nn

from edgekd.networks import mlperf_resnet8

# Where the convolutions that Keras numbered in order of creation are found here.
ORDER = (
    "stem.0",
    "stack1.conv1",
    "stack1.conv2",
    "stack2.conv1",
    "stack2.conv2",
    "stack2.shortcut",
    "stack3.conv1",
    "stack3.conv2",
    "stack3.shortcut",
)


def test_size_is_the_published_one() -> None:
    network = mlperf_resnet8.build(classes=10, input_shape=(3, 32, 32))
    statistics = sum(2 * each.num_features for each in network.modules() if isinstance(each, nn.BatchNorm2d))
    # Keras counts the batch norms' means and variances.
    assert sum(parameter.numel() for parameter in network.parameters()) + statistics == 78_666


def test_with_the_reference_weights_it_computes_what_the_reference_file_does(shared_data: Path) -> None:
    file = shared_data / "models/mlperf_tiny/image_classification/pretrainedResnet.tflite"
    interpreter = Interpreter(str(file), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    network = mlperf_resnet8.build(classes=10, input_shape=(3, 32, 32)).eval()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):  # folded into the convolutions there
            norm.running_var = torch.full((norm.num_features,), 1 - norm.eps)
    name_of = {tensor["index"]: tensor["name"] for tensor in interpreter.get_tensor_details()}
    loaded = set()
    for operator in interpreter._get_ops_details():
        if operator["op_name"] in ("CONV_2D", "FULLY_CONNECTED"):
            _, weight, bias = operator["inputs"]
            number = name_of[weight].split("/")[1].removeprefix("conv2d").removeprefix("_") or "0"
            path = "linear" if operator["op_name"] == "FULLY_CONNECTED" else ORDER[int(number)]
            layer = network.get_submodule(path)
            values = torch.from_numpy(interpreter.get_tensor(weight))
            layer.weight = nn.Parameter(values.permute(0, 3, 1, 2) if values.ndim == 4 else values)
            layer.bias = nn.Parameter(torch.from_numpy(interpreter.get_tensor(bias)))
            loaded.add(path)
    assert loaded == {*ORDER, "linear"}

    with np.load(shared_data / "cifar10" / "cifar10_lossless_train4000.npz") as arrays:
        images, labels = arrays["x_train_first4000"][:50], arrays["y_train_first4000"][:50]
    images = images.astype(np.float32)  # the reference takes raw 0..255
    expected = []
    for image in images:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
        interpreter.invoke()
        expected.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    with torch.no_grad():
        found = network(torch.from_numpy(images.transpose(0, 3, 1, 2))).softmax(1).numpy()
    np.testing.assert_allclose(found, np.stack(expected), rtol=1e-4, atol=1e-7)
    assert np.mean(found.argmax(1) == labels) > 0.8  # published: 87 %
