"""C sources for microcontrollers: the model as an array, the operators it needs, and a test to prove it on the chip."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd import inspection, store
from edgekd.errors import ConfigError, ExportError
from edgekd.inspection import Node
from edgekd.packagers._checks import check_ends, check_format
from edgekd.packagers._operators import METHODS
from edgekd.packagers._templates import render
from edgekd.records import Cargo, TensorSpec, Vectors

FORMATS = ("tflite",)
SUITS = "microcontroller"
PRECISIONS = ("fp32", "static_wi8_ai8", "static_wi8_ai16")

_TYPES = {"int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "int32": "int32_t", "float32": "float"}
_PACKED = ("int8", "int4", "float16")
_WIDTH = 118
# Kernels of one chip may round once where those of another round twice; floats add in another order.
_STEPS, _RELATIVE = 1, 1e-4


def pack(*, cargo: Cargo, folder: Path, symbol: str = "model") -> tuple[Path, ...]:
    """Write `{symbol}_data.h/.c`, `_resolver.h`, `_run.h/.cc` and, where there are test vectors, `_test.h/.c`.

    `_data` is plain C without any library: the file's bytes (const, aligned to 16), scale and zero point of input and
    output, labels, and the arena that TFLite Micro needed. `_resolver.h` and `_run` are for TFLite Micro, with exactly
    the operators that the file uses. `_test` calls any function that runs the model and counts wrong outputs.

    Args:
        cargo: Of a TFLite file with one input and one output, all float32 or all integers.
        folder: Made when missing.
        symbol: What all names begin with; a C identifier.

    Returns:
        The files.

    Raises:
        ConfigError: A symbol that C does not allow.
        ExportError: TFLite Micro can't run the file; labels or test vectors do not fit it.
        ModelError: A damaged file.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", symbol):
        raise ConfigError(f"symbol '{symbol}'", where="packager c_source", allowed="small letters, digits, underscores")
    check_format(cargo, "c_source", FORMATS)
    check_ends(cargo)
    methods = _methods(cargo)
    content = cargo.model.path.read_bytes()
    known: dict[str, Any] = {
        "symbol": symbol,
        "macro": symbol.upper(),
        "cargo": cargo,
        "input": _end(cargo, cargo.model.inputs[0]),
        "output": _end(cargo, cargo.model.outputs[0]),
        "size": len(content),
        "bytes": _rows(np.frombuffer(content, np.uint8), "uint8"),
        "labels": cargo.labels,
        "operators": methods,
    }
    suffixes = ["data.h", "data.c", "resolver.h", "run.h", "run.cc"]
    if cargo.vectors is not None:
        known["test"] = _test(cargo, cargo.vectors)
        suffixes += ["test.h", "test.c"]
    paths = []
    for suffix in suffixes:
        path = folder / f"{symbol}_{suffix}"
        store.write_bytes(path, render(f"c_{suffix}", **known).encode())
        paths.append(path)
    return tuple(paths)


def _is_decoded(node: Node) -> bool:
    """Whether it looks rows up in a table of int8, which TFLite Micro makes floats of as it goes."""
    return node.operator == "EMBEDDING_LOOKUP" and node.inputs[1] is not None and node.inputs[1].dtype == "int8"


def _methods(cargo: Cargo) -> list[str]:
    """What adds the operators of the file to a resolver; refuses what TFLite Micro does not run."""
    where, anatomy = cargo.model.name, inspection.inspect(cargo.model.path)
    hybrid = {
        node.operator
        for node in anatomy.nodes
        if any(given.dtype == "float32" for given in node.outputs)
        and not _is_decoded(node)
        and any(each and each.constant and each.dtype in _PACKED for each in node.inputs)
    }
    if hybrid:
        raise ExportError(
            f"float activations with packed weights in {', '.join(sorted(hybrid))}, which TFLite Micro does not run",
            where=where,
            allowed=", ".join(PRECISIONS),
        )
    names = sorted(name for name, _ in anatomy.operators)
    if unknown := [each for each in names if each not in METHODS]:
        raise ExportError(
            f"TFLite Micro has no {', '.join(unknown)}",
            where=where,
            next_step="use another operator in the network, or another runtime",
        )
    return [METHODS[each] for each in names]


def _end(cargo: Cargo, spec: TensorSpec) -> dict[str, Any]:
    if spec.dtype not in _TYPES:
        raise ExportError(f"a {spec.dtype} tensor", where=cargo.model.name, allowed=", ".join(_TYPES))
    # A dynamic batch is one sample here.
    shape = [1 if size is None else size for size in spec.shape]
    return {
        "type": _TYPES[spec.dtype],
        "dtype": spec.dtype,
        "shape": shape,
        "elements": int(np.prod(shape)),
        "scale": None if spec.scale is None else _float(spec.scale),
        "zero_point": spec.zero_point or 0,
    }


def _test(cargo: Cargo, vectors: Vectors) -> dict[str, Any]:
    found = {}
    for word, spec, array in (
        ("inputs", cargo.model.inputs[0], vectors.inputs),
        ("outputs", cargo.model.outputs[0], vectors.outputs),
    ):
        shape = tuple(size or 1 for size in spec.shape[1:])
        if array.dtype != spec.dtype or array.shape[1:] != shape or len(array) != len(vectors.inputs) or not len(array):
            raise ExportError(
                f"{word} of test vectors are {array.dtype} of shape {array.shape}",
                where=cargo.model.name,
                allowed=f"{spec.dtype}, (N, {', '.join(str(size) for size in shape)})",
            )
        found[word] = [_rows(each.ravel(), spec.dtype) for each in array]
    is_float = cargo.model.outputs[0].dtype == "float32"
    largest = max(1.0, float(np.abs(vectors.outputs.astype(np.float64)).max()))
    return {**found, "is_float": is_float, "tolerance": _float(_RELATIVE * largest) if is_float else str(_STEPS)}


def _rows(numbers: NDArray[Any], dtype: str) -> list[str]:
    """Numbers as lines of C."""
    words = [_float(float(each)) if dtype == "float32" else str(int(each)) for each in numbers]
    rows, row = [], ""
    for word in words:
        if row and len(row) + len(word) + 2 > _WIDTH:
            rows.append(row + ",")
            row = ""
        row += f", {word}" if row else word
    return [*rows, row]


def _float(value: float) -> str:
    """A float32 in C, to its last bit."""
    if not np.isfinite(value):
        raise ExportError(f"{value} in test vectors", allowed="finite numbers", next_step="give other samples")
    text = f"{np.float32(value):.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"
