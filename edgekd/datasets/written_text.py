"""Texts that a language model writes: what its student learns from, and is judged on, where there are no others."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgekd import registry, store
from edgekd.datasets import Source, Split
from edgekd.datasets._places import find
from edgekd.datasets._tokenizers import open_tokenizer, tokens_of
from edgekd.errors import ConfigError, DataError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor, nn

_log = logging.getLogger("edgekd")
_PURPOSE = "dataset 'written_text'"
_LEAST_TEXTS, _LEAST_LENGTH = 10, 2
# A model that writes fewer different texts repeats itself, and its student would learn little.
_LEAST_DIFFERENT = 0.5


def load(
    *,
    weights: Path,
    tokenizer: Path,
    writer: str = "llama2c",
    texts: int = 4096,
    length: int = 256,
    temperature: float = 1.0,
    top_p: float = 1.0,
    writing_seed: int = 0,
) -> Source:
    """Let a language model write texts, each drawn for itself after the token that begins any text.

    Where a text ends before it is `length` tokens long, the model goes on with the next one. Texts are held out whole,
    and no two are the same, so that what is measured was never learned. They are kept in the user's cache folder:
    the model writes once, and goes on where it was cut off.

    Args:
        weights: The model's file or folder; a relative one is also looked for in the folders of `EDGEKD_DATA`.
        tokenizer: Its tokenizer's file or folder (see `open_tokenizer`).
        writer: What loads the model: a plug-in for teachers, such as `llama2c` or `transformers`.
        texts: How many are written, for all splits together.
        length: Tokens of each.
        temperature: Of the draws, above 0.
        top_p: Only the most likely tokens that make up so much of the probability are drawn from.
        writing_seed: Of the draws.

    Raises:
        ConfigError: An option out of range, or a tokenizer without a token that begins a text.
        DataError: Files that are missing, or a model that writes the same again and again.
        ModelError: No such model, or one of another tokenizer.
        MissingExtraError: What reads the model or the tokenizer is not installed.

    >>> import tempfile
    >>> try:
    ...     load(weights=Path(tempfile.mkdtemp()) / "own.bin", tokenizer=Path("own.bin"))
    ... except DataError as error:
    ...     print(error.where)
    data.weights
    """
    _check(texts, length, temperature, top_p)
    network = find(weights, "weights", folder=True)
    words = open_tokenizer(_tokenizer_of(tokenizer))
    tokens = tokens_of(words, padded=False)
    if tokens.begin is None:
        raise ConfigError("the tokenizer has no token that begins a text", where="data.tokenizer")
    begin = tokens.begin

    registry.require("torch", _PURPOSE)
    from edgekd.frameworks.writing import write_texts

    def read() -> nn.Module:
        _log.info("%s writes %d texts of %d tokens; later runs find them", network.name, texts, length)
        given = {
            "weights": network,
            "outputs": tokens.vocabulary,
            "input_shape": (length,),
            "task": "next_token",
            "tokens": tokens,
        }
        takes = registry.passed("teachers", writer)
        made: nn.Module = registry.function("teachers", writer)(
            **{key: value for key, value in given.items() if key in takes}
        )
        return made.eval()

    def prompts(numbers: range) -> Tensor:
        import torch

        return torch.full((len(numbers), 1), begin)

    key = store.fingerprint(
        [store.sha256_of(file) for file in _files_of(network)],
        [writer, tokens.vocabulary, begin, length, temperature, top_p, writing_seed],
        store.code_fingerprint("frameworks/writing.py", "frameworks/language_models.py", "teachers"),
        store.tool_versions("torch", "transformers"),
    )
    written = write_texts(
        read,
        prompts,
        texts,
        length,
        temperature=temperature,
        top_p=top_p,
        seed=writing_seed,
        folder=store.cache_place("written") / key[:32],
    )
    # In the order in which they were written.
    kept = written[np.sort(np.unique(written, axis=0, return_index=True)[1])]
    if len(kept) < _LEAST_DIFFERENT * len(written):
        raise DataError(
            f"{len(kept)} different texts among {len(written)}",
            where=str(network),
            next_step="raise temperature, top_p or length",
        )
    train = Split(inputs=kept, labels=_bytes_of(words, kept))
    return Source(train=train, classes=(), scale=1.0, task="next_token", tokens=tokens)


def files(*, weights: Path, tokenizer: Path, **_: object) -> list[Path]:
    """The files of the model and of its tokenizer."""
    return [*_files_of(find(weights, "weights", folder=True)), _tokenizer_of(tokenizer)]


def _files_of(place: Path) -> list[Path]:
    return sorted(file for file in place.rglob("*") if file.is_file()) if place.is_dir() else [place]


def _tokenizer_of(place: Path) -> Path:
    found = find(place, "tokenizer", folder=True)
    return found / "tokenizer.json" if found.is_dir() else found


def _check(texts: int, length: int, temperature: float, top_p: float) -> None:
    for key, value, fits, allowed in (
        ("texts", texts, texts >= _LEAST_TEXTS, f"{_LEAST_TEXTS} or more"),
        ("length", length, length >= _LEAST_LENGTH, f"{_LEAST_LENGTH} or more"),
        ("temperature", temperature, temperature > 0, "above 0: else all texts are the same"),
        ("top_p", top_p, 0 < top_p <= 1, "above 0, at most 1"),
    ):
        if not fits:
            raise ConfigError(f"{key} = {value:g}", where="dataset written_text", allowed=allowed)


def _bytes_of(tokenizer: Tokenizer, texts: NDArray[np.int32]) -> NDArray[np.int64]:
    """Count the bytes of text behind the tokens that each text predicts: all but the first, which begins it."""
    return np.array([len(text.encode()) for text in tokenizer.decode_batch(texts[:, 1:].tolist())], np.int64)
