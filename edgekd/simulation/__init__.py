"""Quantization simulated in torch: what an exported file computes, before there is one."""

from edgekd.simulation.folding import WEIGHTED, fold
from edgekd.simulation.operators import Operator, kind_of, operators
from edgekd.simulation.quantized import Quantized
from edgekd.simulation.quantizers import FakeQuantizer, HalfWeights, WeightQuantizer, channel_scales
from edgekd.simulation.simulating import (
    channel_axis,
    fake_quantizers,
    ranges,
    set_ranges,
    simulate,
    strip,
    weight_bits,
)
from edgekd.simulation.watching import activations, batches, call_of, observe, part, tap, untap, weighted_layers

__all__ = [
    "WEIGHTED",
    "FakeQuantizer",
    "HalfWeights",
    "Operator",
    "Quantized",
    "WeightQuantizer",
    "activations",
    "batches",
    "call_of",
    "channel_axis",
    "channel_scales",
    "fake_quantizers",
    "fold",
    "kind_of",
    "observe",
    "operators",
    "part",
    "ranges",
    "set_ranges",
    "simulate",
    "strip",
    "tap",
    "untap",
    "weight_bits",
    "weighted_layers",
]
