"""Running text of the user's own, cut into windows of tokens: what language models learn from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from edgekd.datasets import Source, Split
from edgekd.datasets._places import find
from edgekd.datasets._tokenizers import Kind, open_tokenizer, read_text, read_tokenizer, tokens_of, train_tokenizer
from edgekd.errors import ConfigError, DataError
from edgekd.records import Tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_SUFFIX = ".txt"
# Where a document is cut that is longer than a stretch: at the end of a line, else of a word, in the last part of it.
_SEARCHED = 0.2
_UNREAL_LENGTH = 2


def load(
    *,
    path: Path,
    length: int = 256,
    test_path: Path | None = None,
    separator: str = "",
    tokenizer: Path | None = None,
    hub_tokenizer: str | None = None,
    revision: str = "main",
    train_tokenizer: Kind = "bpe",
    vocabulary: int = 4096,
    lowercase: bool = False,
    task: Literal["next_token", "masked_token"] = "next_token",
    stretches: int = 100,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    tokens: Tokens | None = None,
) -> Source:
    r"""Load text as windows of tokens without padding.

    The text is cut into stretches, and whole stretches drawn by the seed are held out, so that no passage is in two
    splits. Texts of a split follow one another, each between the tokens that begin and end one, and are cut into
    windows of `length` tokens; what is left at the end of a run is left out. Windows for `next_token` overlap by one
    token, so that each token is predicted once.

    Args:
        path: A file in UTF-8, or a folder of .txt files, one text each; a relative one is also looked for in the
            folders of `EDGEKD_DATA`.
        length: Tokens in a window.
        test_path: The same, kept for the end.
        separator: What stands between texts in one file, such as a line break, or two; empty where a file is one text.
        tokenizer: Its file or folder (see `open_tokenizer`); without one, it is trained on the training split alone.
        hub_tokenizer: The name on the hub of a model whose tokenizer is taken.
        revision: Branch, tag or commit on the hub.
        train_tokenizer: Algorithm of one that is trained: `bpe` knows every text, `wordpiece` has a mask.
        vocabulary: Its number of tokens.
        lowercase: Whether it drops case and accents.
        task: What is learned: the next token of all before, or some tokens that are masked.
        stretches: So many parts the text is dealt out in.
        validation: Share of the stretches that are not held out for the end.
        test: Share of the stretches, where there is no `test_path`.
        seed: Of the draw.
        tokens: Of the data that this text is used beside: its tokenizer is taken.

    Raises:
        DataError: Text that is missing, empty, too short or not UTF-8; a tokenizer that is none.
        ConfigError: An option out of range, or a tokenizer without a mask where tokens are masked.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "own.txt"
    >>> _ = file.write_text("one two three\nfour five six\n" * 200)
    >>> source = load(path=file, length=8, separator="\n", vocabulary=280, stretches=10)
    >>> source.train.inputs.shape[1], source.tokens.vocabulary
    (8, 276)
    """
    _check(length, stretches, tokenizer, hub_tokenizer)
    texts = [text for file in files(path=path) for text in _texts(file, separator)]
    if not texts:
        raise DataError("holds no text", where=str(path))
    parts = _deal(texts, stretches, validation, 0.0 if test_path else test, seed)
    if test_path:
        parts["test"] = [[_Part(text) for file in files(path=test_path) for text in _texts(file, separator)]]
    made = _tokenizer(tokens, tokenizer, hub_tokenizer, revision) or _trained(
        parts["train"], train_tokenizer, vocabulary, lowercase=lowercase
    )
    told = tokens_of(made, padded=False)
    if task == "masked_token" and told.mask is None:
        raise ConfigError(
            "the tokenizer has no token that masks others",
            where="data.task",
            allowed='next_token; or train_tokenizer = "wordpiece", or BERT\'s tokenizer',
        )
    overlap = task == "next_token"
    splits = {name: _windows(made, told, runs, length, overlap=overlap) for name, runs in parts.items()}
    if not len(splits["train"]):
        raise DataError(
            f"no stretch of text is {length} tokens long",
            where=str(path),
            next_step="lower length or stretches, or give more text",
        )
    return Source(
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        classes=(),
        scale=1.0,
        task=task,
        tokens=told,
    )


def files(*, path: Path, test_path: Path | None = None, tokenizer: Path | None = None, **_: object) -> list[Path]:
    """The files of text, and the tokenizer's."""
    found = [file for place in (path, test_path) if place is not None for file in _texts_of(place)]
    if tokenizer is not None:
        place = find(tokenizer, "tokenizer", folder=True)
        found.append(place / "tokenizer.json" if place.is_dir() else place)
    return found


@dataclass(frozen=True)
class _Part:
    """A text, or a part of one that is longer than a stretch."""

    text: str
    begins: bool = True
    ends: bool = True


def _check(length: int, stretches: int, tokenizer: Path | None, hub_tokenizer: str | None) -> None:
    for key, value, least in (("length", length, _UNREAL_LENGTH), ("stretches", stretches, 1)):
        if value < least:
            raise ConfigError(f"{key} = {value}", where="dataset text_stream", allowed=f"{least} or more")
    if tokenizer is not None and hub_tokenizer is not None:
        raise ConfigError("two tokenizers", where="dataset text_stream", allowed="tokenizer or hub_tokenizer")


def _texts_of(place: Path) -> list[Path]:
    found = find(place, folder=True)
    if not found.is_dir():
        return [found]
    texts = sorted(each for each in found.rglob(f"*{_SUFFIX}") if not each.name.startswith("."))
    if not texts:
        raise DataError(f"holds no {_SUFFIX} files", where=str(found))
    return texts


def _texts(file: Path, separator: str) -> Iterator[str]:
    content = read_text(file)
    yield from (text for text in (content.split(separator) if separator else [content]) if text.strip())


def _tokenizer(tokens: Tokens | None, place: Path | None, hub_name: str | None, revision: str) -> Tokenizer | None:
    if tokens is not None and tokens.tokenizer:
        return read_tokenizer(tokens.tokenizer, where="the data's tokenizer")
    if hub_name is not None:
        return open_tokenizer(hub_name, revision=revision)
    return open_tokenizer(find(place, "tokenizer", folder=True)) if place is not None else None


def _trained(runs: Sequence[Sequence[_Part]], kind: Kind, vocabulary: int, *, lowercase: bool) -> Tokenizer:
    texts = (part.text for run in runs for part in run)
    return train_tokenizer(texts, kind=kind, vocabulary=vocabulary, lowercase=lowercase)


def _deal(
    texts: Sequence[str], stretches: int, validation: float, test: float, seed: int
) -> dict[str, list[list[_Part]]]:
    """Deal stretches of text out to splits; neighbours in the same split follow one another in one run."""
    size = -(-sum(map(len, texts)) // stretches)
    dealt: list[list[_Part]] = [[]]
    room = size
    for part in (part for text in texts for part in _cut(text, size)):
        if room <= 0:
            dealt.append([])
            room = size
        dealt[-1].append(part)
        room -= len(part.text)
    order = np.random.default_rng(seed).permutation(len(dealt))
    tests = _count(test, len(dealt))
    validations = _count(validation, len(dealt) - tests)
    name_of = np.full(len(dealt), "train", dtype=object)
    name_of[order[:tests]] = "test"
    name_of[order[tests : tests + validations]] = "validation"
    runs: dict[str, list[list[_Part]]] = {"train": [], "validation": [], "test": []}
    for place, (name, parts) in enumerate(zip(name_of, dealt, strict=True)):
        if place and name_of[place - 1] == name:
            runs[name][-1].extend(parts)
        else:
            runs[name].append(list(parts))
    return runs


def _count(share: float, among: int) -> int:
    return min(max(1, round(share * among)), among - 1) if share > 0 else 0


def _cut(text: str, size: int) -> Iterator[_Part]:
    """Cut a text that is longer than a stretch, where a line or a word ends."""
    cuts = [0]
    while len(text) - cuts[-1] > size:
        end = cuts[-1] + size
        first = end - int(size * _SEARCHED)
        at = text.rfind("\n", first, end) + 1 or text.rfind(" ", first, end) + 1 or end
        cuts.append(at)
    cuts.append(len(text))
    for start, end in pairwise(cuts):
        yield _Part(text[start:end], begins=start == 0, ends=end == len(text))


def _windows(
    tokenizer: Tokenizer, tokens: Tokens, runs: Sequence[Sequence[_Part]], length: int, *, overlap: bool
) -> Split:
    step = length - overlap
    inputs, labels, groups = [], [], []
    for group, run in enumerate(runs):
        numbers, sizes = _encode(tokenizer, tokens, run)
        count = (len(numbers) - overlap) // step
        for window in range(count):
            span = slice(window * step, window * step + length)
            inputs.append(numbers[span])
            # The first is given, not predicted.
            labels.append(sizes[span][overlap:].sum())
            groups.append(group)
    return Split(
        inputs=np.array(inputs, np.int32).reshape(len(inputs), length),
        labels=np.array(labels, np.int64),
        groups=np.array(groups, np.int64),
    )


def _encode(
    tokenizer: Tokenizer, tokens: Tokens, parts: Sequence[_Part]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Turn texts that follow one another into tokens, and bytes of text behind each."""
    numbers: list[int] = []
    sizes: list[int] = []
    for part, found in zip(parts, tokenizer.encode_batch([part.text for part in parts]), strict=True):
        ids, bytes_of = list(found.ids), _bytes_of(part.text, found.offsets)
        special = found.special_tokens_mask
        first = next((place for place, each in enumerate(special) if not each), len(ids))
        last = len(ids) - next((place for place, each in enumerate(reversed(special)) if not each), len(ids))
        span = slice(0 if part.begins else first, len(ids) if part.ends else last)
        numbers += ids[span]
        sizes += bytes_of[span]
        # What a tokenizer alone does not part.
        if part.ends and not any(special) and tokens.end is not None:
            numbers.append(tokens.end)
            sizes.append(0)
    return np.array(numbers, np.int32), np.array(sizes, np.int32)


def _bytes_of(text: str, offsets: Sequence[tuple[int, int]]) -> list[int]:
    """Count the bytes that each token adds to what the tokens before it cover."""
    if text.isascii():
        ends = np.maximum.accumulate([end for _, end in offsets]) if offsets else np.zeros(0, int)
    else:
        places = np.cumsum([0, *(len(each.encode()) for each in text)])
        ends = places[np.maximum.accumulate([end for _, end in offsets])] if offsets else np.zeros(0, int)
    return [int(size) for size in np.diff(ends, prepend=0)]
