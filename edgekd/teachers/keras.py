"""A Keras network (.keras, .h5) or a SavedModel folder, computed by TensorFlow on the CPU."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray
from torch import nn

from edgekd import registry
from edgekd.errors import ModelError
from edgekd.records import Task, TensorSpec
from edgekd.teachers import _saved_model
from edgekd.teachers._native import Opened, Wanted, check_file, load_native

_ALLOWED = "a .keras or .h5 file, or a SavedModel folder"
_KERAS_SUFFIXES = (".keras", ".h5", ".hdf5")
# TensorFlow writes these whatever its log level is.
_NOISE = re.compile(rb"(WARNING: All log messages before absl|[IWE]\d{4} \d\d:\d\d:|[IWE]0000 )")


def load(
    *,
    weights: Path,
    outputs: int,
    input_shape: tuple[int, ...],
    task: Task = "single_label",
    layout: Literal["auto", "channels_first", "channels_last"] = "auto",
    output_name: str | None = None,
    signature: str = "serving_default",
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
    >>> file = Path(tempfile.mkdtemp()) / "notes.h5"
    >>> _ = file.write_bytes(b"no model")
    >>> try:
    ...     load(weights=file, outputs=2, input_shape=(4,))
    ... except ModelError as error:
    ...     print(error.what)
    not an HDF5 file
    """
    path = check_file(Path(weights), allowed=_ALLOWED, folders=True)
    _check_kind(path)
    registry.require_all(["tensorflow"])
    wanted = Wanted(input_shape=tuple(input_shape), outputs=outputs, task=task, layout=layout, output=output_name)
    return load_native(_File(path=path, signature=signature), wanted)


def _check_kind(path: Path) -> None:
    if path.is_dir():
        graph = path / "saved_model.pb"
        if not graph.is_file() or not graph.stat().st_size:
            raise ModelError("the folder holds no saved_model.pb", where=str(path), allowed=_ALLOWED)
        return
    suffix = path.suffix.lower()
    if suffix not in _KERAS_SUFFIXES:
        raise ModelError(f"unknown kind of file '{path.suffix or path.name}'", where=str(path), allowed=_ALLOWED)
    with path.open("rb") as file:
        start = file.read(8)
    if suffix == ".keras" and not zipfile.is_zipfile(path):
        raise ModelError("not a .keras file, which is a zip archive", where=str(path), allowed=_ALLOWED)
    if suffix != ".keras" and start != b"\x89HDF\r\n\x1a\n":
        raise ModelError("not an HDF5 file", where=str(path), allowed=_ALLOWED)


@dataclass(frozen=True, kw_only=True)
class _File:
    path: Path
    signature: str
    runtime: str = "TensorFlow"
    usual_layout: Literal["channels_first", "channels_last"] = "channels_last"

    def files(self) -> list[Path]:
        """The file, or all files of the folder."""
        return [self.path] if self.path.is_file() else sorted(each for each in self.path.rglob("*") if each.is_file())

    def open(self, threads: int) -> Opened:
        """Load the network."""
        tensorflow = _tensorflow(threads)
        return self._saved_model(tensorflow) if self.path.is_dir() else self._keras(tensorflow)

    def _keras(self, tensorflow: Any) -> Opened:
        import keras

        if keras.backend.backend() != "tensorflow":
            raise ModelError(
                f"Keras runs on {keras.backend.backend()} in this process",
                where=str(self.path),
                next_step="set the variable KERAS_BACKEND=tensorflow",
            )
        try:
            network = keras.models.load_model(str(self.path), compile=False, safe_mode=True)
        except (ValueError, TypeError, OSError, LookupError, AttributeError, ImportError, RuntimeError) as error:
            raise self._explain(error) from None
        except (NotImplementedError, zipfile.BadZipFile, EOFError) as error:
            raise self._explain(error) from None
        if not getattr(network, "inputs", None):
            raise ModelError(
                "does not say what it takes",
                where=str(self.path),
                next_step="save it after it has seen data, or export it",
            )
        outputs = network.outputs
        named = getattr(network, "output_names", None)  # a Sequential has none
        names = named if named and len(named) == len(outputs) else [each.name for each in outputs]
        call = tensorflow.function(
            lambda batch: keras.tree.flatten(network(batch, training=False)),
            input_signature=[tensorflow.TensorSpec(each.shape, each.dtype) for each in network.inputs[:1]],
        )
        return Opened(
            inputs=tuple(_spec(each.name, each) for each in network.inputs),
            outputs=tuple(_spec(name, each) for name, each in zip(names, outputs, strict=True)),
            run=_runner(tensorflow, call),
            errors=(tensorflow.errors.OpError, ValueError),
        )

    def _explain(self, error: Exception) -> ModelError:
        where, text = str(self.path), str(error)
        if "Lambda" in text and "safe" in text:
            return ModelError(
                "refused: a Lambda layer holds Python code",
                where=where,
                next_step="if you trust it, load it where it comes from and save it without: model.export(folder)",
            )
        if "No model config" in text:
            return ModelError(
                "holds weights without their network", where=where, next_step="save it whole: model.save('file.keras')"
            )
        if "Could not locate" in text:
            first = text.partition(". ")[0]
            return ModelError(
                f"a layer of its own: {first}", where=where, next_step="save it without Python: model.export(folder)"
            )
        line = (text.strip().splitlines() or [type(error).__name__])[0]
        return ModelError(f"damaged, or not a Keras network: {line[:200]}", where=where, allowed=_ALLOWED)

    def _saved_model(self, tensorflow: Any) -> Opened:
        where = str(self.path)
        _saved_model.check(self.path)
        try:
            loaded = tensorflow.saved_model.load(str(self.path))
        except (tensorflow.errors.OpError, OSError, ValueError, LookupError, AttributeError, TypeError) as error:
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ModelError(f"a damaged SavedModel: {line[:200]}", where=where) from None
        if self.signature not in loaded.signatures:
            raise ModelError(
                f"no signature '{self.signature}'", where=where, allowed=", ".join(loaded.signatures) or "it has none"
            )
        function = loaded.signatures[self.signature]
        taken, given = function.structured_input_signature[1], function.structured_outputs

        def call(batch: Any) -> list[Any]:
            found = function(**{next(iter(taken)): batch})
            return [found[name] for name in given]

        return Opened(
            inputs=tuple(_spec(name, each) for name, each in taken.items()),
            outputs=tuple(_spec(name, each) for name, each in given.items()),
            # The function holds its variables weakly: `loaded` keeps them.
            run=_runner(tensorflow, call, keep=loaded),
            errors=(tensorflow.errors.OpError, ValueError),
        )


def _runner(tensorflow: Any, call: Any, *, keep: Any = None) -> Any:
    def run(batch: NDArray[Any], output: int) -> NDArray[Any]:
        with tensorflow.device("CPU:0"):
            found: NDArray[Any] = call(tensorflow.constant(batch))[output].numpy()
        return found

    run.keep = keep  # type: ignore[attr-defined]  # a function has room for it
    return run


def _spec(name: str, value: Any) -> TensorSpec:
    shape = () if value.shape is None or getattr(value.shape, "rank", 1) is None else tuple(value.shape)
    dtype = value.dtype if isinstance(value.dtype, str) else value.dtype.name
    return TensorSpec(name=name, shape=shape, dtype=dtype)


def _tensorflow(threads: int) -> Any:
    first = "tensorflow" not in sys.modules
    if first:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    with _without_noise():
        tensorflow = registry.require("tensorflow", "a Keras teacher")
        if first:  # it takes all memory of every GPU it sees, and its threads can't be set later
            tensorflow.config.set_visible_devices([], "GPU")
            tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
            tensorflow.config.threading.set_inter_op_parallelism_threads(1)
            tensorflow.constant(0)
    return tensorflow


@contextmanager
def _without_noise() -> Iterator[None]:
    """Hold back what is written to standard error, and let through what is not TensorFlow's start."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            for line in held:
                if not _NOISE.match(line):
                    os.write(2, line)
