"""Keras files (.keras, .h5) and SavedModel folders, opened by TensorFlow on the CPU."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekd import registry
from edgekd.errors import ModelError
from edgekd.frameworks import _saved_model
from edgekd.records import TensorSpec

ALLOWED = "a .keras or .h5 file, or a SavedModel folder"
SUFFIXES = (".keras", ".h5", ".hdf5")
GRAPH_FILE = "saved_model.pb"
SIGNATURE = "serving_default"
# TensorFlow writes these whatever its log level is.
_NOISE = re.compile(rb"(WARNING: All log messages before absl|[IWE]\d{4} \d\d:\d\d:|[IWE]0000 )")


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network that TensorFlow computes.

    Attributes:
        call: From the first input, a tensor, to all outputs; may be traced by `tensorflow.function`.
        weights: Variables of TensorFlow, by name.
        keep: What must live as long as `call` does: the function of a SavedModel holds its variables weakly.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    call: Callable[[Any], list[Any]]
    weights: Mapping[str, Any]
    keep: Any


def check_kind(path: Path) -> None:
    """Check what a file or folder is, without TensorFlow.

    Args:
        path: That exists.

    Raises:
        ModelError: Neither a Keras file nor a SavedModel.

    >>> import tempfile
    >>> try:
    ...     check_kind(Path(tempfile.mkdtemp()))
    ... except ModelError as error:
    ...     print(error.what)
    the folder holds no saved_model.pb
    """
    if path.is_dir():
        graph = path / GRAPH_FILE
        if not graph.is_file() or not graph.stat().st_size:
            raise ModelError(f"the folder holds no {GRAPH_FILE}", where=str(path), allowed=ALLOWED)
        return
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ModelError(f"unknown kind of file '{path.suffix or path.name}'", where=str(path), allowed=ALLOWED)
    with path.open("rb") as file:
        start = file.read(8)
    if suffix == ".keras" and not zipfile.is_zipfile(path):
        raise ModelError("not a .keras file, which is a zip archive", where=str(path), allowed=ALLOWED)
    if suffix != ".keras" and start != b"\x89HDF\r\n\x1a\n":
        raise ModelError("not an HDF5 file", where=str(path), allowed=ALLOWED)


def files_of(path: Path) -> list[Path]:
    """Give the file, or all files of the folder."""
    return [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())


def open_network(path: Path, tensorflow: Any, *, signature: str = SIGNATURE) -> Network:
    """Open a Keras file or a SavedModel.

    No code of the file runs: Keras refuses Lambda layers in its safe mode, and a SavedModel with operators that
    reach files or Python is refused.

    Args:
        path: That `check_kind` has let pass.
        tensorflow: From `start_tensorflow`.
        signature: Which function of a SavedModel to call.

    Raises:
        ModelError: Damaged, of another kind, without its network, or it holds code.
    """
    return _open_saved_model(path, tensorflow, signature) if path.is_dir() else _open_keras(path)


def _open_keras(path: Path) -> Network:
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ModelError(
            f"Keras runs on {keras.backend.backend()} in this process",
            where=str(path),
            next_step="set the variable KERAS_BACKEND=tensorflow",
        )
    try:
        network = keras.models.load_model(str(path), compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError, LookupError, AttributeError, ImportError, RuntimeError) as error:
        raise _explain(path, error) from None
    except (NotImplementedError, zipfile.BadZipFile, EOFError) as error:
        raise _explain(path, error) from None
    if not getattr(network, "inputs", None):
        raise ModelError(
            "does not say what it takes",
            where=str(path),
            next_step="save it after it has seen data, or export it",
        )
    outputs = network.outputs
    named = getattr(network, "output_names", None)  # a Sequential has none
    names = named if named and len(named) == len(outputs) else [each.name for each in outputs]

    def call(batch: Any) -> list[Any]:
        found: list[Any] = keras.tree.flatten(network(batch, training=False))
        return found

    return Network(
        inputs=tuple(_spec(each.name, each) for each in network.inputs),
        outputs=tuple(_spec(name, each) for name, each in zip(names, outputs, strict=True)),
        call=call,
        weights={each.path: each for each in network.weights},
        keep=network,
    )


def _explain(path: Path, error: Exception) -> ModelError:
    where, text = str(path), str(error)
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
    return ModelError(f"damaged, or not a Keras network: {line[:200]}", where=where, allowed=ALLOWED)


def _open_saved_model(path: Path, tensorflow: Any, signature: str) -> Network:
    where = str(path)
    _saved_model.check(path)
    try:
        loaded = tensorflow.saved_model.load(where)
    except (tensorflow.errors.OpError, OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"a damaged SavedModel: {line[:200]}", where=where) from None
    if signature not in loaded.signatures:
        raise ModelError(
            f"no signature '{signature}'", where=where, allowed=", ".join(loaded.signatures) or "it has none"
        )
    function = loaded.signatures[signature]
    taken, given = function.structured_input_signature[1], function.structured_outputs

    def call(batch: Any) -> list[Any]:
        found = function(**{next(iter(taken)): batch})
        return [found[name] for name in given]

    return Network(
        inputs=tuple(_spec(name, each) for name, each in taken.items()),
        outputs=tuple(_spec(name, each) for name, each in given.items()),
        call=call,
        weights={each.name: each for each in function.variables},
        keep=loaded,
    )


def _spec(name: str, value: Any) -> TensorSpec:
    shape = () if value.shape is None or getattr(value.shape, "rank", 1) is None else tuple(value.shape)
    dtype = value.dtype if isinstance(value.dtype, str) else value.dtype.name
    return TensorSpec(name=name, shape=shape, dtype=dtype)


def start_tensorflow(threads: int, purpose: str) -> Any:
    """Import TensorFlow for the CPU, in silence; what is set is set for the whole process.

    Args:
        threads: For one operator; the first call decides.
        purpose: What needs it, for the error.

    Raises:
        MissingExtraError: It is not installed.
    """
    first = "tensorflow" not in sys.modules
    if first:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    with without_noise():
        tensorflow = registry.require("tensorflow", purpose)
        if first:  # it takes all memory of every GPU it sees, and its threads can't be set later
            tensorflow.config.set_visible_devices([], "GPU")
            tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
            tensorflow.config.threading.set_inter_op_parallelism_threads(1)
            tensorflow.constant(0)
    return tensorflow


@contextmanager
def without_noise() -> Iterator[None]:
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
