"""A rounded student is put together again from what was kept of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from edgekd.errors import ExportError
from edgekd.simulation import FakeQuantizer, Quantized, fake_quantizers, fold, observe, set_ranges, simulate

INPUTS = np.random.default_rng(0).normal(size=(64, 1, 8, 8)).astype(np.float32)


def student(channels: int = 6) -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(1, channels, 3, bias=False), nn.BatchNorm2d(channels), nn.ReLU6()),
        *(nn.Flatten(), nn.Linear(36 * channels, 4)),
    )
    network(torch.from_numpy(INPUTS))  # statistics
    return network.eval()


@pytest.mark.parametrize("precision", ["static_wi8_ai8", "static_wi8_ai16", "weight_only_wi4_afp32"])
def test_weights_and_ranges_are_all_that_is_kept(precision: str) -> None:
    folded = fold(student(), INPUTS[:2])
    simulated = simulate(folded, precision, ranges=observe(folded, INPUTS))
    with torch.no_grad():  # as if it had learned
        simulated.get_parameter("4.bias").add_(0.3)
        for each in fake_quantizers(simulated):
            each.scale.mul_(0.83)
        expected = simulated(torch.from_numpy(INPUTS)).numpy()
    found = Quantized.of(simulated, precision)
    assert not any(isinstance(each, FakeQuantizer) for each in found.network.modules())
    kept = load(save(dict(found.network.state_dict())))
    again = Quantized.load(student(), INPUTS[:2], kept, precision=precision, ranges=dict(found.ranges), sha256="7")
    # Ends of ranges are rounded numbers: scales may differ in their last bit, and a sum at a step's edge with them.
    assert np.abs(again.outputs(INPUTS) - expected).max() <= 1.01 * np.ptp(expected) / 255
    assert (np.abs(again.outputs(INPUTS) - expected) < 1e-5).mean() > 0.99
    assert (again.precision, again.sha256, again.ranges) == (precision, "7", found.ranges)
    with torch.no_grad():
        assert not torch.equal(again.network(torch.from_numpy(INPUTS)), folded(torch.from_numpy(INPUTS)))


def test_scales_past_a_relu6_end_where_it_does() -> None:
    folded = fold(student(), INPUTS[:2])
    simulated = simulate(folded, "static_wi8_ai8", ranges=observe(folded, INPUTS))
    with torch.no_grad():
        for each in fake_quantizers(simulated):
            each.scale.mul_(40)
    found = Quantized.of(simulated, "static_wi8_ai8")
    assert found.ranges["0"] == pytest.approx((0.0, 6.0))
    set_ranges(simulated, found.ranges)
    (relu6,) = (each for each in fake_quantizers(simulated) if each.site == "0")
    assert float(relu6.scale.detach()) == pytest.approx(6 / 255)


def test_weights_of_another_network_are_refused() -> None:
    kept = fold(student(8), INPUTS[:2]).state_dict()
    with pytest.raises(ExportError, match=r"quantized weights of another network: .*size mismatch.*distil the student"):
        Quantized.load(student(6), INPUTS[:2], kept, precision="static_wi8_ai8", ranges={})
