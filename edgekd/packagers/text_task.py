"""TFLite that takes a text in apps: three inputs and a vocabulary, as BertNLClassifier and MediaPipe ask for."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import store
from edgekd.errors import ExportError
from edgekd.formats._objects import read_objects
from edgekd.packagers import _flatbuffer as metadata
from edgekd.packagers._checks import check_ends, check_format
from edgekd.packagers._text import VOCABULARY, length_of, tokenizer_of, word_pieces
from edgekd.packagers.tflite_metadata import LABELS, output_of, put, with_files
from edgekd.records import Cargo

FORMATS = ("tflite",)
SUITS, KEEPS = "text", "bits"
INPUTS = 1

# In this order; libraries find them by these names.
_INPUTS = {
    "ids": "Tokens of the text.",
    "mask": "1 of each token, 0 of what fills up the text.",
    "segment_ids": "0: there is one text.",
}
# What the libraries put before a text, behind it, and in place of what they don't know.
_SPECIAL = ("[CLS]", "[SEP]", "[UNK]")


def pack(*, cargo: Cargo, folder: Path) -> tuple[Path, ...]:
    """Write `{name}.text_task.tflite`: what it gives is what the file gives, what it takes are texts.

    Task libraries make three tensors of a text: tokens, mask and segments. The file makes its mask of the tokens, so
    the other two are inputs that nothing reads. The vocabulary is in a zip file at its end, with the labels. The
    libraries cut words as BERT does, without case.

    Args:
        cargo: Of a TFLite file with one input of tokens, whose tokenizer is of word pieces; its pad is 0.
        folder: Made when missing.

    Returns:
        The file.

    Raises:
        ExportError: Another tokenizer, or a file of several inputs.
        ModelError: A damaged file.
    """
    check_format(cargo, "text_task", FORMATS)
    check_ends(cargo)
    pieces = _checked(cargo)
    from ai_edge_litert.tools import flatbuffer_utils

    model, _ = read_objects(cargo.model.path)
    _add_inputs(model)
    tokenizer = metadata.bert_tokenizer([metadata.associated_file(VOCABULARY, "Word pieces.", metadata.VOCABULARY)])
    described = metadata.model(
        name=cargo.name,
        description=cargo.description,
        version=cargo.version,
        author=cargo.author,
        licence=cargo.licence,
        inputs=[
            metadata.tensor(
                name=name, description=text, content=metadata.feature(), units=(), low=(), high=(), files=()
            )
            for name, text in _INPUTS.items()
        ],
        outputs=[output_of(cargo, name="probability")],
        units=[tokenizer],
    )
    put(model, described)
    content = bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    files = {VOCABULARY: pieces, **({LABELS: cargo.labels} if cargo.labels else {})}
    path = folder / f"{cargo.stem}.text_task.tflite"
    store.write_bytes(path, with_files(content, {name: "\n".join(lines) + "\n" for name, lines in files.items()}))
    return (path,)


def _checked(cargo: Cargo) -> list[str]:
    pieces = word_pieces(cargo)
    if pieces is None:
        kind = tokenizer_of(cargo)["model"].get("type")
        raise ExportError(
            f"its tokenizer is {kind}",
            where=cargo.model.name,
            allowed="WordPiece: apps' task libraries cut words in no other way that networks here learn from",
            next_step="take kind = wordpiece, or cut texts by tokenizer.json in the app",
        )
    missing = [each for each in _SPECIAL if each not in pieces]
    if missing or not cargo.tokens or cargo.tokens.pad != 0:
        raise ExportError(
            f"its vocabulary lacks {', '.join(missing)}" if missing else "its pad is not 0",
            where=cargo.model.name,
            allowed=f"{', '.join(_SPECIAL)} among the pieces, and 0 for what fills up a text, as the libraries have it",
            next_step="leave this packager out",
        )
    if length_of(cargo) is None or cargo.model.inputs[0].dtype != "int32":
        raise ExportError(
            f"takes {cargo.model.inputs[0].dtype} of shape {cargo.model.inputs[0].shape}",
            where=cargo.model.name,
            allowed="int32 (1, T)",
        )
    return pieces


def _add_inputs(model: Any) -> None:
    """Add inputs like the first that no operator reads."""
    from ai_edge_litert import schema_py_generated as schema

    graph = model.subgraphs[0]
    first = int(graph.inputs[0])
    names = [each.encode() for each in _INPUTS]
    graph.tensors[first].name = names[0]
    numbers = [first]
    for name in names[1:]:
        tensor = copy.copy(graph.tensors[first])
        tensor.name = name
        graph.tensors.append(tensor)
        numbers.append(len(graph.tensors) - 1)
    graph.inputs = np.array(numbers, np.int32)
    for signature in model.signatureDefs or []:
        signature.inputs = []
        for name, number in zip(names, numbers, strict=True):
            end = schema.TensorMapT()
            end.name, end.tensorIndex = name, number
            signature.inputs.append(end)
