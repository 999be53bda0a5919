"""Cross-layer equalization against the paper's formula, and on networks made to need it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch.nn import functional

from edgekd import registry
from edgekd.corrections.equalization import correct
from edgekd.errors import ConfigError
from edgekd.simulation import batches, fold, observe, simulate

SAMPLES = np.random.default_rng(0).normal(size=(64, 3, 12, 12)).astype(np.float32)


def depthwise_network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 6, 1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(54, 5),
    )


def badly_scaled(network: Any) -> Any:
    """The same function, with channels of very different size: f(s x) = s f(x)."""
    factors = torch.tensor([1.0, 1, 1, 1, 1, 1, 1, 300])
    with torch.no_grad():
        network[0].weight.mul_(factors[:, None, None, None])
        network[0].bias.mul_(factors)
        network[2].weight.div_(factors[:, None, None, None])
    return network


def outputs_of(network: nn.Module) -> NDArray[np.float32]:
    with torch.no_grad():
        return torch.cat([network(batch) for batch in batches(SAMPLES)]).numpy()


def error_of(network: fx.GraphModule, floats: NDArray[np.float32], precision: str) -> float:
    simulated = simulate(network, precision, ranges=observe(network, SAMPLES))
    return float(np.square(outputs_of(simulated) - floats).mean())


def test_one_pass_is_the_paper_s_formula() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    one, bias, two = (network.state_dict()[name].double().numpy() for name in ("0.weight", "0.bias", "2.weight"))
    # Nagel et al. 2019, equation 11: s_i = 1 / r2_i sqrt(r1_i r2_i).
    ranges1, ranges2 = np.abs(one).max(axis=1), np.abs(two).max(axis=0)
    scales = np.sqrt(ranges1 * ranges2) / ranges2
    given = correct(network=fold(network, np.zeros((1, 4), np.float32)), iterations=1).state_dict()
    np.testing.assert_allclose(given["0.weight"], one / scales[:, None], rtol=1e-6)
    np.testing.assert_allclose(given["0.bias"], bias / scales, rtol=1e-6)
    np.testing.assert_allclose(given["2.weight"], two * scales, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [
        ("mlp", (3, 12, 12), {"hidden": (16, 8)}),
        ("resnet", (3, 12, 12), {"depth": 8, "width": 4}),
        ("mlperf_resnet8", (3, 12, 12), {"width": 4}),
        ("ds_cnn", (3, 12, 12), {"width": 8, "stem_kernel": (3, 3)}),
        ("mobilenet_v1", (3, 16, 16), {"stem_stride": 1, "activation": "relu"}),
    ],
)
def test_outputs_stay_and_weights_do_not(name: str, shape: tuple[int, ...], options: dict[str, object]) -> None:
    torch.manual_seed(0)
    network = registry.function("networks", name)(classes=5, input_shape=shape, **options)
    samples = torch.from_numpy(np.random.default_rng(1).normal(size=(16, *shape)).astype(np.float32))
    network(samples)
    folded = fold(network, samples[:1].numpy())
    before = {key: value.clone() for key, value in folded.state_dict().items()}
    corrected = correct(network=folded)
    with torch.no_grad():
        expected, given = folded(samples), corrected(samples)
    np.testing.assert_allclose(given, expected, atol=1e-5 * float(expected.abs().max()))
    changed = {key for key, value in corrected.state_dict().items() if not torch.allclose(value, before[key])}
    assert changed
    assert all(torch.equal(value, before[key]) for key, value in folded.state_dict().items())


def test_a_badly_scaled_network_loses_less_afterwards() -> None:
    torch.manual_seed(0)
    folded = fold(badly_scaled(depthwise_network()), SAMPLES[:1])
    floats = outputs_of(folded)
    corrected = correct(network=folded)
    np.testing.assert_allclose(outputs_of(corrected), floats, atol=1e-5)
    before, after = (error_of(each, floats, "static_wi8_ai8") for each in (folded, corrected))
    assert after < before / 20


def test_ranges_of_neighbours_are_equal_in_the_end() -> None:
    torch.manual_seed(0)
    corrected = correct(network=fold(badly_scaled(depthwise_network()), SAMPLES[:1]), iterations=100)
    layers: dict[str, Any] = {path: corrected.get_submodule(path) for path in ("0", "2", "5", "9")}
    weights = {path: layers[path].weight.detach() for path in ("0", "2", "5", "9")}
    outputs = {path: each.abs().flatten(1).amax(dim=1) for path, each in weights.items()}
    inputs = {
        "2": outputs["2"],  # a depthwise channel has one input
        "5": weights["5"].abs().amax(dim=(0, 2, 3)),
        "9": weights["9"].abs().reshape(5, 6, 9).amax(dim=(0, 2)),  # nine pixels of a channel lie together
    }
    for first, second in (("0", "2"), ("2", "5"), ("5", "9")):
        torch.testing.assert_close(outputs[first], inputs[second], rtol=2e-2, atol=0)


class Sum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.three(functional.relu(self.one(inputs) + self.two(inputs)))
        return outputs


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (nn.Sequential(nn.Linear(4, 3), nn.ReLU6(), nn.Linear(3, 2)), (4,)),
        (nn.Sequential(nn.Linear(4, 3), nn.GELU(), nn.Linear(3, 2)), (4,)),
        (Sum(), (4,)),
        (nn.Sequential(nn.Conv2d(1, 4, 1), nn.Linear(4, 2)), (1, 4, 4)),  # reads columns, not channels
        (nn.Sequential(nn.Linear(4, 4), nn.Flatten(), nn.Linear(16, 2)), (4, 4)),
    ],
    ids=["ReLU6", "GELU", "sum", "columns", "sequence"],
)
def test_what_is_no_pair_is_left_alone(network: nn.Module, shape: tuple[int, ...]) -> None:
    folded = fold(network, np.zeros((1, *shape), np.float32))
    given = correct(network=folded).state_dict()
    assert all(torch.equal(value, given[key]) for key, value in folded.state_dict().items())


def test_dead_channels_stay_dead() -> None:
    network: Any = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        network[0].weight[0] = 0
        network[2].weight[:, 1] = 0
    given = correct(network=fold(network, np.zeros((1, 4), np.float32))).state_dict()
    assert all(torch.isfinite(value).all() for value in given.values())
    assert given["0.weight"][0].abs().max() == given["2.weight"][:, 1].abs().max() == 0


def test_passes_are_a_whole_number() -> None:
    with pytest.raises(ConfigError, match="iterations = 0"):
        correct(network=fold(nn.Linear(2, 2), np.zeros((1, 2), np.float32)), iterations=0)
