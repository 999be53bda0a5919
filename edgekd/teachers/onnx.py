"""An ONNX file, computed by ONNX Runtime on the CPU."""

from __future__ import annotations

import re
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

_ALLOWED = "an .onnx file"


def load(
    *,
    weights: Path,
    outputs: int,
    input_shape: tuple[int, ...],
    task: Task = "single_label",
    layout: Literal["auto", "channels_first", "channels_last"] = "auto",
    output_name: str | None = None,
) -> nn.Module:
    """Load an ONNX file as a frozen teacher.

    Args:
        weights: The file, with its external data beside it.
        outputs: How many numbers the data asks for per sample.
        input_shape: Of one sample, channels first.
        task: Of the data; reconstructions come back channels first.
        layout: Of the file's input; `auto` takes the one that fits the data, channels first where both do.
        output_name: Which output has the logits; may be left out where there is one.

    Returns:
        From (B, *input_shape) to (B, outputs), in batches where the file takes them.

    Raises:
        ModelError: Missing, damaged, not ONNX, or it does not fit the data.

    >>> import tempfile, torch
    >>> from edgekd import child, exporters, registry
    >>> network, file = nn.Linear(4, 2), Path(tempfile.mkdtemp()) / "linear.onnx"
    >>> export = registry.function("exporters", "onnx")
    >>> child.call("the converter", export, network=network, example=np.zeros((1, 4), "f"), path=file)
    >>> teacher, inputs = load(weights=file, outputs=2, input_shape=(4,)), torch.randn(5, 4)
    >>> torch.allclose(teacher(inputs), network(inputs), atol=1e-6)
    True
    """
    path = check_file(Path(weights), allowed=_ALLOWED)
    if inspection.inspect(path).format != "onnx":
        raise ModelError("not an ONNX file", where=str(path), allowed=_ALLOWED)
    wanted = Wanted(input_shape=tuple(input_shape), outputs=outputs, task=task, layout=layout, output=output_name)
    return load_native(_File(path=path), wanted)


@dataclass(frozen=True, kw_only=True)
class _File:
    path: Path
    runtime: str = "ONNX Runtime"
    usual_layout: Literal["channels_first", "channels_last"] = "channels_first"

    def files(self) -> list[Path]:
        """The file, and those that hold its external data."""
        import onnx

        model = onnx.load(str(self.path), load_external_data=False)
        tensors = onnx.external_data_helper._get_all_tensors(model)  # noqa: SLF001 - the only walk over attributes too
        names = {
            entry.value
            for tensor in tensors
            if tensor.data_location == onnx.TensorProto.EXTERNAL
            for entry in tensor.external_data
            if entry.key == "location"
        }
        return [self.path, *(self.path.parent / name for name in sorted(names))]

    def open(self, threads: int) -> Opened:
        """Make a session, whose threads don't spin: torch computes on the same cores in turn."""
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.use_deterministic_compute = True
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
        inputs, outputs = (
            tuple(_spec(each) for each in every) for every in (session.get_inputs(), session.get_outputs())
        )

        def run(batch: NDArray[Any], output: int) -> NDArray[Any]:
            found: NDArray[Any] = np.asarray(session.run([outputs[output].name], {inputs[0].name: batch})[0])
            return found

        errors = (state.Fail, state.InvalidArgument, state.RuntimeException, state.NotImplemented, state.InvalidGraph)
        return Opened(inputs=inputs, outputs=outputs, run=run, errors=errors)


def _spec(value: Any) -> TensorSpec:
    inner = re.sub(r"tensor\((\w+)\)", r"\1", value.type)
    shape = tuple(size if isinstance(size, int) and size > 0 else None for size in value.shape)
    return TensorSpec(name=value.name, shape=shape, dtype={"float": "float32", "double": "float64"}.get(inner, inner))
