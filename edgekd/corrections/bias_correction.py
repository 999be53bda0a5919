"""Moves biases so that rounding shifts no channel's mean (Nagel et al. 2019, section 4.2)."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from edgekd.corrections._checks import check_samples
from edgekd.progress import Progress, Silent
from edgekd.simulation import batches, call_of, channel_axis, observe, part, simulate, weighted_layers


def correct(
    *,
    network: fx.GraphModule,
    samples: NDArray[np.float32],
    precision: str,
    progress: Progress | None = None,
) -> fx.GraphModule:
    """Add to each bias what its channel's mean has lost: b = b + E[W x] - E[W' x'].

    W' and x' are the rounded weights and the inputs as the rounded network has them, those of corrected layers before
    it; means are over samples and pixels, before any activation (Nagel et al. 2019, arXiv:1906.04721, section 4.2 and
    appendix D: empirical). Layers are corrected one after the other.

    Args:
        network: From `edgekd.simulation.fold`; not changed.
        samples: (N, ...), read a batch at a time.
        precision: Whose rounding is corrected.
        progress: Hears of each layer.

    Returns:
        Another network: same weights, other biases.

    Raises:
        DataError: No samples.

    >>> from edgekd.simulation import fold
    >>> folded = fold(nn.Sequential(nn.Linear(2, 1)), np.zeros((1, 2), "f"))
    >>> _ = folded.get_submodule("0").weight.data.copy_(torch.tensor([[7.0, 0.4]]))
    >>> _ = folded.get_submodule("0").bias.data.zero_()
    >>> samples = np.array([[0, 1], [0, 3]], "f")
    >>> correct(network=folded, samples=samples, precision="weight_only_wi4_afp32").get_submodule("0").bias.item()
    0.8000...
    """
    check_samples("bias_correction", samples)
    progress = progress or Silent()
    corrected = copy.deepcopy(network)
    static = precision.startswith("static")
    layers = weighted_layers(corrected)
    for layer in layers.values():
        if layer.bias is None:
            layer.bias = nn.Parameter(layer.weight.new_zeros(layer.weight.shape[channel_axis(layer)]))
    simulated = simulate(corrected, precision, ranges=observe(network, samples) if static else None)
    rounded = weighted_layers(simulated)
    expected = _means(network, list(layers), samples)
    progress.start("correcting biases", len(layers))
    for path, layer in layers.items():
        lost = expected[path] - _means(simulated, [path], samples)[path]
        with torch.no_grad():
            layer.bias.copy_(layer.bias.double() + lost)
            rounded[path].bias.copy_(layer.bias)
        progress.advance()
    progress.end()
    return corrected


def _means(network: fx.GraphModule, paths: list[str], samples: NDArray[np.float32]) -> dict[str, Tensor]:
    """Mean of each channel that layers give, over samples and pixels, float64."""
    calls = {path: call_of(network, path) for path in paths}
    watched = part(network, list(calls.values()))
    sums: dict[str, Tensor] = {}
    counts = dict.fromkeys(paths, 0)
    for batch in batches(samples):
        with torch.no_grad():
            given = watched(batch)
        for path, values in zip(paths, given, strict=True):
            # Channels are the second dimension, of linear layers the last one.
            is_linear = isinstance(network.get_submodule(path), nn.Linear)
            channels = values.movedim(-1 if is_linear else 1, 0).flatten(1).double()
            sums[path] = sums.get(path, torch.zeros(1)) + channels.sum(dim=1)
            counts[path] += channels.shape[1]
    return {path: total / counts[path] for path, total in sums.items()}
