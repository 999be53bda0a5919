"""Texts of a source, until the training split is drawn: then they are tokens."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from edgekd import registry
from edgekd.datasets._places import find
from edgekd.datasets._tokenizers import open_tokenizer, read_tokenizer, tokens_of, train_tokenizer
from edgekd.errors import ConfigError, DataError
from edgekd.records import Tokens

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

# One text, or the two of a pair.
Text = str | tuple[str, str]
_log = logging.getLogger("edgekd")
_BATCH = 4096  # texts at a time: of each, the tokenizer keeps more than its numbers


@dataclass(frozen=True, kw_only=True)
class Tokenization:
    """How texts become tokens.

    Attributes:
        length: Of every sample, in tokens, special ones included.
        longer: What becomes of longer texts.
        tokenizer: One that there is: `tokenizer.json`, BERT's `vocab.txt`, or a folder that `save_pretrained` wrote.
        hub_tokenizer: One on the hub, by name.
        revision: Branch, tag or commit on the hub.
        kind: Of one that is trained on the training split, where none is given.
        vocabulary: Its size at most.
        lowercase: Whether it drops case and accents.
    """

    length: int = 128
    longer: Literal["cut", "refuse"] = "cut"
    tokenizer: Path | None = None
    hub_tokenizer: str | None = None
    revision: str = "main"
    kind: Literal["wordpiece", "bpe", "word"] = "wordpiece"
    vocabulary: int = 8000
    lowercase: bool = True

    def check(self) -> None:
        """Refuse what can't be meant, before texts are read.

        Raises:
            ConfigError: A length of nothing, or two tokenizers.
        """
        if self.length < 1:
            raise ConfigError(f"{self.length}", where="data.length", allowed="1 or more tokens")
        if self.tokenizer is not None and self.hub_tokenizer is not None:
            raise ConfigError("tokenizer and hub_tokenizer", where="data", allowed="one of them")


def tokenizer_files(tokenizer: Path | None) -> list[Path]:
    """The files of a tokenizer that was given, for fingerprints."""
    if tokenizer is None:
        return []
    found = find(tokenizer, "tokenizer", folder=True)
    return [found / "tokenizer.json"] if (found / "tokenizer.json").is_file() else [found] if found.is_file() else []


def parts_of(text: Text) -> tuple[str, ...]:
    """The texts of a sample: one, or the two of a pair."""
    return (text,) if isinstance(text, str) else text


@dataclass(frozen=True, kw_only=True)
class Texts:
    """All texts of a source; its splits hold their numbers.

    Attributes:
        texts: Of all splits, one after another; each is one text, or each is a pair.
        places: Where each lies, for messages: "line 3".
        where: For messages.
        how: Becomes tokens.
    """

    texts: Sequence[Text]
    places: Sequence[str]
    where: str
    how: Tokenization

    def __post_init__(self) -> None:
        registry.require("tokenizers", "a dataset of texts")
        self.how.check()
        for place, text in zip(self.places, self.texts, strict=True):
            if not all(part.strip() for part in parts_of(text)):
                raise DataError(f"{place}: an empty text", where=self.where, next_step="leave it out, or fill it in")

    def learn(self, chosen: NDArray[np.int64]) -> Tokens:
        """Open the tokenizer, or train one.

        Args:
            chosen: Numbers of the training split's texts: no other is learned from.

        Raises:
            DataError: The tokenizer can't be read or had, or has nothing to fill texts up with.
        """
        how = self.how
        if how.tokenizer is not None:
            tokenizer = open_tokenizer(find(how.tokenizer, "tokenizer", folder=True))
        elif how.hub_tokenizer is not None:
            tokenizer = open_tokenizer(how.hub_tokenizer, revision=how.revision)
        else:
            tokenizer = train_tokenizer(
                (part for number in chosen for part in parts_of(self.texts[number])),
                kind=how.kind,
                vocabulary=how.vocabulary,
                lowercase=how.lowercase,
            )
        known = tokens_of(tokenizer)
        if known.pad is None:
            raise DataError(
                "the tokenizer has no token to fill up short texts",
                where=str(how.tokenizer or how.hub_tokenizer),
                allowed="one that knows [PAD], <pad> or the like",
                next_step="add one to the tokenizer, or let one be trained: leave 'tokenizer' out",
            )
        return known

    def encode(self, chosen: Sequence[NDArray[np.int64]], tokens: Tokens) -> list[NDArray[np.int32]]:
        """Make tokens of splits.

        Args:
            chosen: Of each split, the numbers of its texts.
            tokens: What `learn` gave, or those of other data.

        Returns:
            Of each split, (N, length).

        Raises:
            DataError: Longer texts where they are not to be cut, or one of which no token is left.
        """
        tokenizer = read_tokenizer(tokens.tokenizer)
        self._shape(tokenizer, tokens)
        found, cut = [], []
        for numbers in chosen:
            rows = np.empty((len(numbers), self.how.length), np.int32)
            for start in range(0, len(numbers), _BATCH):
                part = numbers[start : start + _BATCH]
                for row, number, each in zip(
                    range(start, start + len(part)),
                    part,
                    tokenizer.encode_batch([self.texts[number] for number in part]),
                    strict=True,
                ):
                    rows[row] = each.ids
                    self._check(each, int(number))
                    if each.overflowing:
                        cut.append(int(number))
            found.append(rows)
        self._tell(cut, sum(map(len, chosen)))
        return found

    @property
    def _are_pairs(self) -> bool:
        return isinstance(self.texts[0], tuple)

    def _shape(self, tokenizer: Tokenizer, tokens: Tokens) -> None:
        if self._are_pairs:
            self._check_template(tokenizer)
        length, special = self.how.length, tokenizer.num_special_tokens_to_add(is_pair=self._are_pairs)
        if length <= special:
            raise ConfigError(f"{length}", where="data.length", allowed=f"more than the {special} special tokens")
        tokenizer.enable_truncation(length)
        pad = tokens.pad or 0
        tokenizer.enable_padding(length=length, pad_id=pad, pad_token=tokenizer.id_to_token(pad) or "[PAD]")

    def _check_template(self, tokenizer: Tokenizer) -> None:
        """Refuse a tokenizer after which no network knows where the second text of a pair begins."""
        whose = tokenizer.encode(*parts_of(self.texts[0])).sequence_ids
        if 0 in whose and 1 in whose and whose.index(1) - 1 == len(whose) - 1 - whose[::-1].index(0):
            raise DataError(
                "the tokenizer puts nothing between the two texts of a pair",
                where=str(self.how.tokenizer or self.how.hub_tokenizer),
                allowed="a tokenizer with a template for pairs, such as BERT's [CLS] A [SEP] B [SEP]",
                next_step="add one to the tokenizer, or let one be trained: leave 'tokenizer' out",
            )

    def _check(self, encoding: Encoding, number: int) -> None:
        texts = parts_of(self.texts[number])
        if empty := [text for at, text in enumerate(texts) if at not in encoding.sequence_ids]:
            raise DataError(
                f"{self.places[number]}: no token is left of {empty[0][:40]!r}",
                where=self.where,
                next_step="leave it out, or take another tokenizer",
            )

    def _tell(self, cut: Sequence[int], count: int) -> None:
        if not cut:
            return
        what = f"{len(cut)} of {count} texts are longer than {self.how.length} tokens"
        if self.how.longer == "refuse":
            raise DataError(
                f"{what}, the first in {self.places[min(cut)]}",
                where=self.where,
                next_step='raise data.length, or set longer = "cut"',
            )
        _log.warning("%s: %s and are cut", self.where, what)
