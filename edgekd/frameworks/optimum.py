"""ONNX of transformers' classifiers through optimum, which knows what each architecture needs to be traced."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgekd import registry
from edgekd.errors import ModelError

if TYPE_CHECKING:
    from edgekd.frameworks.transformers import Classifier

TOOLS = ("torch", "transformers", "optimum-onnx", "onnxscript")

_PURPOSE = "ONNX of a network of transformers"
_TASKS = {"image": "image-classification", "audio": "audio-classification", "text": "text-classification"}
# What optimum calls the sizes of an input, in order.
_SIZES: Mapping[str, tuple[str, ...]] = {
    "image": ("num_channels", "height", "width"),
    "audio": ("audio_sequence_length",),
    "text": ("sequence_length",),
}
_INPUT, _OUTPUT = "input", "output"


def knows(classifier: Classifier) -> bool:
    """Whether optimum can export an architecture.

    Raises:
        MissingExtraError: optimum is not installed.
    """
    return _config_of(classifier) is not None


def write_onnx(classifier: Classifier, example: NDArray[np.float32], path: Path, *, any_length: bool = False) -> None:
    """Write a classifier as a float32 ONNX file with one input, `input`, and one output, `output`: logits.

    Of text, tokens come as int64; the attention mask is made of them in the graph.

    Args:
        classifier: In evaluation mode, on the CPU.
        example: One input, shape (1, …); the batch stays dynamic in the file.
        any_length: Whether the length of texts does, too.
        path: Written whole.

    Raises:
        ModelError: optimum does not know the architecture, or gives a graph with more inputs than these.
        MissingExtraError: optimum is not installed.
    """
    import onnx
    import onnxscript.optimizer

    config = _config_of(classifier)
    if config is None:
        kind = classifier.config.model_type
        raise ModelError(f"optimum does not export {kind}", where=path.name, next_step="take the TFLite format")
    optimum = registry.require("optimum.exporters.onnx", _PURPOSE)
    sizes = dict(zip(_SIZES[classifier.kind], example.shape[1:], strict=True))
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        traced = Path(folder) / "traced.onnx"
        # A batch of one would be taken for a constant.
        optimum.export(classifier.network, config, traced, input_shapes={"batch_size": 2, **sizes})
        model = onnx.load(str(traced))
    shape = [*example.shape[1:-1], "length"] if any_length else [*example.shape[1:]]
    _join_inputs(model, classifier, shape, path)
    model.graph.output[0].name = _rename(model.graph, model.graph.output[0].name, _OUTPUT)
    del model.graph.value_info[:]
    model = onnxscript.optimizer.optimize(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _config_of(classifier: Classifier) -> Any:
    tasks = registry.require("optimum.exporters.tasks", _PURPOSE)
    # Registers what can become ONNX.
    registry.require("optimum.exporters.onnx.model_configs", _PURPOSE)
    try:
        constructor = tasks.TasksManager.get_exporter_config_constructor(
            "onnx", model=classifier.network, task=_TASKS[classifier.kind], library_name="transformers"
        )
    except (KeyError, ValueError):  # an architecture it does not know, or not for this task
        return None
    return constructor(classifier.config)


def _join_inputs(model: Any, classifier: Classifier, shape: list[int | str], path: Path) -> None:
    """Leave one input of a shape, float32 or of tokens int64, from which the graph makes all that it asks for."""
    from onnx import TensorProto, helper, numpy_helper

    graph, names = model.graph, [each.name for each in model.graph.input]
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_param or "batch"
    if classifier.kind == "text":
        pad = classifier.pad_token
        makers = {
            "input_ids": [helper.make_node("Identity", [_INPUT], ["input_ids"], name="tokens")],
            "attention_mask": [
                helper.make_node("Equal", [_INPUT, "pad"], ["is_pad"], name="is_pad"),
                helper.make_node("Not", ["is_pad"], ["is_token"], name="is_token"),
                helper.make_node("Cast", ["is_token"], ["attention_mask"], name="mask", to=TensorProto.INT64),
            ],
            "token_type_ids": [helper.make_node("Sub", ["input_ids", "input_ids"], ["token_type_ids"], name="types")],
        }
        if unknown := [name for name in names if name not in makers]:
            raise ModelError(f"asks for {', '.join(unknown)}", where=path.name, allowed=", ".join(makers))
        # No token is the pad where there is none.
        graph.initializer.append(numpy_helper.from_array(np.array(-1 if pad is None else pad, np.int64), "pad"))
        made = [node for name in makers if name in names for node in makers[name]]
        nodes = [*made, *graph.node]
        del graph.node[:]
        graph.node.extend(nodes)
    elif len(names) != 1:
        raise ModelError(f"asks for {', '.join(names)}", where=path.name, allowed="one input")
    else:
        _rename(graph, names[0], _INPUT)
    del graph.input[:]
    dtype = TensorProto.INT64 if classifier.kind == "text" else TensorProto.FLOAT
    graph.input.append(helper.make_tensor_value_info(_INPUT, dtype, [batch, *shape]))


def _rename(graph: Any, old: str, new: str) -> str:
    for node in graph.node:
        for field in (node.input, node.output):
            for place, name in enumerate(field):
                if name == old:
                    field[place] = new
    return new
