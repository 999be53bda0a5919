"""What a layer costs, against SciPy and against simulations of the whole network."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import expit, rel_entr, softmax
from torch import Tensor, fx, nn

from edgekd.progress import Silent
from edgekd.simulation import batches, fold, observe, simulate
from edgekd.stages.export.mixing.sensitivity import layers_of, losses_of, measure

RANDOM = np.random.default_rng(0)
SAMPLES = RANDOM.normal(size=(150, 3, 8, 8)).astype(np.float32)
EXPECTED, FOUND = RANDOM.normal(size=(2, 40, 5))


class Branches(nn.Module):
    """A sum, a concatenation, and a convolution that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.twice = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.depthwise, self.linear = nn.Conv2d(8, 8, 3, groups=8), nn.Linear(16, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        x = torch.relu(self.stem(inputs))
        x = torch.relu(x + self.twice(torch.relu(self.twice(x))))
        x = torch.cat([self.depthwise(x).mean((2, 3)), x.mean((2, 3))], dim=1)
        logits: Tensor = self.linear(x)
        return logits


@pytest.fixture(scope="module")
def folded() -> fx.GraphModule:
    torch.manual_seed(0)
    return fold(Branches(), SAMPLES[:1])


def outputs_of(network: fx.GraphModule) -> NDArray[np.float64]:
    with torch.no_grad():
        return torch.cat([network(batch) for batch in batches(SAMPLES)]).double().numpy()


def test_classes_are_compared_by_the_divergence_of_their_probabilities() -> None:
    expected = rel_entr(softmax(EXPECTED, axis=1), softmax(FOUND, axis=1)).sum(axis=1)
    np.testing.assert_allclose(losses_of(EXPECTED, FOUND, "single_label"), expected, rtol=1e-12)


def test_several_labels_are_compared_one_by_one() -> None:
    share, other = expit(EXPECTED), expit(FOUND)
    expected = (rel_entr(share, other) + rel_entr(1 - share, 1 - other)).sum(axis=1)
    np.testing.assert_allclose(losses_of(EXPECTED, FOUND, "multi_label"), expected, rtol=1e-9)


def test_values_are_compared_in_units_of_their_spread() -> None:
    expected = (((EXPECTED - FOUND) / EXPECTED.std(axis=0)) ** 2).mean(axis=1)
    np.testing.assert_allclose(losses_of(EXPECTED, FOUND, "regression"), expected, rtol=1e-12)
    assert losses_of(1000 * EXPECTED, 1000 * FOUND, "regression") == pytest.approx(expected)


def test_what_is_far_off_gives_numbers() -> None:
    large = np.array([[1e4, -1e4]])
    for task in ("single_label", "multi_label"):
        assert np.isfinite(losses_of(large, -large, task)).all()
        assert losses_of(large, large, task).tolist() == [0.0]


def test_a_module_that_is_called_twice_is_one_layer(folded: fx.GraphModule) -> None:
    sites = {path: len(layer.sites) for path, layer in layers_of(folded).items()}
    assert sites == {"stem": 1, "twice": 2, "depthwise": 1, "linear": 1}


class Counting(Silent):
    started: list[int]

    def __init__(self) -> None:
        self.started, self.steps = [], 0

    def start(self, task: str, total: int) -> None:  # noqa: ARG002
        self.started.append(total)

    def advance(self, count: int = 1) -> None:
        self.steps += count


def test_losses_are_those_of_the_whole_network_simulated(folded: fx.GraphModule) -> None:
    ranges, floats = observe(folded, SAMPLES[:64]), outputs_of(folded)
    before = {name: value.clone() for name, value in folded.state_dict().items()}
    candidates = {path: ["static_wi8_ai8", "static_wi4_ai8", "fp16"] for path in layers_of(folded)}
    progress = Counting()
    found = measure(folded, candidates, samples=SAMPLES, ranges=ranges, task="single_label", progress=progress)
    assert progress.started == [progress.steps] == [12 * 3]
    for path, layer in layers_of(folded).items():
        for precision in candidates[path]:
            plain = outputs_of(simulate(folded, "fp32", ranges=ranges, layers=dict.fromkeys(layer.sites, precision)))
            expected = losses_of(floats, plain, "single_label").mean()
            assert found[path][precision] == pytest.approx(expected, rel=1e-3, abs=1e-9)
    # It is rounding that was measured, and it left the network as it was.
    assert found["linear"]["static_wi4_ai8"] > found["linear"]["static_wi8_ai8"] > found["linear"]["fp16"] > 0
    assert all(torch.equal(value, before[name]) for name, value in folded.state_dict().items())


def test_the_same_is_not_measured_twice(folded: fx.GraphModule) -> None:
    def measured(precisions: list[str], samples: NDArray[np.float32]) -> Iterator[object]:
        progress = Counting()
        yield measure(folded, {"stem": precisions}, samples=samples, ranges={}, task="single_label", progress=progress)
        yield len(progress.started)

    first, worked = measured(["fp16"], SAMPLES)
    assert worked == 1
    assert list(measured(["fp16"], SAMPLES)) == [first, 0]
    assert list(measured(["fp16"], SAMPLES[1:]))[1] == 1
    assert list(measured(["fp16", "weight_only_wi8_afp32"], SAMPLES))[1] == 1
