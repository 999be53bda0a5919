"""TFLite with labels, normalization and description inside, as Android's task libraries and MediaPipe read them."""

from __future__ import annotations

import io
import logging
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgekd import store
from edgekd.formats._objects import read_objects
from edgekd.packagers import _flatbuffer as metadata
from edgekd.packagers._checks import channels_of, check_ends, check_format, check_pixels
from edgekd.packagers._text import TOKENIZER, VOCABULARY, fitted, word_pieces
from edgekd.records import Cargo

FORMATS = ("tflite",)
SUITS, KEEPS = "all", "bits"
INPUTS = 1

_log = logging.getLogger("edgekd")
_ENTRY = b"TFLITE_METADATA"
LABELS = "labels.txt"


def pack(*, cargo: Cargo, folder: Path) -> tuple[Path, ...]:
    """Write `{name}.metadata.tflite`: the file with a metadata flatbuffer, and labels in a zip file at its end.

    A file of texts has its tokenizer there, too: `tokenizer.json`, and BERT's `vocab.txt` where that says the same.

    By `metadata_schema.fbs` of tensorflow/tflite-support: an app's library reads there how pixels are normalized
    (nothing to do, mean 0 and std 1, where that is in the graph) and what the outputs are called.

    Args:
        cargo: Of a TFLite file with one input and one output.
        folder: Made when missing.

    Returns:
        The file.

    Raises:
        ExportError: Labels of another count than outputs; pixels are not what a uint8 file takes.
        ModelError: A damaged file.
    """
    check_format(cargo, "tflite_metadata", FORMATS)
    check_ends(cargo)
    if cargo.content == "image":
        check_pixels(cargo)
        _warn(cargo)
    from ai_edge_litert.tools import flatbuffer_utils

    model, _ = read_objects(cargo.model.path)
    files = _texts(cargo)
    put(model, _metadata(cargo, files))
    content = bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    if cargo.labels:
        files[LABELS] = "\n".join(cargo.labels) + "\n"
    path = folder / f"{cargo.stem}.metadata.tflite"
    store.write_bytes(path, with_files(content, files) if files else content)
    return (path,)


def _texts(cargo: Cargo) -> dict[str, str]:
    """What makes tokens of a text, by the names of files."""
    if cargo.content != "text" or not (cargo.tokens and cargo.tokens.tokenizer):
        return {}
    pieces = word_pieces(cargo)
    return {TOKENIZER: fitted(cargo), **({VOCABULARY: "\n".join(pieces) + "\n"} if pieces else {})}


def _warn(cargo: Cargo) -> None:
    """Say what apps' libraries will not open; others read the file all the same."""
    dtype = cargo.model.inputs[0].dtype
    if dtype not in ("uint8", "float32"):
        _log.warning(
            "%s: apps' task libraries open no file with %s input; export with io = 'uint8' or 'float32' for them",
            cargo.model.name,
            dtype,
        )
    elif dtype == "float32" and len({*cargo.raw_mean}) + len({*cargo.raw_std}) > 2:
        # tflite-support#968
        _log.warning(
            "%s: apps' task libraries do not normalize each channel by numbers of its own; fold that into the graph",
            cargo.model.name,
        )


def _metadata(cargo: Cargo, texts: Mapping[str, str]) -> bytes:
    return metadata.model(
        name=cargo.name,
        description=cargo.description,
        version=cargo.version,
        author=cargo.author,
        licence=cargo.licence,
        inputs=[_tokens(cargo, texts) if cargo.content == "text" else _input(cargo)],
        outputs=[output_of(cargo)],
    )


def output_of(cargo: Cargo, name: str | None = None) -> metadata.Table:
    """Describe the output of a file, by a name of one's own where a library asks for it."""
    labels = []
    if cargo.labels:
        kind = metadata.VALUE_LABELS if cargo.head == "class" else metadata.AXIS_LABELS
        labels = [metadata.associated_file(LABELS, "Names of the classes, in the order of the outputs.", kind)]
    probabilities = cargo.head == "probabilities"
    return metadata.tensor(
        name=name or ("probability" if probabilities else cargo.head),
        description=_OUTPUTS[cargo.head],
        content=metadata.feature(),
        units=(),
        low=(0.0,) if probabilities else (),
        high=(1.0,) if probabilities else (),
        files=labels,
    )


def _tokens(cargo: Cargo, texts: Mapping[str, str]) -> metadata.Table:
    files = []
    if TOKENIZER in texts:
        files.append(metadata.associated_file(TOKENIZER, "Makes tokens of texts.", metadata.DESCRIPTIONS))
    units = []
    if VOCABULARY in texts:
        pieces = metadata.associated_file(VOCABULARY, "Word pieces.", metadata.VOCABULARY)
        units.append(metadata.bert_tokenizer([pieces]))
    return metadata.tensor(
        name=cargo.content,
        description=_INPUTS["text"],
        content=metadata.feature(),
        units=units,
        low=(),
        high=(),
        files=files,
    )


_OUTPUTS = {
    "probabilities": "Probabilities of the classes.",
    "logits": "Scores of the classes, before softmax.",
    "values": "Predicted values.",
    "class": "The index of the class.",
}


def _input(cargo: Cargo) -> metadata.Table:
    shape = cargo.model.inputs[0].shape
    if cargo.content == "image":
        colours = metadata.RGB if channels_of(cargo) == 3 else metadata.GRAYSCALE
        content = metadata.image(int(shape[2] or 0), int(shape[1] or 0), colours)
    else:
        content = metadata.feature()
    mean, std = cargo.raw_mean, cargo.raw_std
    # One number that all channels share is what task libraries understand.
    mean, std = (each[:1] if len(set(each)) == 1 else each for each in (mean, std))
    mean, std = _spread(mean, std)
    # What the tensor holds after normalization.
    low, high = ([(end - m) / s for m, s in zip(mean, std, strict=True)] for end in cargo.raw_range or (0.0, 0.0))
    return metadata.tensor(
        name=cargo.content,
        description=_INPUTS.get(cargo.content, "Features."),
        content=content,
        units=[metadata.normalization(mean, std)],
        low=low if cargo.raw_range else (),
        high=high if cargo.raw_range else (),
        files=(),
    )


_INPUTS = {"image": "The image to be classified.", "audio": "Features of a recording.", "text": "Tokens of the text."}


def _spread(mean: tuple[float, ...], std: tuple[float, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    count = max(len(mean), len(std))
    return mean * (count // len(mean)), std * (count // len(std))


def put(model: Any, content: bytes) -> None:
    """Set the metadata of a model, in place of what is there."""
    from ai_edge_litert import schema_py_generated as schema

    for entry in model.metadata or []:
        if entry.name == _ENTRY:
            model.buffers[entry.buffer].data = None
    kept = [each for each in model.metadata or [] if each.name != _ENTRY]
    buffer = schema.BufferT()
    buffer.data = list(content)
    entry = schema.MetadataT()
    entry.name, entry.buffer = _ENTRY, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*kept, entry]


def with_files(content: bytes, files: Mapping[str, str]) -> bytes:
    """Put files into a zip file at the end of a model."""
    stream = io.BytesIO(content)
    # Readers map the file: what is in there is stored, not compressed. The date is that of the oldest zip file there
    # can be, so that the same labels give the same bytes.
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        for name, text in files.items():
            member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            member.create_system = 3  # Unix, wherever this runs
            member.external_attr = 0o644 << 16
            archive.writestr(member, text)
    return stream.getvalue()
