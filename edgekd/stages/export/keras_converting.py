"""Opens and converts networks of TensorFlow, in a process of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd import registry
from edgekd.errors import DataError, ExportError, ModelError
from edgekd.frameworks import keras
from edgekd.stages.export.keras_onnx import tidy

_CHANNELS_LAST = (0, 2, 3, 1)
# The newest that tf2onnx writes.
_OPSET = 18
_BATCH = 64
# Names of Keras' and TensorFlow's own functions, between a layer and its operator.
_CALLS = re.compile(r"(?:(?:Stateful)?PartitionedCall(?:_\d+)?/)+|@.*$")


def convert(path: Path, signature: str, check: NDArray[np.float32], written: Mapping[str, Path]) -> NDArray[np.float32]:
    """Write a network as float32 files, and tell what it gives.

    Args:
        path: A Keras file or a SavedModel.
        signature: Of a SavedModel.
        check: Samples, (N, …), images channels first.
        written: By format, where to.

    Returns:
        What TensorFlow computes for the samples, (N, outputs).

    Raises:
        ModelError: A network that can't be exported, and why.
        ExportError: An operator that a format lacks.
    """
    tensorflow = keras.start_tensorflow(1, "a Keras network")
    network = keras.open_network(path, tensorflow, signature=signature)
    shape = check.shape[1:]
    if check.ndim == len(_CHANNELS_LAST):
        shape, check = (*shape[1:], shape[0]), check.transpose(_CHANNELS_LAST)
    _check_ends(network, shape, str(path))
    _check_weights(network, str(path))
    outputs = _compute(tensorflow, network, check, str(path))
    for name, file in written.items():
        {"tflite": _to_tflite, "onnx": _to_onnx}[name](tensorflow, network, shape, path, file)
    return outputs


def _compute(tensorflow: Any, network: keras.Network, inputs: NDArray[np.float32], where: str) -> NDArray[np.float32]:
    size = 1 if _batch(network) == 1 else _BATCH
    call = tensorflow.function(network.call, reduce_retracing=True)
    batches = [tensorflow.constant(inputs[start : start + size]) for start in range(0, len(inputs), size)]
    outputs = np.concatenate([call(batch)[0].numpy() for batch in batches])
    if not np.isfinite(outputs).all():
        raise ModelError("gives outputs that are not finite", where=where)
    if len(outputs) != len(inputs):
        raise ModelError(f"gives {len(outputs)} outputs for {len(inputs)} samples", where=where)
    found: NDArray[np.float32] = outputs.reshape(len(outputs), -1)
    return found


def _to_tflite(tensorflow: Any, network: keras.Network, shape: tuple[int, ...], path: Path, written: Path) -> None:
    from tensorflow.lite.python.convert_phase import ConverterError

    # Batch 1: with any batch, the converter leaves operators in the file that compute shapes.
    function = _traced(tensorflow, network, (1, *shape)).get_concrete_function()
    converter = tensorflow.lite.TFLiteConverter.from_concrete_functions([function], network.keep)
    # Saved again on the way, variables would stay variables, which quantizers can't read.
    converter.experimental_lower_to_saved_model = False
    try:
        written.write_bytes(converter.convert())
    except ConverterError as error:
        lacking = [f"{_operator(each)} of '{_layer(each)}'" for each in error.errors if each.operator.name]
        if not lacking:
            raise
        raise _lacks("TFLite", lacking, path) from None


def _to_onnx(tensorflow: Any, network: keras.Network, shape: tuple[int, ...], path: Path, written: Path) -> None:
    tf2onnx = registry.require("tf2onnx", "ONNX of a Keras network")
    function = _traced(tensorflow, network, (_batch(network), *shape))
    model, _ = tf2onnx.convert.from_function(
        function,
        input_signature=function.input_signature,
        opset=_OPSET,
        inputs_as_nchw=["input:0"] if len(shape) == len(_CHANNELS_LAST) - 1 else None,
    )
    # It leaves in the file what it can't translate.
    if lacking := tidy(model):
        raise _lacks("ONNX", [_CALLS.sub("", each) for each in lacking], path)
    written.write_bytes(model.SerializeToString(deterministic=True))


def _batch(network: keras.Network) -> int | None:
    shape = network.inputs[0].shape
    return shape[0] if shape else None


def _check_ends(network: keras.Network, shape: tuple[int, ...], where: str) -> None:
    for what, ends in (("input", network.inputs), ("output", network.outputs)):
        if len(ends) != 1:
            names = ", ".join(f"'{end.name}'" for end in ends)
            raise ModelError(f"{len(ends)} {what}s: {names}", where=where, allowed=f"one {what}")
        if ends[0].dtype != "float32":
            raise ModelError(f"{what} '{ends[0].name}' is {ends[0].dtype}", where=where, allowed="float32")
    taken = network.inputs[0].shape
    if not taken:  # of any rank
        return
    if taken[0] not in (None, 1):
        raise ModelError(f"takes batches of {taken[0]}", where=where, allowed="of 1, or of any size")
    fits = len(taken) == len(shape) + 1 and all(
        size is None or size == given for size, given in zip(taken[1:], shape, strict=True)
    )
    if not fits:
        wanted = ", ".join(["N", *("any" if size is None else str(size) for size in taken[1:])])
        given = ", ".join(["N", *(str(size) for size in shape)])
        raise DataError(
            f"samples have shape ({given})", where="calibration", allowed=f"({wanted}), as the file takes them"
        )


def _check_weights(network: keras.Network, where: str) -> None:
    for name, weights in network.weights.items():
        values = np.asarray(weights.numpy())
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ModelError(
                f"'{name}' holds numbers that are not finite",
                where=where,
                next_step="train again with a lower learning rate, or take an earlier checkpoint",
            )


def _traced(tensorflow: Any, network: keras.Network, shape: tuple[int | None, ...]) -> Any:
    def output(batch: Any) -> Any:
        return network.call(batch)[0]

    taken = tensorflow.TensorSpec(shape, "float32", name="input")
    return tensorflow.function(output, input_signature=[taken])


def _operator(error: Any) -> str:
    return str(error.operator.name).removeprefix("tf.")


def _layer(error: Any) -> str:
    """Where TensorFlow says that an operator comes from: `network/layer/operator`."""
    names = [_CALLS.sub("", call.name) for call in error.location.call]
    return next((name for name in names if name and not name.endswith(":")), "unknown")


def _lacks(format_name: str, lacking: list[str], path: Path) -> ExportError:
    return ExportError(
        f"{format_name} has no {', '.join(sorted(set(lacking)))}",
        where=str(path),
        allowed="the format's own operators",
        next_step="replace it in the network, or compute it in the app",
    )
