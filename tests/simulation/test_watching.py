"""What flows through networks, against running the layers by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.errors import ExportError
from edgekd.simulation import activations, call_of, fold, observe, part, simulate, tap, untap

IMAGES = np.random.default_rng(0).normal(size=(150, 1, 6, 6)).astype(np.float32)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3))


def test_ranges_are_the_extremes_of_all_samples() -> None:
    built = network()
    with torch.no_grad():
        hidden, outputs = built[:2](torch.from_numpy(IMAGES)), built(torch.from_numpy(IMAGES))
    expected = {"input": IMAGES, "0": hidden.numpy(), "4": outputs.numpy()}
    seen = observe(fold(built, IMAGES[:1]), IMAGES)
    assert list(seen) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(seen[name], (values.min(), values.max()), rtol=1e-5)
    np.testing.assert_allclose(activations(fold(built, IMAGES[:1]), IMAGES)["0"], expected["0"], rtol=1e-5)


def test_samples_are_read_a_batch_at_a_time() -> None:
    class Lazy:
        """Stands for a file: what is read at once is noted."""

        def __init__(self) -> None:
            self.largest = 0

        def __len__(self) -> int:
            return len(IMAGES)

        def __getitem__(self, chosen: slice) -> object:
            part_of = IMAGES[chosen]
            self.largest = max(self.largest, len(part_of))
            return part_of

    lazy = Lazy()
    assert observe(fold(network(), IMAGES[:1]), lazy) == observe(fold(network(), IMAGES[:1]), IMAGES)  # type: ignore[arg-type]
    assert lazy.largest <= 64


def test_a_part_computes_no_more_than_it_must() -> None:
    folded = fold(network(), IMAGES[:1])
    cut = part(folded, [call_of(folded, "0")])
    assert [name for name, _ in cut.named_children()] == ["0"]
    (values,) = cut(torch.from_numpy(IMAGES))
    assert torch.equal(values, folded.get_submodule("0")(torch.from_numpy(IMAGES)))


class Blocks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
        self.dropout = nn.Dropout()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        x = self.first(inputs)
        outputs: torch.Tensor = torch.relu(self.dropout(self.second(x))).mean((2, 3))
        return outputs


def test_taps_see_what_hooks_saw_before_the_network_was_traced() -> None:
    torch.manual_seed(0)
    network, inputs = Blocks(), torch.randn(16, 1, 8, 8)
    network(inputs)  # statistics
    network.eval()
    paths = ["first", "first.1", "first.2", "second", "second.1", "dropout"]

    def see(watched: nn.Module, names: dict[str, str]) -> dict[str, torch.Tensor]:
        seen: dict[str, torch.Tensor] = {}

        def keep(path: str) -> Any:
            return lambda _module, _inputs, output: seen.__setitem__(path, output.detach())

        hooks = [watched.get_submodule(name).register_forward_hook(keep(path)) for path, name in names.items()]
        watched(inputs)
        for hook in hooks:
            hook.remove()
        return seen

    expected = see(network, {path: path for path in paths})
    folded = fold(network, inputs.numpy())
    before = [node.name for node in folded.graph.nodes]
    found = see(folded, tap(folded, paths))
    assert found.keys() == expected.keys()
    for path in paths:
        torch.testing.assert_close(found[path], expected[path], atol=1e-5, rtol=1e-4)
    untap(folded)
    assert [node.name for node in folded.graph.nodes] == before
    # In a simulated network they see what the next operator reads: at most 256 numbers.
    simulated = simulate(folded, "static_wi8_ai8", ranges=observe(folded, inputs.numpy()))
    rounded = see(simulated, tap(simulated, ["first"]))["first"]
    assert np.unique(rounded.numpy()).size <= 256 < np.unique(expected["first"].numpy()).size


def test_what_folding_took_away_has_no_tap() -> None:
    folded = fold(Blocks(), np.zeros((1, 1, 8, 8), "f"))
    with pytest.raises(ExportError, match=r"no output of 'first.0' is left.*allowed: the batch norm"):
        tap(folded, ["first.0"])
