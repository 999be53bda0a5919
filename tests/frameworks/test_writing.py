"""Texts that networks write: drawn as the formulas say, and the same however many are asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from edgekd.errors import StoreError
from edgekd.frameworks.writing import PART, generate, write_texts


class Same(nn.Module):
    """Always says the same: 0.5, 0.3, 0.15, 0.05."""

    def hidden(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.zeros(*inputs.shape, 1)

    def head(self, hidden: torch.Tensor) -> torch.Tensor:
        return torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(len(hidden), 4)


def test_draws_are_those_of_the_nucleus() -> None:
    def shares(temperature: float, top_p: float) -> list[float]:
        generator = torch.Generator().manual_seed(0)
        prompts = torch.zeros(4000, 1)
        found = generate(Same(), prompts, 3, temperature=temperature, top_p=top_p, generator=generator)
        return [float((found[:, 1:] == token).float().mean()) for token in range(4)]

    assert shares(1.0, 1.0) == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.02)
    assert shares(1.0, 0.8) == pytest.approx([0.625, 0.375, 0, 0], abs=0.02)
    assert shares(0.0, 1.0) == [1, 0, 0, 0]
    squared = np.array([0.5, 0.3, 0.15, 0.05]) ** 2
    assert shares(0.5, 1.0) == pytest.approx((squared / squared.sum()).tolist(), abs=0.02)


def write(count: int, folder: Path | None, seed: int = 0) -> tuple[NDArray[np.int32], list[range]]:
    """Write texts, and say of which numbers prompts were asked for."""
    asked: list[range] = []

    def prompts(numbers: range) -> torch.Tensor:
        asked.append(numbers)
        return torch.tensor(numbers)[:, None] % 4

    made = write_texts(Same, prompts, count, 5, temperature=1.0, top_p=1.0, seed=seed, folder=folder)
    return made, asked


def test_the_first_texts_are_the_same_however_many_there_are() -> None:
    (few, _), (many, _), (others, _) = write(PART, None), write(2 * PART + 3, None), write(PART, None, seed=1)
    assert many.shape == (2 * PART + 3, 5)
    assert np.array_equal(many[:PART], few)
    assert not np.array_equal(others, few)
    assert many[:, 0].tolist() == [number % 4 for number in range(len(many))]
    # Parts differ, too.
    assert not np.array_equal(many[:PART, 1:], many[PART : 2 * PART, 1:])


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    first, _ = write(2 * PART, tmp_path)
    again, asked = write(2 * PART, tmp_path)
    assert np.array_equal(first, again)
    assert asked == []
    parts = sorted(tmp_path.iterdir())
    parts[1].unlink()
    again, asked = write(2 * PART, tmp_path)
    assert np.array_equal(first, again)
    assert asked == [range(PART, 2 * PART)]
    parts[0].write_bytes(parts[0].read_bytes()[:-1])
    with pytest.raises(StoreError, match="these texts are damaged; delete the file: they are written again"):
        write(2 * PART, tmp_path)
