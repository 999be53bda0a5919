"""A TFLite file, float or quantized, computed by LiteRT on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from edgekd import inspection
from edgekd.errors import ModelError
from edgekd.records import Task, TensorSpec
from edgekd.teachers._native import Opened, Wanted, check_file, load_native

_ALLOWED = "a .tflite file"


def load(
    *,
    weights: Path,
    outputs: int,
    input_shape: tuple[int, ...],
    task: Task = "single_label",
    layout: Literal["auto", "channels_first", "channels_last"] = "auto",
    output_name: str | None = None,
) -> nn.Module:
    """Load a TFLite file as a frozen teacher.

    Quantized inputs and outputs are converted by the file's scale s and zero point z: q = round(x / s) + z, clipped,
    and x = s (q - z) (Jacob et al. 2018, arXiv:1712.05877, equation 1).

    Args:
        weights: The file.
        outputs: How many numbers the data asks for per sample.
        input_shape: Of one sample, channels first.
        task: Of the data; reconstructions come back channels first.
        layout: Of the file's input; `auto` takes the one that fits the data, channels last where both do.
        output_name: Which output has the logits; may be left out where there is one.

    Returns:
        From (B, *input_shape) to (B, outputs), in batches where the file takes them.

    Raises:
        ModelError: Missing, damaged, not TFLite, or it does not fit the data.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "notes.tflite"
    >>> _ = file.write_bytes(b"no model")
    >>> try:
    ...     load(weights=file, outputs=2, input_shape=(4,))
    ... except ModelError as error:
    ...     print(error.what)
    not a TFLite model: its identifier is missing
    """
    path = check_file(Path(weights), allowed=_ALLOWED)
    if inspection.inspect(path).format != "tflite":
        raise ModelError("not a TFLite file", where=str(path), allowed=_ALLOWED)
    wanted = Wanted(input_shape=tuple(input_shape), outputs=outputs, task=task, layout=layout, output=output_name)
    return load_native(_File(path=path), wanted)


@dataclass(frozen=True, kw_only=True)
class _File:
    path: Path
    runtime: str = "LiteRT"
    usual_layout: Literal["channels_first", "channels_last"] = "channels_last"

    def files(self) -> list[Path]:
        """The file."""
        return [self.path]

    def open(self, threads: int) -> Opened:
        """Make an interpreter with its default XNNPACK delegate."""
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=str(self.path), num_threads=threads)
        taken, given = interpreter.get_input_details(), interpreter.get_output_details()
        ready: list[tuple[int, ...]] = []  # the shape that memory is laid out for

        def run(batch: NDArray[Any], output: int) -> NDArray[Any]:
            if ready != [batch.shape]:
                ready.clear()
                interpreter.resize_tensor_input(taken[0]["index"], list(batch.shape))
                interpreter.allocate_tensors()
                ready.append(batch.shape)
            interpreter.set_tensor(taken[0]["index"], batch)
            interpreter.invoke()
            found: NDArray[Any] = interpreter.get_tensor(given[output]["index"])
            return found

        return Opened(
            inputs=tuple(_spec(each) for each in taken),
            outputs=tuple(_spec(each) for each in given),
            run=run,
            errors=(RuntimeError, ValueError),
            resizes=True,
        )


def _spec(details: dict[str, Any]) -> TensorSpec:
    scale, zero_point = details["quantization"]
    signature = details["shape_signature"] if len(details["shape_signature"]) else details["shape"]
    return TensorSpec(
        name=details["name"],
        shape=tuple(int(size) if size > 0 else None for size in signature),
        dtype=np.dtype(details["dtype"]).name,
        scale=float(scale) or None,
        zero_point=int(zero_point),
    )
