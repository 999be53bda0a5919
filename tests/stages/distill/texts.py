"""Tokens that follow a rule with some noise, and small causal networks that learn it in a second."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from edgekd.datasets import Dataset, Split
from edgekd.records import Task, Tokens

VOCABULARY, LENGTH = 12, 16


class Causal(nn.Module):
    """An embedding, a GRU and a head."""

    takes_tokens = True

    def __init__(self, width: int, vocabulary: int = VOCABULARY, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.embedding = nn.Embedding(vocabulary, width)
            self.body = nn.GRU(width, width, batch_first=True)
            self.head = nn.Linear(width, vocabulary)

    def hidden(self, inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.body(self.embedding(inputs.long()))[0]
        return found

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.hidden(inputs))
        return found


def draw(count: int, seed: int) -> Split:
    """Each token is the sum of the two before it, modulo 11, and 11 once in a while; 0 begins."""
    chance = np.random.default_rng(seed)
    inputs = np.zeros((count, LENGTH), np.int32)
    inputs[:, 1] = chance.integers(1, 11, count)
    for place in range(2, LENGTH):
        inputs[:, place] = (inputs[:, place - 2] + inputs[:, place - 1]) % 11
        noisy = chance.random(count) < 0.05
        inputs[noisy, place] = chance.integers(0, 11, noisy.sum())
    return Split(inputs=inputs, labels=np.full(count, 3 * (LENGTH - 1), np.int64))


def texts(task: Task = "next_token", count: int = 96) -> Dataset:
    return Dataset(
        classes=(),
        scale=1.0,
        train=draw(count, 0),
        validation=draw(48, 1),
        test=draw(48, 2),
        task=task,
        tokens=Tokens(vocabulary=VOCABULARY, begin=0, mask=11),
    )
