"""What a network of tokens needs on its way into a file: integers for an input, and masks that integers can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor, nn

# Attention's masks are sums with float32's lowest number, or with -inf. Softmax gives 0 of this one, too, which leaves
# scales and sums what they are.
_NEVER = -1e4
_LOW = -1e30


def example_of(network: nn.Module, example: NDArray[np.float32], dtype: str) -> Tensor:
    """Give an example as a network takes it: tokens as whole numbers of a dtype, all else as float32.

    >>> import torch
    >>> example_of(torch.nn.Linear(2, 1), np.ones((1, 2), "f"), "int64").dtype
    torch.float32
    """
    import torch

    takes_tokens = getattr(network, "takes_tokens", False)
    return torch.from_numpy(np.rint(example).astype(dtype) if takes_tokens else example)


def bound_masks_of_onnx(model: Any) -> None:
    """Put -10,000 in place of constants that stand for never; changes a `ModelProto`."""
    from onnx import TensorProto, numpy_helper

    constants = [*model.graph.initializer]
    constants += [each.t for node in model.graph.node if node.op_type == "Constant" for each in node.attribute[:1]]
    for tensor in constants:
        if tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor)
            if values.size and values.min() <= _LOW:
                tensor.CopyFrom(numpy_helper.from_array(_bounded(values), tensor.name))


def bound_masks_of_tflite(model: Any) -> None:
    """Do the same to a `ModelT`."""
    from ai_edge_litert import schema_py_generated as schema

    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            if tensor.type != schema.TensorType.FLOAT32 or data is None or not len(data):
                continue
            values = np.frombuffer(bytes(data), "<f4")
            if values.min() <= _LOW:
                model.buffers[tensor.buffer].data = np.frombuffer(_bounded(values).tobytes(), np.uint8)


def _bounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(values <= _LOW, np.float32(_NEVER), values)
