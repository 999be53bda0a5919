"""Teachers that cut texts into other tokens than their student: asked where both have read the same text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from edgekd.datasets._tokenizers import read_tokenizer
from edgekd.errors import ConfigError
from edgekd.records import DistillSpec, Tokens
from edgekd.stages.distill.positions import nats_of, next_tokens
from edgekd.stages.distill.terms import Term

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# How both learn of each other's words.
LOSS = "uld"
_HALF_A_SIGN = "\N{REPLACEMENT CHARACTER}"
_NOWHERE = -1


class _Reading(NamedTuple):
    """Texts in the teacher's tokens.

    Attributes:
        tokens: (B, T') int64, filled up at the end.
        counts: (B,) how many of them are of the text.
        places: (B, T) which of them ends where the student's token does; -1 where none does.
    """

    tokens: torch.Tensor
    counts: torch.Tensor
    places: torch.Tensor


class OtherTokens(nn.Module):
    """A language model that is given texts in its student's tokens, and reads them in its own.

    What it says at a position of the student is what it says where it has read the same text: where a token of both
    ends at the same sign. There both say what follows, over their own vocabularies, which `uld` compares (Boizard et
    al. 2024, arXiv:2402.12030, whose section 3.3 compares position by position, whatever was read by then). Elsewhere
    it says nothing.

    Args:
        teacher: With `hidden` and `head`, of its own tokens; looks back only.
        own: Its tokens.
        others: The student's.

    Raises:
        ConfigError: Nobody says what makes the tokens.
    """

    takes_tokens = True

    def __init__(self, teacher: nn.Module, own: Tokens, others: Tokens) -> None:
        super().__init__()
        for tokens, whose in ((own, "teacher"), (others, "data")):
            if not tokens.tokenizer:
                raise ConfigError(
                    f"the {whose}'s tokenizer is not known", where="teachers.tokenizer", next_step="give tokenizer.json"
                )
        self.teacher: Any = teacher
        self.own, self.others = own, others
        self._reads: Tokenizer = read_tokenizer(own.tokenizer, where="the teacher's tokenizer")
        self._read: Tokenizer = read_tokenizer(others.tokenizer, where="the data's tokenizer")
        # What the teacher's tokenizer puts before and after each text.
        whole = self._reads.encode("a")
        inner = [place for place, each in enumerate(whole.special_tokens_mask) if not each]
        self._before, self._after = whole.ids[: inner[0]], whole.ids[inner[-1] + 1 :]
        self._last: tuple[bytes, _Reading] | None = None

    def hidden(self, inputs: torch.Tensor) -> torch.Tensor:
        """From (B, T) of the student's tokens to (B, T, D), zeros where nothing is said."""
        reading = self._reading(inputs)
        states = self.teacher.hidden(reading.tokens)
        chosen = reading.places.clamp(min=0)[:, :, None].expand(-1, -1, states.shape[2])
        found: torch.Tensor = states.gather(1, chosen) * self.known(inputs)[:, :, None]
        return found

    def head(self, hidden: torch.Tensor) -> torch.Tensor:
        """From (..., D) to logits (..., V) of the teacher's own tokens."""
        found: torch.Tensor = self.teacher.head(hidden)
        return found

    def known(self, inputs: torch.Tensor) -> torch.Tensor:
        """Say where something is said: (B, T)."""
        return self._reading(inputs).places != _NOWHERE

    def nats(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Say how unlikely texts are to the teacher, token by token of its own.

        Args:
            inputs: (B, T) of the student's tokens.
            labels: (B, T) of the student, -1 for nothing.

        Returns:
            (B, 2) float64: nats of each text, and how many tokens it is to the student: both find the same text so
            unlikely, whatever it is cut into.
        """
        reading = self._reading(inputs)
        own = next_tokens(reading.tokens, None)
        numbers = torch.arange(own.shape[1], device=own.device)
        own = own.masked_fill(numbers[None] >= reading.counts[:, None] - 1, _NOWHERE)
        found = nats_of(self.teacher.hidden(reading.tokens), self.teacher.head, own, self.own.vocabulary)
        found[:, 1] = (labels >= 0).sum(1)
        return found

    def _reading(self, inputs: torch.Tensor) -> _Reading:
        tokens = inputs.round().long().cpu()
        key = tokens.numpy().tobytes()
        if self._last is None or self._last[0] != key:
            read = [self._read_one(text) for text in tokens.tolist()]
            length = max(len(ids) for ids, _ in read)
            filled = torch.tensor([[*ids, *[0] * (length - len(ids))] for ids, _ in read])
            counts, places = torch.tensor([len(ids) for ids, _ in read]), torch.tensor([each for _, each in read])
            self._last = key, _Reading(*(each.to(inputs.device) for each in (filled, counts, places)))
        return self._last[1]

    def _read_one(self, text: Sequence[int]) -> tuple[list[int], list[int]]:
        """Cut one text into the teacher's tokens, part by part between what begins and ends texts."""
        special = {self.others.begin, self.others.end}
        ids: list[int] = []
        places: list[int] = []
        start = 0
        while start < len(text):
            # What begins a text is read with it, and nothing else is read with what ends one.
            stop = start + 1
            while stop < len(text) and text[stop] not in special:
                stop += 1
            put = self._between(is_first=not start) if text[start] in special else self._before
            ids += put
            encoded = self._reads.encode(self._read.decode(list(text[start:stop])), add_special_tokens=False)
            where = {0: len(ids) - 1} if put else {}
            where |= {end: len(ids) + place for place, (_, end) in enumerate(encoded.offsets)}
            places += [where.get(end, _NOWHERE) for end in self._ends(text[start:stop])]
            ids += encoded.ids
            start = stop
        return ids or [0], places

    def _between(self, *, is_first: bool) -> list[int]:
        """What the teacher reads where one text ends and the next begins."""
        end = self._after if not is_first else []
        begin = self._before or ([] if end or self.own.begin is None else [self.own.begin])
        return [*end, *begin]

    def _ends(self, text: Sequence[int]) -> list[int]:
        """Count the signs that were read with each token; where half a sign was, no token of the teacher ends."""
        read = [self._read.decode(list(text[: place + 1])) for place in range(len(text))]
        return [_NOWHERE if each.endswith(_HALF_A_SIGN) else len(each) for each in read]


def check_other_tokens(teachers: int, terms: Sequence[Term], spec: DistillSpec, name: str) -> None:
    """Check that a student can learn from a teacher of other tokens.

    Raises:
        ConfigError: Every problem at once, with the ways out.
    """
    found = list(_problems(teachers, terms, spec))
    if found:
        raise ConfigError.of([ConfigError(what, where=f"{name}: {key}", next_step=step) for key, what, step in found])


def _problems(teachers: int, terms: Sequence[Term], spec: DistillSpec) -> Iterator[tuple[str, str, str]]:
    for term in terms:
        if term.needs_teacher and term.spec.name != LOSS and ":" not in term.spec.name:
            what = f"loss '{term.spec.name}' compares the same tokens, and the teacher has others than the data"
            yield "losses", what, f"give the data the teacher's tokenizer, or take loss '{LOSS}'"
    if teachers > 1:
        yield "teachers", f"{teachers} teachers, one of which has other tokens", "take one alone"
    if spec.cache == "on":
        yield "cache", "no cache holds what a teacher says of other tokens", 'leave it "auto"'
    if spec.generation and spec.generation.samples:
        what = "the teacher writes other tokens than the data has"
        yield "generation.samples", what, 'let it write the data (data.source = "written_text"), or set it to 0'
