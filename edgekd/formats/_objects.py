"""TFLite files as the objects of their schema."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgekd.errors import ModelError

_IDENTIFIER = b"TFL3"
# What a flatbuffer raises whose offsets lead nowhere, or to something of another kind.
_DAMAGE = (struct.error, ValueError, IndexError, TypeError, KeyError, AttributeError, OverflowError, MemoryError)


def read_objects(path: Path) -> tuple[Any, bytes]:
    """Read a TFLite file; a zip file at its end is in the bytes only.

    Returns:
        The model and the file's bytes.

    Raises:
        ModelError: Not a TFLite file, or a damaged one.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "cut.tflite"
    >>> _ = file.write_bytes(b"    TFL3")
    >>> try:
    ...     read_objects(file)
    ... except ModelError as error:
    ...     print(error.what)
    a damaged TFLite model
    """
    content = path.read_bytes()
    if content[4:8] != _IDENTIFIER:
        raise ModelError("not a TFLite model: its identifier is missing", where=str(path))
    from ai_edge_litert import schema_py_generated as schema

    with refusing_damage(path):
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
        if not model.subgraphs or not model.buffers or model.operatorCodes is None:
            raise ValueError
    return model, content


@contextmanager
def refusing_damage(path: Path) -> Iterator[None]:
    """Turn what a damaged flatbuffer raises into one error."""
    try:
        yield
    except _DAMAGE:
        raise ModelError("a damaged TFLite model", where=str(path), next_step="export or download it again") from None
