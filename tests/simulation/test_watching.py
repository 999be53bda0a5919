"""What flows through networks, against running the layers by hand."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from edgekd.simulation import activations, call_of, fold, observe, part

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
