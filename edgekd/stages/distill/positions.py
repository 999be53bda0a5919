"""Predictions at every position of a text: what is predicted, and losses that see a chunk of the positions at a time.

Logits of all positions are the largest thing in the training of a language model: (B, T, V), for student and teacher,
forward and back. So a network gives hidden states, and its head makes logits of some rows of them, which are computed
anew for the gradient (Chen et al. 2016, arXiv:1604.06174) and then forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from edgekd.augmentations._random import uniform
from edgekd.records import Task, Tokens

# Logits in memory at a time, of student and of each teacher, however many tokens there are. 32 MiB or more come from
# the system and go back to it; of smaller pieces glibc keeps the holes, and memory grows after all.
CHUNK = 2**23
NOTHING = -1
# Devlin et al. 2019, section 3.1: of 15 % of the tokens 80 % are masked, 10 % are others, 10 % stay.
_CHOSEN, _MASKED, _OTHERS = 0.15, 0.8, 0.9
# Far from the streams that augmentations draw from.
_STREAM = 2_000_000

Head = Callable[[torch.Tensor], torch.Tensor]
# What is computed of hidden states (B, T, D) and the head that makes logits of them.
Use = Callable[[torch.Tensor, Head], Any]


@dataclass(frozen=True, kw_only=True)
class Said:
    """What teachers say at some positions.

    Attributes:
        rows: Gives (rows, V) float32 logits of a slice of the positions, without gradient.
        known: (positions,) where they say anything; `None` for everywhere.
    """

    rows: Callable[[slice], torch.Tensor]
    known: torch.Tensor | None = None


class Positions(nn.Module):
    """A network of tokens as the loop calls it: all that its weights take part in happens inside of its `forward`.

    So wrappers that gather weights, or wait for gradients, know of the head as of all else.
    """

    def __init__(self, network: nn.Module) -> None:
        """Wrap a network with `hidden` and `head`."""
        super().__init__()
        self.network: Any = network

    def forward(self, inputs: torch.Tensor, use: Use) -> Any:
        """Compute something of the hidden states of (B, T) tokens."""
        return use(self.network.hidden(inputs), self.network.head)


def next_tokens(inputs: torch.Tensor, pad: int | None) -> torch.Tensor:
    """Say what each position predicts: the token after it.

    Args:
        inputs: (B, T) whole numbers.
        pad: What nothing is predicted of, or at.

    Returns:
        (B, T) int64, -1 for nothing, as at the last position.

    >>> next_tokens(torch.tensor([[5.0, 6.0, 0.0]]), 0).tolist()
    [[6, -1, -1]]
    """
    tokens = inputs.long()
    labels = functional.pad(tokens[:, 1:], (0, 1), value=NOTHING)
    return labels if pad is None else labels.masked_fill((tokens == pad) | (labels == pad), NOTHING)


def mask_tokens(
    inputs: torch.Tensor, tokens: Tokens, *, seed: int, view: int, indices: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose tokens to be guessed, and hide most of them (Devlin et al. 2019, arXiv:1810.04805, section 3.1).

    Args:
        inputs: (B, T) whole numbers.
        tokens: What they are; special ones are never guessed.
        seed: Of the run.
        view: Number of the view; each hides others.
        indices: (B,) samples.

    Returns:
        The inputs with some tokens hidden, and (B, T) int64 what is to be guessed, -1 for nothing.
    """
    given = inputs.long()
    places = indices[:, None] * given.shape[1] + torch.arange(given.shape[1], device=given.device)
    chosen, kind, other = (uniform(seed, view, places, _STREAM + stream) for stream in range(3))
    special = torch.tensor(
        [each for each in (tokens.pad, tokens.begin, tokens.end, tokens.mask) if each is not None], device=given.device
    )
    guessed = (chosen < _CHOSEN) & ~torch.isin(given, special)
    # A window without anything to guess would teach nothing and could not be judged.
    first = torch.where(torch.isin(given, special), 2.0, chosen).argmin(dim=1)
    none = ~guessed.any(dim=1)
    guessed[none, first[none]] = ~torch.isin(given, special)[none, first[none]]
    hidden = torch.where(guessed & (kind < _MASKED), tokens.mask or 0, given)
    drawn = (other * tokens.vocabulary).long()
    hidden = torch.where(guessed & (kind >= _MASKED) & (kind < _OTHERS), drawn, hidden)
    return hidden.to(inputs.dtype), torch.where(guessed, given, NOTHING)


def prepare(
    inputs: torch.Tensor, task: Task, tokens: Tokens, *, seed: int, view: int, indices: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Give inputs and labels (B, T) of a task of tokens."""
    if task == "masked_token":
        return mask_tokens(inputs, tokens, seed=seed, view=view, indices=indices)
    return inputs, next_tokens(inputs, tokens.pad)


def places_of(labels: torch.Tensor) -> torch.Tensor:
    """Find the positions that predict something: (positions,) numbers of rows of (B * T)."""
    return (labels.flatten() >= 0).nonzero().flatten()


def by_rows(
    judge: Callable[[torch.Tensor, torch.Tensor | None, torch.Tensor, torch.Tensor | None], Sequence[torch.Tensor]],
    taught: Sequence[bool],
    *,
    head: Head,
    hidden: torch.Tensor,
    said: Said | None,
    labels: torch.Tensor,
    vocabulary: int,
    chunk: int = CHUNK,
) -> list[torch.Tensor]:
    """Compute losses that are means over rows of logits, a chunk of the rows at a time.

    Args:
        judge: Gives one scalar a loss of (rows, V) logits of student and teachers, (rows,) labels, and (rows,) where
            the teachers say anything.
        taught: Of each loss, whether it counts only where teachers say anything.
        head: Makes logits of hidden states.
        hidden: (B, T, D) of the student.
        said: What teachers say at the positions that predict something.
        labels: (B, T), -1 for nothing.
        vocabulary: V.
        chunk: Logits at a time.

    Returns:
        One scalar a loss: the mean over all positions that predict something; 0 where there are none.
    """
    places = places_of(labels)
    chosen, wanted = hidden.flatten(0, 1)[places], labels.flatten()[places]
    step = -(-chunk // vocabulary)
    known = None if said is None else said.known
    counts = [len(places) if known is None or not needs else int(known.sum()) for needs in taught]
    totals = [hidden.sum() * 0.0 for _ in taught]
    for start, rows in zip(range(0, len(places), step), chosen.split(step), strict=False):  # type: ignore[no-untyped-call]  # torch's stubs
        span = slice(start, start + len(rows))
        here = None if known is None else known[span]

        def look(rows: torch.Tensor, span: slice = span, here: torch.Tensor | None = here) -> Sequence[torch.Tensor]:
            teacher = None
            if said is not None:
                with torch.no_grad():
                    teacher = said.rows(span)
            return judge(head(rows).float(), teacher, wanted[span], here)

        if torch.is_grad_enabled() and rows.requires_grad:
            found = checkpoint(look, rows, use_reentrant=False)
        else:
            found = look(rows)
        for index, (value, needs) in enumerate(zip(found, taught, strict=True)):
            weight = len(rows) if here is None or not needs else int(here.sum())
            totals[index] = totals[index] + value * (weight / max(counts[index], 1))
    return totals


def nats_of(hidden: torch.Tensor, head: Head, labels: torch.Tensor, vocabulary: int) -> torch.Tensor:
    """Compute how unlikely a network finds the labels.

    Args:
        hidden: (B, T, D).
        head: Makes logits of hidden states.
        labels: (B, T), -1 for nothing.
        vocabulary: V.

    Returns:
        (B, 2) float64: nats of all labels of a sample together, and how many labels it has.
    """
    chosen = hidden.flatten(0, 1)[places_of(labels)]
    return nats_of_rows(lambda span: head(chosen[span]), labels, vocabulary)


def nats_of_rows(rows: Callable[[slice], torch.Tensor], labels: torch.Tensor, vocabulary: int) -> torch.Tensor:
    """Do the same of logits that are given a slice at a time."""
    places = places_of(labels)
    wanted, sample = labels.flatten()[places], places // labels.shape[1]
    found = torch.zeros(len(labels), 2, dtype=torch.float64, device=labels.device)
    step = -(-CHUNK // vocabulary)
    for start in range(0, len(places), step):
        span = slice(start, min(start + step, len(places)))
        each = functional.cross_entropy(rows(span).float(), wanted[span], reduction="none").double()
        # One sample after another: what is added in another order is another number.
        found[:, 0].index_add_(0, sample[span], each)
        found[:, 1].index_add_(0, sample[span], torch.ones_like(each))
    return found
