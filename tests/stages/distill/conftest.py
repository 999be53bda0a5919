"""A toy problem that a small network learns in a second, and what tests do with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.datasets import Dataset, Split
from edgekd.progress import Progress, Silent

Make = Callable[..., nn.Module]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small only wait for each other's threads, for seconds where the machine is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Unseen(Split):
    """A test split that fails the test which looks at it."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"training looked at {name} of the test split")

    def __len__(self) -> int:
        raise AssertionError("training counted the test split")


def draw(count: int, seed: int) -> Split:
    """Noise, with one of the four quarters of the image brighter: the class."""
    chance = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % 4
    inputs = chance.integers(0, 90, (count, 1, 4, 4))
    for sample, label in enumerate(labels):
        row, column = 2 * (label // 2), 2 * (label % 2)
        inputs[sample, 0, row : row + 2, column : column + 2] += 120
    return Split(inputs=inputs.astype(np.uint8), labels=labels)


@pytest.fixture
def data() -> Dataset:
    nothing = np.zeros(0)
    return Dataset(
        classes=("a", "b", "c", "d"),
        scale=1 / 255,
        train=draw(60, 0),
        validation=draw(20, 1),
        test=Unseen(inputs=nothing, labels=nothing.astype(np.int64)),
    )


@pytest.fixture
def make() -> Make:
    """Build a network with all that could keep state between steps: batch norm, dropout, a convolution."""

    def build(seed: int = 0, classes: int = 4, channels: int = 1, dropout: float = 0.2) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return nn.Sequential(
                nn.Conv2d(channels, 6, 3, padding=1),
                nn.BatchNorm2d(6),
                nn.ReLU(),
                nn.Flatten(),
                nn.Dropout(dropout),
                nn.Linear(96, classes),
            )

    return build


class Stop(Silent):
    """Progress that stops after so many steps."""

    def __init__(self, after: int) -> None:
        self.left = after

    def start(self, task: str, total: int) -> None:
        pass

    def advance(self, count: int = 1) -> None:
        self.left -= count
        if self.left < 0:
            raise KeyboardInterrupt

    def end(self) -> None:
        pass


class Quarters(nn.Module):
    """Knows the answer: the mean of each quarter of the image, in the order of the classes."""

    def __init__(self, gain: float = 8.0, order: tuple[int, ...] = (0, 1, 2, 3)) -> None:
        super().__init__()
        masks = torch.zeros(4, 1, 4, 4)
        for row, label in enumerate(order):
            top, left = 2 * (label // 2), 2 * (label % 2)
            masks[row, 0, top : top + 2, left : left + 2] = gain / 4
        self.last = nn.Linear(16, 4, bias=False)
        self.last.weight.data.copy_(masks.flatten(1))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.last(inputs.flatten(1))
        return outputs


@pytest.fixture
def quarters() -> Make:
    """Build a teacher that is right about every sample, without training."""
    return Quarters


@pytest.fixture
def stop() -> Callable[[int], Progress]:
    """Make progress that stops a training as Ctrl-C does, after so many steps."""
    return Stop


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Write a plug-in of the user's own into the working folder; gives its module's name."""
    monkeypatch.chdir(tmp_path)

    def write(code: str) -> str:
        name = f"own_plug_in_{abs(hash((tmp_path, code)))}"
        (tmp_path / f"{name}.py").write_text(code)
        return name

    return write
