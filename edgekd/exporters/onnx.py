"""ONNX through torch's exporter: float32, any batch size, one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import ExportError
from edgekd.exporters._refusals import explained
from edgekd.exporters._tokens import bound_masks_of_onnx, example_of

if TYPE_CHECKING:
    from torch import nn

# Modules that must be importable, and distributions whose versions decide the bytes.
NEEDS = ("torch", "onnxscript")
TOOLS = ("torch", "onnxscript")

_PROTOBUF_LIMIT_BYTES = 2**31 - 1


def export(*, network: nn.Module, example: NDArray[np.float32], path: Path, any_length: bool = False) -> None:
    """Write a network as a float32 ONNX file with input `input` and output `output`.

    A network with a method `write_onnx(example, path)` is asked first, and says whether it did. The file of a network
    with `takes_tokens = True` takes int64.

    Args:
        network: In evaluation mode, on the CPU.
        example: One input, shape (1, C, H, W), (1, F) or (1, T); the batch stays dynamic in the file.
        any_length: Whether the last dimension, T, stays dynamic, too.
        path: Written whole; the stage that calls this moves it into place.

    Raises:
        ExportError: The file would need external data, ONNX lacks an operator, or values decide what is computed.

    >>> import tempfile, torch
    >>> from edgekd import child, inspection
    >>> file = Path(tempfile.mkdtemp()) / "linear.onnx"
    >>> child.call("the converter", export, network=torch.nn.Linear(4, 2), example=np.zeros((1, 4), "f"), path=file)
    >>> inspection.inspect(file).operators
    (('Gemm', 1),)
    """
    import onnx
    import torch

    takes_tokens = getattr(network, "takes_tokens", False)
    write_itself = getattr(network, "write_onnx", None)
    if write_itself is not None and write_itself(example, path, **({"any_length": True} if any_length else {})):
        if takes_tokens:
            model = onnx.load(str(path))
            bound_masks_of_onnx(model)
            _forget_origin(model)
            path.write_bytes(model.SerializeToString(deterministic=True))
        return
    # Batch 1 would be taken for a constant.
    inputs = example_of(network, np.repeat(example, 2, axis=0), "int64")
    free = {0: torch.export.Dim("batch"), **({inputs.ndim - 1: torch.export.Dim("length")} if any_length else {})}
    with explained(path, network, inputs):
        program = torch.onnx.export(
            network,
            (inputs,),
            dynamo=True,
            dynamic_shapes=(free,),
            input_names=["input"],
            output_names=["output"],
            optimize=True,
            verbose=False,
        )
    if program is None:
        raise ExportError("torch's ONNX exporter gave nothing", where=str(path))
    model = program.model_proto
    if model.ByteSize() > _PROTOBUF_LIMIT_BYTES:
        raise ExportError("an ONNX file holds 2 GB at most", where=str(path), next_step="choose a smaller student")
    if takes_tokens:
        bound_masks_of_onnx(model)
    _forget_origin(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _forget_origin(model: Any) -> None:
    """Drop stack traces and paths: the same network gives the same bytes wherever the project lies."""
    model.ClearField("doc_string")
    del model.metadata_props[:]
    graphs = [model.graph]
    while graphs:
        graph = graphs.pop()
        graph.ClearField("doc_string")
        del graph.metadata_props[:]
        # Shapes between operators: runtimes and readers infer them.
        del graph.value_info[:]
        for each in [*graph.input, *graph.output, *graph.initializer]:
            each.ClearField("doc_string")
            del each.metadata_props[:]
        for node in graph.node:
            _forget_node(node)
            for attribute in node.attribute:
                graphs += [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]
    for function in model.functions:
        function.ClearField("doc_string")
        del function.metadata_props[:]
        del function.value_info[:]
        for node in function.node:
            _forget_node(node)
    model.graph.name = "edgekd"


def _forget_node(node: Any) -> None:
    node.ClearField("doc_string")
    del node.metadata_props[:]
    for attribute in node.attribute:
        attribute.ClearField("doc_string")
