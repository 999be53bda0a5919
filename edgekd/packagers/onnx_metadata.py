"""ONNX with labels, normalization, description and parent in its metadata_props."""

from __future__ import annotations

import json
from pathlib import Path

from edgekd import store
from edgekd.errors import ModelError
from edgekd.packagers._checks import check_ends, check_format
from edgekd.packagers._text import fitted, length_of
from edgekd.records import Cargo

FORMATS = ("onnx",)
SUITS, KEEPS = "all", "bits"

# Larger ones lie beside the file.
_TOKENIZER_BYTES = 10**6


def pack(*, cargo: Cargo, folder: Path) -> tuple[Path, ...]:
    """Write `{name}.metadata.onnx`: the same graph, with `metadata_props` that a session gives back as a dictionary.

    Keys: `labels` (a JSON list), `input_mean`, `input_std` (JSON lists; raw values x go in as (x - mean) / std),
    `content`, `output`, `task`, `description`, `author`, `licence`, `version`, `precision`, `parent_sha256`. Of texts,
    in place of mean and std, `length`, `pad` and `tokenizer`: all of `tokenizer.json`, up to 1 MB. What is not known
    is left out; keys of others stay.

    Args:
        cargo: Of an ONNX file with one input and one output, or of a causal language model.
        folder: Made when missing.

    Returns:
        The file.

    Raises:
        ExportError: Labels of another count than outputs.
        ModelError: A damaged file.
    """
    import onnx
    from google.protobuf.message import DecodeError

    check_format(cargo, "onnx_metadata", FORMATS)
    if cargo.task != "next_token":
        check_ends(cargo)
    try:
        model = onnx.load(cargo.model.path)
    except DecodeError:
        raise ModelError("a damaged ONNX model", where=str(cargo.model.path), next_step="export it again") from None
    properties = {each.key: each.value for each in model.metadata_props} | properties_of(cargo)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, dict(sorted(properties.items())))
    model.doc_string = cargo.description or model.doc_string
    path = folder / f"{cargo.stem}.metadata.onnx"
    store.write_bytes(path, model.SerializeToString(deterministic=True))
    return (path,)


def properties_of(cargo: Cargo) -> dict[str, str]:
    """What the file says of itself; only what is known."""
    known = {
        "name": cargo.name,
        "labels": json.dumps(cargo.labels, ensure_ascii=False) if cargo.labels else "",
        **(_of_texts(cargo) if cargo.content == "text" else _of_numbers(cargo)),
        "content": cargo.content,
        "output": cargo.head,
        "task": cargo.task,
        "description": cargo.description,
        "author": cargo.author,
        "licence": cargo.licence,
        "version": cargo.version,
        "precision": cargo.model.precision,
        "parent_sha256": cargo.model.parent_sha256 or "",
    }
    return {key: value for key, value in known.items() if value}


def _of_numbers(cargo: Cargo) -> dict[str, str]:
    return {"input_mean": json.dumps(cargo.raw_mean), "input_std": json.dumps(cargo.raw_std)}


def _of_texts(cargo: Cargo) -> dict[str, str]:
    if cargo.tokens is None:
        return {}
    tokenizer = fitted(cargo) if cargo.tokens.tokenizer else ""
    return {
        "tokenizer": tokenizer if len(tokenizer.encode()) <= _TOKENIZER_BYTES else "",
        "length": str(length_of(cargo) or ""),
        "pad": "" if cargo.tokens.pad is None else str(cargo.tokens.pad),
    }
