"""Reads what is in a model file: operators, parameters, multiplications, dtypes. Needs neither torch nor tensorflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgekd import child, registry
from edgekd.errors import ModelError
from edgekd.records import TensorSpec

Layout = Literal["NCHW", "NHWC", "flat"]

# A file that keeps a parser busy for longer than this is not one that a converter wrote.
_TIMEOUT_S = 120.0
_HEADER_BYTES = 8
_TFLITE_IDENTIFIER = b"TFL3"
_ALLOWED = ".onnx or .tflite files"


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One operator of a model file, at batch 1.

    Attributes:
        name: As in the file, or the operator's index where the file has no names.
        output_shape: `None` is a dynamic dimension, or an unknown one.
        parameters: Numbers that were trained and that this operator is the first to use.
        macs: Multiplications with accumulation of one inference.
        weight_dtype: Of its largest constant, as stored; `None` without constants.
        size_bytes: Of its constants, as stored.
    """

    name: str
    operator: str
    output_shape: tuple[int | None, ...]
    parameters: int = 0
    macs: int = 0
    weight_dtype: str | None = None
    size_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Value(TensorSpec):
    """A tensor that goes into an operator or comes out of it.

    Attributes:
        key: What it is called in its graph: files may leave out names, or repeat them.
        constant: Its content is in the file.
        channels: How many scales it has: 0 without quantization, 1 for all of it, else one for each channel.
        sparse: Stored without its zeros.
        content: Of small integer constants such as axes, permutations and shapes.
        limits: Smallest and largest number of an int8 or uint8 constant, where the format's rules need them.
    """

    key: str = ""
    constant: bool = False
    channels: int = 0
    sparse: bool = False
    content: tuple[int, ...] | None = None
    limits: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Node:
    """An operator as the file has it, those that only decode constants too.

    Attributes:
        name: As that of its layer.
        domain: Who defines it: `""` for the format itself.
        version: Of the operator in TFLite, of its domain's operator set in ONNX.
        local: The file itself says what it does.
        graph: 0 for the main graph, more for the bodies of control flow.
        inputs: `None` is an optional one that is not given.
        options: Its numbers, texts and lists of integers, named as in the format's schema.
    """

    name: str
    operator: str
    domain: str = ""
    version: int = 1
    local: bool = False
    graph: int = 0
    inputs: tuple[Value | None, ...] = ()
    outputs: tuple[Value, ...] = ()
    options: Mapping[str, int | float | str | tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DtypeTotal:
    """How many tensors have a dtype, and how many bytes of constants the file stores in it."""

    dtype: str
    tensors: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Signature:
    """A way to call a TFLite file: the names that it gives to inputs and outputs, and the tensors that they are."""

    name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """What is in a model file.

    Attributes:
        operators: Name and count, the most frequent first.
        parameters: Trained numbers; scales, zero points and shapes are none.
        macs: Of one inference at batch 1, in convolutions, recurrent cells and matrix products.
        dtypes: Of constants and activations.
        layers: In the order of the file, without those that only decode a constant.
        layout: Of the first input: `flat` where it has not four dimensions.
        metadata: Producer, opset and the like.
        nodes: All operators in the order of the file, with what goes in and out.
        versions: Of the format: `schema` in TFLite; `ir` and each operator set's domain in ONNX.
        external: The file that part of its data is in, as it names it; `None` is all in one file.
        signatures: Of TFLite files that have some.
    """

    format: Literal["onnx", "tflite"]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    operators: tuple[tuple[str, int], ...]
    parameters: int
    macs: int
    dtypes: tuple[DtypeTotal, ...]
    layers: tuple[Layer, ...]
    size_bytes: int
    layout: Layout
    metadata: Mapping[str, str] = field(default_factory=dict)
    nodes: tuple[Node, ...] = ()
    versions: Mapping[str, int] = field(default_factory=dict)
    external: str | None = None
    signatures: tuple[Signature, ...] = ()

    @property
    def ways(self) -> tuple[str, ...]:
        """Names of the signatures, where there are several to choose from."""
        return tuple(each.name for each in self.signatures) if len(self.signatures) > 1 else ()

    def count(self, operator: str) -> int:
        """How many times an operator is in the file."""
        return dict(self.operators).get(operator, 0)


def inspect(path: Path) -> Anatomy:
    """Read a model file in a process of its own, so that a damaged one can do no harm.

    Args:
        path: An ONNX or TFLite file.

    Raises:
        ModelError: Missing, empty, damaged, of another format, or its external data is outside its folder.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "notes.onnx"
    >>> _ = file.write_bytes(b"no model")
    >>> try:
    ...     inspect(file)
    ... except ModelError as error:
    ...     print(error.what)
    not an ONNX model
    """
    format_name = _format_of(path)
    try:
        return child.call(f"the {format_name} parser", _read, format_name, path, timeout_s=_TIMEOUT_S)
    except child.ChildCrashError as error:
        # A traceback helps nobody here: its last line is what the parser tripped over.
        reason = error.what.strip().splitlines()[-1].strip()
        raise ModelError(f"damaged, or not a model: {reason}", where=str(path)) from None


def _read(format_name: str, path: Path) -> Anatomy:
    anatomy: Anatomy = registry.function("formats", format_name)(path)
    return anatomy


def _format_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except FileNotFoundError:
        raise ModelError("no such file", where=str(path)) from None
    except OSError as error:
        raise ModelError(f"can't read it: {error.strerror}", where=str(path)) from None
    if not header:
        raise ModelError("the file is empty", where=str(path), allowed=_ALLOWED)
    is_tflite = header[4:8] == _TFLITE_IDENTIFIER
    suffix = path.suffix.lower()
    if suffix == ".tflite" and not is_tflite:
        raise ModelError("not a TFLite model: its identifier is missing", where=str(path), allowed=_ALLOWED)
    if suffix == ".onnx" and is_tflite:
        raise ModelError("a TFLite model with the name of an ONNX model", where=str(path), next_step="rename it")
    if is_tflite:
        return "tflite"
    if suffix == ".onnx":
        return "onnx"
    raise ModelError(f"unknown kind of model file '{path.suffix or path.name}'", where=str(path), allowed=_ALLOWED)
