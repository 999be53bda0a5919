"""The tokenizer that turns texts into what a file takes, in the format that Hugging Face's tokenizers read."""

from __future__ import annotations

from pathlib import Path

from edgekd import store
from edgekd.packagers._checks import check_format
from edgekd.packagers._text import TOKENIZER, fitted
from edgekd.records import Cargo

FORMATS = ("tflite", "onnx")
SUITS = "text"


def pack(*, cargo: Cargo, folder: Path) -> tuple[Path, ...]:
    """Write `tokenizer.json`: that of the data, which cuts and fills texts to the length of the file.

    Args:
        cargo: Of any file, with `tokens`.
        folder: Made when missing.

    Returns:
        The file.

    Raises:
        ExportError: No tokenizer is known.
    """
    check_format(cargo, "tokenizer", FORMATS)
    path = folder / TOKENIZER
    store.write_bytes(path, fitted(cargo).encode())
    return (path,)
