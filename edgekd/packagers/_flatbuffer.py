"""Writes TFLite model metadata by the public schema `metadata_schema.fbs` 1.1.0 of tensorflow/tflite-support.

The schema is small, and what is used of it smaller: tables are written by the numbers of their fields, which the schema
fixes for ever. The official writer can't be installed beside current versions of onnx and protobuf.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers

IDENTIFIER = b"M001"
# Every field below is in the first version of the schema; a reader that knows it understands all of this.
MIN_PARSER_VERSION = "1.0.0"


@dataclass(frozen=True)
class Byte:
    """An enumeration or the kind of a union."""

    value: int


@dataclass(frozen=True)
class Unsigned:
    """A 32-bit number."""

    value: int


@dataclass(frozen=True)
class Table:
    """Fields by their number in the schema; `None` is left out."""

    fields: tuple[Any, ...]


DESCRIPTIONS, AXIS_LABELS, VALUE_LABELS, VOCABULARY = 1, 2, 3, 5
RGB, GRAYSCALE = 1, 2


def associated_file(name: str, description: str, kind: int) -> Table:
    """Table `AssociatedFile`; kind is one of the numbers above."""
    return Table((name, description, Byte(kind)))


def image(width: int, height: int, colours: int) -> Table:
    """Table `Content` of an image."""
    properties = Table((Byte(colours), Table((Unsigned(width), Unsigned(height)))))
    return Table((Byte(2), properties))


def feature() -> Table:
    """Table `Content` of any other tensor."""
    return Table((Byte(1), Table(())))


def normalization(mean: Sequence[float], std: Sequence[float]) -> Table:
    """Table `ProcessUnit` with `NormalizationOptions`: (x - mean) / std."""
    return Table((Byte(1), Table((tuple(mean), tuple(std)))))


def bert_tokenizer(vocabulary: Sequence[Table]) -> Table:
    """Table `ProcessUnit` with `BertTokenizerOptions`."""
    return Table((Byte(4), Table((list(vocabulary),))))


def tensor(
    *,
    name: str,
    description: str,
    content: Table,
    units: Sequence[Table],
    low: Sequence[float],
    high: Sequence[float],
    files: Sequence[Table],
) -> Table:
    """Table `TensorMetadata`."""
    stats = Table((tuple(high), tuple(low))) if low and high else None
    return Table((name, description, None, content, list(units), stats, list(files)))


def model(
    *,
    name: str,
    description: str,
    version: str,
    author: str,
    licence: str,
    inputs: Sequence[Table],
    outputs: Sequence[Table],
    units: Sequence[Table] = (),
) -> bytes:
    """Table `ModelMetadata` as a flatbuffer; units process all inputs together.

    >>> bytes(model(name="m", description="", version="", author="", licence="", inputs=[], outputs=[]))[4:8]
    b'M001'
    """
    graph = Table((None, None, list(inputs), list(outputs), None, list(units)))
    root = Table((name, description, version, [graph], author, licence, None, MIN_PARSER_VERSION))
    builder = flatbuffers.Builder(1024)
    builder.Finish(_write(builder, root), IDENTIFIER)
    return bytes(builder.Output())


def _write(builder: Any, value: Any) -> int:
    """Write what a field refers to; children come before their parents."""
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, tuple):
        builder.StartVector(4, len(value), 4)
        for each in reversed(value):
            builder.PrependFloat32(each)
        return int(builder.EndVector())
    if isinstance(value, list):
        offsets = [_write(builder, each) for each in value]
        builder.StartVector(4, len(offsets), 4)
        for each in reversed(offsets):
            builder.PrependUOffsetTRelative(each)
        return int(builder.EndVector())
    return _write_table(builder, value)


def _write_table(builder: Any, table: Table) -> int:
    scalar = (Byte, Unsigned)
    offsets = {
        slot: _write(builder, each)
        for slot, each in enumerate(table.fields)
        if not isinstance(each, scalar) and each not in (None, "", [])
    }
    builder.StartObject(len(table.fields))
    for slot, each in enumerate(table.fields):
        if isinstance(each, Byte):
            builder.PrependInt8Slot(slot, each.value, 0)
        elif isinstance(each, Unsigned):
            builder.PrependUint32Slot(slot, each.value, 0)
        elif slot in offsets:
            builder.PrependUOffsetTRelativeSlot(slot, offsets[slot], 0)
    return int(builder.EndObject())
