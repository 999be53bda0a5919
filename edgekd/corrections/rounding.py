"""Learns for each weight whether to round it up or down, layer by layer: AdaRound (Nagel et al. 2020)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx
from torch.func import functional_call

from edgekd.corrections._checks import check_count, check_positive, check_samples
from edgekd.progress import Progress, Silent
from edgekd.simulation import (
    batches,
    call_of,
    channel_axis,
    channel_scales,
    observe,
    operators,
    part,
    simulate,
    weight_bits,
    weighted_layers,
)

# Of the paper's section 3.2 and its published code: ends of the stretched sigmoid, of beta, and the share of the
# iterations after which the regulariser begins.
_ZETA, _GAMMA = 1.1, -0.1
_BETA_FIRST, _BETA_LAST = 20.0, 2.0
_WARM_UP = 0.2
# The paper adds lambda = 0.01 for each weight to the error as it is, which suits outputs of about 1 and does nothing
# for others. Here the error is relative to that of rounding to nearest and the regulariser a mean; this factor brings
# both to the paper's proportion in layers of some thousand weights.
_ERROR_FACTOR = 0.01
_SMALLEST_ERROR = 1e-30
# Shares of the largest weight that are tried as the end of a channel's grid.
_SHARES = torch.linspace(0.5, 1.0, 51, dtype=torch.float64)


def correct(
    *,
    network: fx.GraphModule,
    samples: NDArray[np.float32],
    precision: str,
    iterations: int = 1000,
    batch_size: int = 32,
    learning_rate: float = 0.01,
    seed: int = 0,
    progress: Progress | None = None,
) -> fx.GraphModule:
    """Round the weights of each layer so that its outputs, not its weights, change least.

    W' = s clip(floor(W / s) + h(V), -q, q), h(V) = clip(sigmoid(V) (zeta - gamma) + gamma, 0, 1); V minimises
    ||f(W x) - f(W' x')||^2 / e + lambda sum(1 - |2 h(V) - 1|^beta) (Nagel et al. 2020, arXiv:2004.10568, equations 21
    to 25). f is the activation behind the layer, x' are its inputs as the rounded layers before it leave them, e is the
    error of rounding to nearest, beta falls from 20 to 2. The scale s of each channel minimises ||W - W'||^2 of
    rounding to nearest, and the largest weight lies at the end of the grid: quantizers that take scales from the
    largest weight find the same integers. A layer that would not gain is rounded to nearest.

    Args:
        network: From `edgekd.simulation.fold`; not changed.
        samples: (N, ...); what one layer takes and gives for them must fit into memory.
        precision: Whose weights and activations are rounded.
        iterations: Steps of Adam for each layer; the paper takes 10,000.
        batch_size: Samples a step.
        learning_rate: Of Adam.
        seed: Of the order of samples.
        progress: Hears of each layer's steps.

    Returns:
        Another network, whose weights lie on the integers' grid; float weights of other precisions stay.

    Raises:
        ConfigError: An option out of range.
        DataError: No samples.

    >>> from torch import nn
    >>> from edgekd.simulation import fold
    >>> folded = fold(nn.Sequential(nn.Linear(3, 1, bias=False)), np.zeros((1, 3), "f"))
    >>> _ = folded.get_submodule("0").weight.data.copy_(torch.tensor([[7.0, 1.4, 1.45]]))
    >>> samples = np.array([[0, 1, 1], [1, 2, 2]], "f")
    >>> rounded = correct(network=folded, samples=samples, precision="weight_only_wi4_afp32")
    >>> rounded.get_submodule("0").weight.flatten().tolist()  # 1.4 + 1.45 is nearer to 1 + 2 than to 1 + 1
    [7.0, 1.0, 2.0]
    """
    check_samples("rounding", samples)
    check_count("rounding", "iterations", iterations)
    check_count("rounding", "batch_size", batch_size)
    check_positive("rounding", "learning_rate", learning_rate)
    progress = progress or Silent()
    corrected = copy.deepcopy(network)
    is_static = precision.startswith("static")
    simulated = simulate(network, precision, ranges=observe(network, samples) if is_static else None)
    rounded, last = weighted_layers(simulated), {str(each.node.target): each for each in operators(network).values()}
    layers = {path: each for path, each in weighted_layers(corrected).items() if weight_bits(each, precision)}
    generator = torch.Generator().manual_seed(seed)
    progress.start("learning to round", len(layers) * iterations)
    for path, layer in layers.items():
        operator = last[path]
        problem = _Problem(
            layer=layer,
            activation=_activation(network, operator.node, operator.last),
            inputs=_values(simulated, call_of(simulated, path).args[0], samples),
            targets=_values(network, operator.last, samples),
            scales=_scales(layer, q_max := 2 ** ((weight_bits(layer, precision) or 8) - 1) - 1),
            q_max=q_max,
        )
        weight = problem.solve(
            iterations=iterations,
            batch_size=batch_size,
            learning_rate=learning_rate,
            generator=generator,
            progress=progress,
        )
        with torch.no_grad():
            layer.weight.copy_(weight)
            rounded[path].parametrizations.weight.original.copy_(weight)
    progress.end()
    return corrected


@dataclass(frozen=True, kw_only=True)
class _Problem:
    """One layer to round.

    Attributes:
        layer: With its float weights.
        activation: Behind it.
        inputs: As the rounded layers before it give them, (N, ...).
        targets: What the float network gives behind the activation, (N, ...).
        scales: Shape that broadcasts to the weights.
        q_max: Largest integer.
    """

    layer: Any
    activation: Callable[[Tensor], Tensor]
    inputs: Tensor
    targets: Tensor
    scales: Tensor
    q_max: int

    def solve(
        self, *, iterations: int, batch_size: int, learning_rate: float, generator: torch.Generator, progress: Progress
    ) -> Tensor:
        """Give the rounded weights."""
        steps = (self.layer.weight.detach() / self.scales).clamp(-self.q_max, self.q_max)
        floors, nearest = steps.floor(), steps.round()
        # At the ends of the grid there is nothing to choose: the largest weight must stay the largest.
        at_end = nearest.abs() == self.q_max
        # The inverse of h, so that what is learned begins at the float weights.
        share = ((steps - floors) - _GAMMA) / (_ZETA - _GAMMA)
        logits = torch.log(share / (1 - share)).requires_grad_()
        adam = torch.optim.Adam([logits], lr=learning_rate)
        warm_up = int(iterations * _WARM_UP)
        plain = nearest * self.scales
        unit = max(self._mean_error(plain), _SMALLEST_ERROR)
        for step in range(iterations):
            chosen = torch.randint(len(self.inputs), (batch_size,), generator=generator)
            up = torch.clamp(torch.sigmoid(logits) * (_ZETA - _GAMMA) + _GAMMA, 0, 1)
            loss = _ERROR_FACTOR * self._error(torch.where(at_end, nearest, floors + up) * self.scales, chosen) / unit
            if step >= warm_up:
                beta = _beta((step - warm_up) / max(1, iterations - warm_up))
                loss = loss + ((1 - (2 * up - 1).abs() ** beta) * ~at_end).mean()
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch
            adam.step()
            progress.advance()
        learned = torch.where(at_end, nearest, floors + (logits.detach() >= 0)) * self.scales
        better: Tensor = learned if self._mean_error(learned) < self._mean_error(plain) else plain
        return better

    def _error(self, weight: Tensor, chosen: Tensor) -> Tensor:
        """Squared error of an output, summed over channels and averaged over the rest."""
        outputs = self.activation(functional_call(self.layer, {"weight": weight}, (self.inputs[chosen],)))
        channels = int(self.layer.weight.shape[channel_axis(self.layer)])
        error: Tensor = ((outputs - self.targets[chosen]) ** 2).mean() * channels
        return error

    @torch.no_grad()
    def _mean_error(self, weight: Tensor) -> float:
        parts = torch.split(torch.arange(len(self.inputs)), 64)
        return sum(float(self._error(weight, each)) * len(each) for each in parts) / len(self.inputs)


def _beta(share: float) -> float:
    """Anneal along half a cosine, as the published code does."""
    return _BETA_LAST + 0.5 * (_BETA_FIRST - _BETA_LAST) * (1 + float(np.cos(np.pi * share)))


def _scales(layer: Any, q_max: int) -> Tensor:
    """Scale of each channel with the smallest squared error of rounding to nearest, (channels, 1, ...) or alike."""
    axis = channel_axis(layer)
    weight = layer.weight.detach().double()
    shape = [-1 if each == axis else 1 for each in range(weight.ndim)]
    others = [each for each in range(weight.ndim) if each != axis]
    largest = channel_scales(weight, axis, q_max)
    best, smallest = largest, torch.full_like(largest, float("inf"))
    # From the whole range down: where two are equal, nothing is clipped.
    for share in _SHARES.flip(0):
        scales = (largest * share).reshape(shape)
        errors = ((weight / scales).round().clamp(-q_max, q_max) * scales - weight).square().sum(dim=others)
        better = errors < smallest
        best, smallest = torch.where(better, largest * share, best), torch.where(better, errors, smallest)
    return best.reshape(shape).float()


def _values(network: fx.GraphModule, node: Any, samples: NDArray[np.float32]) -> Tensor:
    watched = part(network, [node])
    with torch.no_grad():
        return torch.cat([watched(batch)[0] for batch in batches(samples)])


def _activation(network: fx.GraphModule, node: fx.Node, last: fx.Node) -> Callable[[Tensor], Tensor]:
    """Cut out what is fused into a layer; the identity where nothing is."""
    if last is node:
        return _identity
    graph = fx.Graph()
    given = graph.placeholder("values")
    graph.output(graph.node_copy(last, lambda _: given))
    return fx.GraphModule(network, graph)


def _identity(values: Tensor) -> Tensor:
    return values
