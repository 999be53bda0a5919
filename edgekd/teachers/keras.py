"""A Keras network (.keras, .h5) or a SavedModel folder, computed by TensorFlow on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray
from torch import nn

from edgekd import registry
from edgekd.frameworks import keras
from edgekd.records import Task
from edgekd.teachers._native import Opened, Wanted, check_file, load_native


def load(
    *,
    weights: Path,
    outputs: int,
    input_shape: tuple[int, ...],
    task: Task = "single_label",
    layout: Literal["auto", "channels_first", "channels_last"] = "auto",
    output_name: str | None = None,
    signature: str = keras.SIGNATURE,
) -> nn.Module:
    """Load a Keras file or a SavedModel as a frozen teacher.

    No code of the file runs: Keras refuses Lambda layers in its safe mode, and a SavedModel with operators that
    reach files or Python is refused.

    Args:
        weights: The file or folder.
        outputs: How many numbers the data asks for per sample.
        input_shape: Of one sample, channels first.
        task: Of the data; reconstructions come back channels first.
        layout: Of the network's input; `auto` takes the one that fits the data, channels last where both do.
        output_name: Which output has the logits; may be left out where there is one.
        signature: Which function of a SavedModel to call.

    Returns:
        From (B, *input_shape) to (B, outputs).

    Raises:
        ModelError: Missing, damaged, of another kind, or it does not fit the data.
        MissingExtraError: TensorFlow is not installed.

    >>> import tempfile
    >>> from edgekd.errors import ModelError
    >>> file = Path(tempfile.mkdtemp()) / "notes.h5"
    >>> _ = file.write_bytes(b"no model")
    >>> try:
    ...     load(weights=file, outputs=2, input_shape=(4,))
    ... except ModelError as error:
    ...     print(error.what)
    not an HDF5 file
    """
    path = check_file(Path(weights), allowed=keras.ALLOWED, folders=True)
    keras.check_kind(path)
    registry.require_all(["tensorflow"])
    wanted = Wanted(input_shape=tuple(input_shape), outputs=outputs, task=task, layout=layout, output=output_name)
    return load_native(_File(path=path, signature=signature), wanted)


@dataclass(frozen=True, kw_only=True)
class _File:
    path: Path
    signature: str
    runtime: str = "TensorFlow"
    usual_layout: Literal["channels_first", "channels_last"] = "channels_last"

    def files(self) -> list[Path]:
        """The file, or all files of the folder."""
        return keras.files_of(self.path)

    def open(self, threads: int) -> Opened:
        """Load the network."""
        tensorflow = keras.start_tensorflow(threads, "a Keras teacher")
        network = keras.open_network(self.path, tensorflow, signature=self.signature)
        call = network.call
        if self.path.is_file():
            # A SavedModel's function is compiled already.
            taken = network.inputs[0]
            call = tensorflow.function(call, input_signature=[tensorflow.TensorSpec(taken.shape, taken.dtype)])
        return Opened(
            inputs=network.inputs,
            outputs=network.outputs,
            run=_runner(tensorflow, call, keep=network),
            errors=(tensorflow.errors.OpError, ValueError),
        )


def _runner(tensorflow: Any, call: Any, *, keep: Any) -> Any:
    def run(batch: NDArray[Any], output: int) -> NDArray[Any]:
        with tensorflow.device("CPU:0"):
            found: NDArray[Any] = call(tensorflow.constant(batch))[output].numpy()
        return found

    run.keep = keep  # type: ignore[attr-defined]  # a function has room for it
    return run
