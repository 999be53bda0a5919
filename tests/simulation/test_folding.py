"""Folded networks against the networks they come from, and against the formula."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm

from edgekd import registry
from edgekd.errors import ExportError
from edgekd.simulation import fold

NETWORKS: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "mlp": ("mlp", (12,), {"dropout": 0.1, "input_dropout": 0.1}),
    "resnet": ("resnet", (3, 32, 32), {"depth": 8, "width": 4}),
    "resnet A": ("resnet", (3, 32, 32), {"depth": 8, "width": 4, "shortcut": "A", "padding": "symmetric"}),
    "mlperf_resnet8": ("mlperf_resnet8", (1, 28, 28), {"width": 4}),
    "ds_cnn": ("ds_cnn", (1, 49, 10), {"width": 8, "dropout": 0.2}),
    "mobilenet_v1": ("mobilenet_v1", (3, 32, 32), {"stem_stride": 1}),
}


def with_statistics(network: nn.Module, *shape: int) -> nn.Module:
    """Batch norms that do something: statistics of other data, and factors of their own."""
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
    for _ in range(3):
        network(2 * torch.randn(8, *shape) + 1)
    return network


def differ(one: nn.Module, other: nn.Module, *shape: int) -> float:
    inputs = torch.randn(4, *shape)
    with torch.no_grad():
        expected = one.eval()(inputs)
        return float((other(inputs) - expected).abs().max() / expected.abs().max().clamp_min(1))


@pytest.mark.parametrize("name", NETWORKS)
def test_folded_networks_give_the_same_outputs(name: str) -> None:
    torch.manual_seed(0)
    kind, shape, options = NETWORKS[name]
    network = with_statistics(registry.function("networks", kind)(classes=5, input_shape=shape, **options), *shape)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    folded = fold(network, np.zeros((1, *shape), np.float32))
    assert differ(network, folded, *shape) < 1e-5
    # Nothing of training is left, and the network itself is what it was.
    left = {type(module).__name__ for module in folded.modules()}
    assert left.isdisjoint({"BatchNorm1d", "BatchNorm2d", "Dropout", "Identity"})
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    weights = {key.removesuffix(".weight") for key in before if key.endswith(".weight")}
    assert {path for path, module in folded.named_modules() if hasattr(module, "weight")} <= weights


def test_a_folded_network_travels_to_another_process() -> None:
    torch.manual_seed(0)
    network = registry.function("networks", "mlperf_resnet8")(classes=5, input_shape=(1, 16, 16), width=4)
    folded = fold(network, np.zeros((1, 1, 16, 16), np.float32))
    copied = pickle.loads(pickle.dumps(folded))  # noqa: S301 - our own bytes
    assert differ(folded, copied, 1, 16, 16) == 0


def test_weights_are_those_of_the_formula() -> None:
    torch.manual_seed(1)
    network = with_statistics(nn.Sequential(nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4, eps=0.01)), 3)
    layer: Any = fold(network, np.zeros((1, 3), np.float32)).get_submodule("0")
    state = {key: value.double().numpy() for key, value in network.state_dict().items()}
    # Jacob et al. 2018, equation 14.
    factors = state["1.weight"] / np.sqrt(state["1.running_var"] + 0.01)
    np.testing.assert_allclose(layer.weight.detach().numpy(), state["0.weight"] * factors[:, None], rtol=1e-5)
    expected = state["1.bias"] - state["1.running_mean"] * factors
    np.testing.assert_allclose(layer.bias.detach().numpy(), expected, rtol=1e-5, atol=1e-6)


class Twice(nn.Module):
    """One layer for two norms, and a layer whose output is read beside the norm."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.read = nn.Linear(4, 4), nn.Linear(4, 4)
        self.one, self.two, self.three = (nn.BatchNorm1d(4) for _ in range(3))

    def forward(self, inputs: Tensor) -> Tensor:
        x = self.two(self.shared(self.one(self.shared(inputs))))
        y: Tensor = self.read(x)
        total: Tensor = y + self.three(y)
        return total


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (Twice(), (4,)),
        (nn.Sequential(nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 3, 1)), (2, 4, 4)),  # pre-activation
        (nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(3)), (3, 4)),  # its channels are not the layer's
        (nn.Sequential(nn.ConvTranspose2d(4, 4, 2, groups=2), nn.BatchNorm2d(4)), (4, 3, 3)),
    ],
    ids=["shared", "norm first", "sequence", "grouped transposed"],
)
def test_norms_that_belong_to_no_layer_stay(network: nn.Module, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    folded = fold(with_statistics(network, *shape), np.zeros((1, *shape), np.float32))
    assert any(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in folded.modules())
    assert differ(network, folded, *shape) < 1e-5


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.ConvTranspose2d(4, 6, 2, stride=2), nn.BatchNorm2d(6), nn.Conv2d(6, 3, 1, bias=False)),
        nn.Sequential(nn.Conv2d(4, 8, 3, groups=4, bias=False), nn.BatchNorm2d(8)),
    ],
    ids=["transposed", "grouped"],
)
def test_convolutions_of_all_kinds_take_their_norms(network: nn.Module) -> None:
    torch.manual_seed(0)
    folded = fold(with_statistics(network, 4, 6, 6), np.zeros((1, 4, 6, 6), np.float32))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert differ(network, folded, 4, 6, 6) < 1e-5


class Decision(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs if inputs.sum() > 0 else -inputs


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Decision()

    def forward(self, inputs: Tensor) -> Tensor:
        result: Tensor = self.inner(inputs)
        return result


class Random(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + torch.rand(2)


def test_control_flow_is_named_with_its_place() -> None:
    network = nn.Sequential(nn.Linear(2, 2), Branching())
    with pytest.raises(ExportError, match=r"can't trace what '1.inner' does in 'return inputs if .*torch\.where"):
        fold(network, np.zeros((1, 2), np.float32))


def test_a_network_whose_outputs_are_not_reproduced_is_refused() -> None:
    with pytest.raises(ExportError, match="outputs differ from the student's by"):
        fold(Random(), np.zeros((1, 2), np.float32))


def test_parametrized_weights_become_plain_ones_and_the_network_keeps_its_own() -> None:
    torch.manual_seed(0)
    network = with_statistics(nn.Sequential(weight_norm(nn.Linear(3, 4)), nn.BatchNorm1d(4)), 3)
    folded = fold(network, np.zeros((1, 3), np.float32))
    assert {name for name, _ in folded.named_parameters()} == {"0.weight", "0.bias"}
    assert differ(network, folded, 3) < 1e-5
    assert parametrize.is_parametrized(network[0], "weight")  # type: ignore[index]


class Padded(nn.Module):
    """Pads by its inputs' sizes and leaves the number of samples open, as some networks of transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 2, 3, stride=2)

    def forward(self, inputs: Tensor) -> Tensor:
        count, channels, height = *inputs.shape[:2], int(inputs.size(2))
        if channels == 1 and inputs.dim() == 4:
            inputs = nn.functional.pad(inputs, (0, max(3 - height % 2, 0)))
        result: Tensor = self.layer(inputs).reshape(count, -1)
        return result


def test_networks_may_compute_with_sizes() -> None:
    torch.manual_seed(0)
    network = Padded()
    folded = fold(network, np.zeros((1, 1, 7, 7), np.float32))
    for count in (1, 4):
        inputs = torch.rand(count, 1, 7, 7)
        torch.testing.assert_close(folded(inputs), network(inputs))
