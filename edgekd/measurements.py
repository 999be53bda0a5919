"""Reads measurements back one by one, so that no more than one is there twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from edgekd import store
from edgekd.errors import StoreError
from edgekd.packing import unpack
from edgekd.parsing import check_parsed, parse_json
from edgekd.records import Measurement

_PACKED = ("samples", "labels", "warmup")
_OF_BYTES = np.arange(256, dtype=np.float64).astype(object)


def read_measurements(path: Path, *, wanted: Callable[[bytes], bool] = bool) -> Iterator[Measurement]:
    """Read a file of measurements.

    Args:
        path: As `store.write_json` writes a list of them; other JSON is read whole.
        wanted: Says of the text of a measurement whether it is read; of other JSON all are.

    Raises:
        StoreError: Missing, not JSON, or not measurements; says where.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "measurements.json"
    >>> size = Measurement(model_sha256="5e1f", model="m", format="onnx", precision="fp32", role="student",
    ...                    target="file", metric="file_size", unit="B", samples=(9.0,))
    >>> store.write_json(file, [size])
    >>> next(read_measurements(file)) == size
    True
    """
    with store.opened_json(path) as file:
        yield from parse_measurements(file, str(path), wanted=wanted)


def parse_measurements(file: BinaryIO, where: str, *, wanted: Callable[[bytes], bool] = bool) -> Iterator[Measurement]:
    """Read measurements from an open file, as `read_measurements` does."""
    labels: dict[str, Measurement] = {}
    first = file.readline()
    are_lines = first == b"[\n" and file.read(1) != b" "  # which stands before what is indented
    file.seek(len(first) if are_lines else 0)
    if not are_lines:
        for number, said in enumerate(_load(file.read(), list[Measurement], where)):
            yield _check(said, f"{where}: record {number}", labels)
        return
    for number, line in enumerate(file):
        text = line.removesuffix(b"\n").removesuffix(b",")
        if text == b"]":
            return
        if wanted(text):
            there = f"{where}: record {number}"
            yield _check(_load(text, Measurement, there), there, labels)
    raise StoreError("not what edgekd wrote: it has no end", where=where)


def _load(text: bytes, kind: type, where: str) -> Any:
    """Read JSON; that of another kind of value is an error that says so."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    return said if isinstance(said, list if kind is not Measurement else dict) else parse_json(text, kind, where)


def _check(said: Any, where: str, labels: dict[str, Measurement]) -> Measurement:
    packed = {key: said[key] for key in _PACKED if isinstance(said.get(key), dict)} if isinstance(said, dict) else {}
    if not packed:
        return check_parsed(said, Measurement, where)
    # Those of a split come again and again.
    known = labels.get(str(packed.get("labels")))
    try:
        arrays = {key: unpack(value) for key, value in packed.items() if key != "labels" or known is None}
    except StoreError as error:
        raise StoreError(error.what, where=where, allowed=error.allowed) from None
    numbers: dict[str, Any] = {key: _as_tuple(array) for key, array in arrays.items()}
    if known is not None:
        numbers["labels"] = known.labels
    found = replace(check_parsed(said | dict.fromkeys(packed, ()), Measurement, where), **numbers)
    # The cached properties, which would make them of the tuples again.
    if "samples" in arrays:
        vars(found)["values"] = arrays["samples"].astype(np.float64, copy=False)
    if known is not None:
        vars(found)["label_values"] = known.label_values
    elif "labels" in packed:
        labels[str(packed["labels"])] = found
    return found


def _as_tuple(values: NDArray[np.generic]) -> tuple[float, ...]:
    """Give numbers as Python's own; classes, and right and wrong, are one object each: a million floats take 24 MB."""
    return tuple(_OF_BYTES[values] if values.dtype == np.uint8 else values.tolist())
