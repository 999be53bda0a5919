"""Corrections are kept where they gain on validation data, and only there."""

import logging

import numpy as np
import pytest
import torch
from cloudpickle import loads
from torch import nn

from edgekd.records import CorrectionTerm, ExportSpec
from edgekd.stages.export.correcting import correct

RANDOM = np.random.default_rng(0)
SAMPLES = (RANDOM.normal(size=(256, 12)) + 0.7).astype(np.float32)
SPEC = ExportSpec(
    precisions=("fp32", "static_wi8_ai8", "weight_only_wi4_afp32"),
    corrections=(CorrectionTerm(name="bias_correction"),),
)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 4)).eval()


def test_four_bit_weights_gain_from_their_biases() -> None:
    student = network()
    corrected, worth = correct(student, SPEC, samples=SAMPLES[:128], check=SAMPLES[128:], progress=None)
    (four,) = (each for each in worth if each.precision == "weight_only_wi4_afp32")
    assert four.kept
    assert four.after < 0.9 * four.before
    with torch.inference_mode():
        before, after = (each(torch.from_numpy(SAMPLES)) for each in (student, loads(corrected[four.precision])))
    # Biases moved; weights are those of the student.
    assert 0 < float((before - after).abs().max()) < float(before.std())
    assert [each.precision for each in worth] == ["static_wi8_ai8", "weight_only_wi4_afp32"]


def test_what_does_not_gain_is_left_out() -> None:
    # Channels of equal ranges leave equalization nothing to do.
    first, second = nn.Linear(12, 24), nn.Linear(24, 4)
    for layer in (first, second):
        nn.init.constant_(layer.weight, 0.5)
    student = nn.Sequential(first, nn.ReLU(), second).eval()
    spec = ExportSpec(precisions=("static_wi8_ai8",), corrections=(CorrectionTerm(name="equalization"),))
    corrected, (worth,) = correct(student, spec, samples=SAMPLES, check=SAMPLES, progress=None)
    assert corrected == {}
    assert not worth.kept
    assert worth.after >= worth.before


def test_what_has_learned_its_rounding_is_left_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "edgekd"):
        corrected, worth = correct(
            network(), SPEC, samples=SAMPLES, check=SAMPLES, progress=None, learned="weight_only_wi4_afp32"
        )
    assert [each.precision for each in worth] == ["static_wi8_ai8"]
    assert "weight_only_wi4_afp32" not in corrected
    assert "no corrections for weight_only_wi4_afp32: its weights and ranges were learned" in caplog.text


def test_without_corrections_nothing_is_traced() -> None:
    class Branching(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs if inputs.sum() > 0 else -inputs

    found = correct(Branching(), ExportSpec(), samples=SAMPLES, check=SAMPLES, progress=None)
    assert found == ({}, ())
