"""Operators of folded networks against what TFLite's converter is known to fuse and to keep."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from edgekd.errors import ExportError
from edgekd.simulation import fold, operators


class Everything(nn.Module):
    """Sums, concatenations, poolings, parts and a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 1)
        self.norm = nn.ReLU6()
        self.average = nn.AvgPool2d(2)
        self.linear = nn.Linear(16, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        left = self.norm(self.left(inputs))
        joined = torch.cat([left, self.right(inputs)], dim=1)
        total = functional.relu(joined + left.sum())
        x = self.average(functional.max_pool2d(functional.pad(total, (0, 0, 0, 0)), 2))
        return functional.softmax(self.linear(x.reshape(x.size(0), -1)), dim=1)


def test_operators_are_those_of_the_file() -> None:
    found = operators(fold(Everything(), np.zeros((1, 1, 8, 8), np.float32)))
    told = {
        name: (each.last.meta["site"], [source for source, _ in each.sources], each.range_of)
        for name, each in found.items()
    }
    assert told == {
        "input": ("input", [], "input"),
        "left": ("norm", ["input"], "left"),
        # Only the concatenation reads it: it has the concatenation's scale.
        "right": ("right", ["input"], "cat"),
        "cat": ("cat", ["left", "right"], "cat"),
        "sum": ("sum", ["left"], "sum"),
        "add": ("relu", ["cat", "sum"], "add"),
        # Neither padding nor the largest of some numbers makes new numbers; an average does, of the same scale.
        "average": ("average", ["add"], "add"),
        "linear": ("linear", ["average"], "linear"),
        "softmax": ("softmax", ["linear"], "softmax"),
    }
    assert found["linear"].weights == 48
    assert found["softmax"].fixed == (0.0, 1.0)


def test_a_relu_that_others_see_the_input_of_is_an_operator_of_its_own() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            x = self.linear(inputs)
            total: Tensor = functional.relu(x) + x
            return total

    found = operators(fold(Both(), np.zeros((1, 2), np.float32)))
    assert list(found) == ["input", "linear", "relu", "add"]
    assert found["linear"].last is found["linear"].node


def test_what_can_not_be_looked_into_is_refused() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(2, 2, batch_first=True)

        def forward(self, inputs: Tensor) -> Tensor:
            outputs: Tensor = self.gru(inputs)[0]
            return outputs

    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.matrix = nn.Parameter(torch.ones(2, 2))

        def forward(self, inputs: Tensor) -> Tensor:
            return functional.linear(inputs, self.matrix)

    with pytest.raises(ExportError, match="what 'gru', a GRU, computes inside"):
        operators(fold(Recurrent(), np.zeros((1, 3, 2), np.float32)))
    with pytest.raises(ExportError, match="'linear' has weights that belong to no layer"):
        operators(fold(Bare(), np.zeros((1, 2), np.float32)))


def test_networks_that_are_not_folded_are_refused() -> None:
    with pytest.raises(ExportError, match="fold the network first"):
        operators(fx.symbolic_trace(nn.Linear(2, 2)))
