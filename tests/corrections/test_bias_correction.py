"""Bias correction against means in NumPy, and on a network whose rounding shifts them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import fx, nn

from edgekd.corrections.bias_correction import correct
from edgekd.errors import DataError
from edgekd.progress import Silent
from edgekd.simulation import batches, call_of, fold, observe, part, simulate

# All positive, as behind a ReLU: what weights lose to rounding adds up.
SAMPLES = np.random.default_rng(0).uniform(0.5, 1.5, size=(150, 3, 8, 8)).astype(np.float32)
W4, W8 = "weight_only_wi4_afp32", "static_wi8_ai8"


def network() -> fx.GraphModule:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
    )
    return fold(layers, SAMPLES[:1])


def simulated(built: fx.GraphModule, precision: str) -> fx.GraphModule:
    return simulate(built, precision, ranges=observe(network(), SAMPLES))


def means(built: fx.GraphModule, path: str) -> np.ndarray:
    """Of each channel before its activation, in float64."""
    watched = part(built, [call_of(built, path)])
    with torch.no_grad():
        values = torch.cat([watched(batch)[0] for batch in batches(SAMPLES)]).double().numpy()
    return np.asarray(values.mean(axis=tuple(each for each in range(values.ndim) if each != 1)))


def error_of(built: fx.GraphModule, precision: str) -> float:
    with torch.no_grad():
        expected = torch.cat([network()(batch) for batch in batches(SAMPLES)])
        given = torch.cat([simulated(built, precision)(batch) for batch in batches(SAMPLES)])
    return float((given - expected).square().mean())


@pytest.mark.parametrize("precision", [W4, W8])
def test_every_channel_has_its_mean_again(precision: str) -> None:
    corrected = simulated(correct(network=network(), samples=SAMPLES, precision=precision), precision)
    for path in ("0", "2", "5"):
        wanted, before = means(network(), path), means(simulated(network(), precision), path)
        assert np.abs(before - wanted).max() > 1e-4
        np.testing.assert_allclose(means(corrected, path), wanted, atol=2e-6)


def test_the_first_layer_s_bias_is_the_paper_s_formula() -> None:
    # Nagel et al. 2019, section 4.2: what is lost is (W' - W) E[x], with float inputs.
    built = network()
    layer: Any = built.get_submodule("0")
    weights = layer.weight.detach().double().numpy()
    scales = np.abs(weights).max(axis=(1, 2, 3), keepdims=True) / 7
    lost = np.round(weights / scales) * scales - weights
    patches = np.lib.stride_tricks.sliding_window_view(SAMPLES.astype(np.float64), (3, 3), axis=(2, 3)).mean(
        axis=(0, 2, 3)
    )
    expected = -(lost * patches).sum(axis=(1, 2, 3))
    layer = correct(network=built, samples=SAMPLES, precision=W4).get_submodule("0")
    np.testing.assert_allclose(layer.bias.detach().numpy(), expected, atol=1e-6)


# Of 8 bits there is less to correct, and more that is no shift.
@pytest.mark.parametrize(("precision", "factor"), [(W4, 2.0), (W8, 1.3)])
def test_outputs_are_nearer_to_the_float_ones(precision: str, factor: float) -> None:
    corrected = correct(network=network(), samples=SAMPLES, precision=precision)
    assert error_of(corrected, precision) < error_of(network(), precision) / factor


def test_weights_and_the_network_itself_stay() -> None:
    built = network()
    before = {key: value.clone() for key, value in built.state_dict().items()}
    corrected = correct(network=built, samples=SAMPLES, precision=W4)
    assert all(torch.equal(value, before[key]) for key, value in built.state_dict().items())
    for key, value in before.items():
        assert torch.equal(corrected.state_dict()[key], value) == key.endswith("weight")


def test_float_precision_changes_nothing() -> None:
    corrected = correct(network=network(), samples=SAMPLES, precision="fp32").state_dict()
    for key, value in network().state_dict().items():
        torch.testing.assert_close(corrected[key], value, rtol=0, atol=1e-6)


def test_it_is_the_same_each_time_and_tells_how_far_it_is() -> None:
    class Steps(Silent):
        def __init__(self) -> None:
            self.told: list[object] = []

        def start(self, task: str, total: int) -> None:
            self.told.append((task, total))

        def advance(self, count: int = 1) -> None:
            self.told.append(count)

        def end(self) -> None:
            self.told.append("end")

    steps = Steps()
    one = correct(network=network(), samples=SAMPLES, precision=W8, progress=steps)
    other = correct(network=network(), samples=SAMPLES, precision=W8)
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())
    assert steps.told == [("correcting biases", 3), 1, 1, 1, "end"]


def test_no_samples_are_refused() -> None:
    with pytest.raises(DataError, match="no samples"):
        correct(network=network(), samples=SAMPLES[:0], precision=W8)
