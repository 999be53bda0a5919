"""TFLite through litert-torch: float32, channels last, batch 1."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import ExportError
from edgekd.exporters._channels_last import drop_transposes, pad_with_zeros
from edgekd.exporters._refusals import explained
from edgekd.exporters._tokens import bound_masks_of_tflite, example_of

if TYPE_CHECKING:
    from torch import nn

# Modules that must be importable, and distributions whose versions decide the bytes.
NEEDS = ("torch", "litert_torch")
TOOLS = ("torch", "litert-torch")

_CHANNELS_LAST = (0, 2, 3, 1)


def export(*, network: nn.Module, example: NDArray[np.float32], path: Path) -> None:
    """Write a network as a float32 TFLite file that takes (1, H, W, C), (1, F) or (1, T).

    Tensors keep the names that torch gave them, because quantizers find tensors by name. A network with a method
    `write_tflite(example, path)` is asked first, and says whether it did. The file of a network with `takes_tokens =
    True` takes int32.

    Args:
        network: In evaluation mode, on the CPU; takes (N, C, H, W), (N, F) or (N, T).
        example: One input, shape (1, C, H, W), (1, F) or (1, T).
        path: Written whole; the stage that calls this moves it into place.

    Raises:
        ExportError: The file of a channels-last network holds TRANSPOSE operators, TFLite lacks an operator, or values
            decide what is computed.

    >>> import tempfile, torch
    >>> from edgekd import child, inspection
    >>> file = Path(tempfile.mkdtemp()) / "linear.tflite"
    >>> child.call("the converter", export, network=torch.nn.Linear(4, 2), example=np.zeros((1, 4), "f"), path=file)
    >>> inspection.inspect(file).operators
    (('FULLY_CONNECTED', 1),)
    """
    import litert_torch
    from ai_edge_litert.tools import flatbuffer_utils

    write_itself = getattr(network, "write_tflite", None)
    if write_itself is not None and write_itself(example, path):
        return
    _pad_in_place()
    network, takes_tokens = _contiguous(network), getattr(network, "takes_tokens", False)
    channels_last = example.ndim == 4
    if channels_last:
        network = litert_torch.to_channel_last_io(network, args=[0]).eval()
        example = np.ascontiguousarray(example.transpose(_CHANNELS_LAST))
    inputs = example_of(network, example, "int32")
    with explained(path, network, inputs):
        converted = litert_torch.convert(network, (inputs,))
    converted.export(str(path))
    if takes_tokens:
        model = flatbuffer_utils.read_model(str(path))
        bound_masks_of_tflite(model)
        flatbuffer_utils.write_model(model, str(path))
    if channels_last:
        model = flatbuffer_utils.read_model(str(path))
        if left := drop_transposes(model):
            raise ExportError(
                f"{left} TRANSPOSE operators between channels first and channels last",
                where=path.name,
                allowed="none in a convolutional network",
                next_step="replace what permutes or reshapes channels in the network, or export to ONNX only",
            )
        pad_with_zeros(model)
        flatbuffer_utils.write_model(model, str(path))


def _contiguous(network: nn.Module) -> nn.Module:
    """Copy a network in torch's plain memory format: litert-torch 0.10 mixes up weights of others, now and then.

    Training leaves `torch.channels_last`.
    """
    network = copy.deepcopy(network)
    for tensor in (*network.parameters(), *network.buffers()):
        tensor.data = tensor.data.contiguous()
    return network


def _pad_in_place() -> None:
    """Teach litert-torch's layout pass that padding can be done channels last.

    It then ends in a convolution that pads as SAME does; without it every padding outside of a convolution
    stands between two TRANSPOSEs.
    """
    import torch
    from litert_torch._convert.fx_passes.optimize_layout_transposes_pass import layout_check, layout_rewrite

    pad = torch.ops.aten.constant_pad_nd

    def sensitive_inputs(node: Any) -> list[Any]:
        return [node.args[0]]

    def rewrite(node: Any) -> None:
        # From the last dimension on, two numbers each: W H C N becomes C W H N.
        padding = [*node.args[1], *[0] * (8 - len(node.args[1]))]
        node.args = (node.args[0], padding[4:6] + padding[0:4] + padding[6:8], *node.args[2:])

    layout_check.layout_sensitive_inputs_getters.register(pad)(sensitive_inputs)
    layout_rewrite.rewriters.register(pad)(rewrite)
