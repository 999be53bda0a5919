"""What a tokenizer's file says, as packagers need it."""

from __future__ import annotations

import json
from typing import Any

from edgekd.errors import ExportError
from edgekd.records import Cargo

TOKENIZER, VOCABULARY = "tokenizer.json", "vocab.txt"


def tokenizer_of(cargo: Cargo) -> dict[str, Any]:
    """Read the tokenizer of a cargo.

    Raises:
        ExportError: It has none, or one that can't be read.
    """
    content = cargo.tokens.tokenizer if cargo.tokens else ""
    if not content:
        raise ExportError(
            "no tokenizer is known",
            where=cargo.model.name,
            allowed="data whose source makes tokens of texts",
            next_step="leave this packager out, or take a source of texts",
        )
    try:
        found = json.loads(content)
    except ValueError as error:
        raise ExportError(f"its tokenizer is no JSON: {error}", where=cargo.model.name) from None
    if not isinstance(found, dict) or not isinstance(found.get("model"), dict):
        raise ExportError("its tokenizer has no model", where=cargo.model.name, allowed=TOKENIZER)
    return found


def length_of(cargo: Cargo) -> int | None:
    """How many tokens a file takes; `None` is any number, or that it goes on from what it was given before."""
    if cargo.task == "next_token" or not cargo.model.inputs or len(cargo.model.inputs[0].shape) != 2:
        return None
    return cargo.model.inputs[0].shape[1]


def fitted(cargo: Cargo) -> str:
    """Give `tokenizer.json` with the file's length: what it makes of a text is what the file takes.

    Raises:
        ExportError: There is no tokenizer.
    """
    tokenizer, length = tokenizer_of(cargo), length_of(cargo)
    pad = cargo.tokens.pad if cargo.tokens else None
    if length is None:
        tokenizer["truncation"] = tokenizer["padding"] = None
        return json.dumps(tokenizer, ensure_ascii=False)
    tokenizer["truncation"] = {
        "direction": "Right",
        "max_length": length,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    if pad is not None:
        tokenizer["padding"] = {
            "strategy": {"Fixed": length},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": pad,
            "pad_type_id": 0,
            "pad_token": words_of(tokenizer).get(pad, "[PAD]"),
        }
    return json.dumps(tokenizer, ensure_ascii=False)


def words_of(tokenizer: dict[str, Any]) -> dict[int, str]:
    """Tokens by their numbers."""
    vocabulary = tokenizer["model"].get("vocab", {})
    if isinstance(vocabulary, dict):
        found = {int(number): str(word) for word, number in vocabulary.items()}
    else:  # of Unigram, each with its likelihood
        found = {number: str(entry[0]) for number, entry in enumerate(vocabulary)}
    added = {int(each["id"]): str(each["content"]) for each in tokenizer.get("added_tokens") or []}
    return found | added


def word_pieces(cargo: Cargo) -> list[str] | None:
    """Give BERT's vocabulary, a piece for each number; `None` where the tokenizer is not of that kind.

    Raises:
        ExportError: There is no tokenizer.
    """
    tokenizer = tokenizer_of(cargo)
    if tokenizer["model"].get("type") != "WordPiece":
        return None
    words = words_of(tokenizer)
    return [words.get(number, f"[unused{number}]") for number in range(max(words) + 1)]
