"""Puts into a network what apps should not have to do: preprocessing before it, softmax or argmax behind it."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edgekd.records import Preprocessing

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
# Outputs of float32 networks in another order of additions, relative to the largest.
_ERROR = 1e-4


def with_head(network: nn.Module, head: str) -> nn.Module:
    """Put behind a network what makes probabilities (N, classes) or the likeliest class (N,) of logits (N, classes)."""
    if head == "logits":
        return network
    return Headed(network, nn.Softmax(dim=1) if head == "probabilities" else _Likeliest())


class Headed(nn.Module):
    """A network and what comes behind it."""

    def __init__(self, network: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.network, self.head = network, head
        self.takes_tokens = getattr(network, "takes_tokens", False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Run both."""
        return cast("Tensor", self.head(self.network(inputs)))


class Preprocessed(nn.Module):
    """Preprocessing as a layer, and the network behind it."""

    def __init__(self, network: nn.Module, layer: nn.Module) -> None:
        super().__init__()
        self.preprocessing, self.network = layer, network

    def forward(self, inputs: Tensor) -> Tensor:
        """Run both."""
        return cast("Tensor", self.network(self.preprocessing(inputs)))


class _Likeliest(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        return logits.argmax(dim=1)


class _Affine(nn.Module):
    """x * factor + term, of inputs that no convolution takes."""

    factor: Tensor
    term: Tensor

    def __init__(self, factor: Tensor, term: Tensor) -> None:
        super().__init__()
        self.register_buffer("factor", factor)
        self.register_buffer("term", term)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * self.factor + self.term


def absorb(network: nn.Module, done: Preprocessing, raw: Tensor) -> nn.Module:
    """Give a copy of a network that takes raw values.

    Preprocessing is x a + b with a = scale / deviation and b = -mean a, for each channel. First layers take it into
    their weights, W' = W a and c' = c + sum W b, which costs nothing; b only where they pad with no zeros, which
    would have to be means. Where outputs are then others, or inputs are read by something else, a layer of its own
    comes first: 1x1, one weight and bias a channel, or a product and a sum.

    Args:
        network: Takes preprocessed values; in evaluation mode.
        done: The preprocessing.
        raw: A few raw inputs, (N, ...).

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> taking_bytes = absorb(network, Preprocessing(scale=1 / 255), torch.full((1, 1, 2, 2), 255.0))
    >>> torch.allclose(taking_bytes(torch.full((1, 1, 2, 2), 51.0)), network(torch.full((1, 1, 2, 2), 0.2)))
    True
    """
    shape = [1] * raw.ndim
    if done.mean:
        shape[done.axis] = -1
    factor = done.scale / torch.tensor(done.deviation or (1.0,), dtype=torch.float64)
    term = -torch.tensor(done.mean or (0.0,), dtype=torch.float64) * factor
    factor, term = factor.reshape(shape), term.reshape(shape)
    ready = (raw.double() * factor + term).float()
    with torch.no_grad():
        expected = network(ready)
        changed = copy.deepcopy(network)
        if _absorb_in_weights(changed, factor, term, ready):
            given = changed(raw)
            if float((given - expected).abs().max()) <= _ERROR * max(1.0, float(expected.abs().max())):
                return changed
    return Preprocessed(copy.deepcopy(network), _layer_of(factor.float(), term.float(), raw, done))


def _absorb_in_weights(network: nn.Module, factor: Tensor, term: Tensor, ready: Tensor) -> bool:
    """Change the layers that read the inputs; false where one can't be, or there is none."""
    able = True
    readers: list[nn.Module] = []

    def look(module: nn.Module, given: tuple[Any, ...]) -> None:
        value = given[0] if given else None
        # A flattened view shares its memory with the inputs.
        if isinstance(value, Tensor) and value.data_ptr() == ready.data_ptr() and value.numel() == ready.numel():
            readers.append(module)

    hooks = [
        module.register_forward_pre_hook(look)
        for module in network.modules()
        if isinstance(module, (*_CONVOLUTIONS, nn.Linear))
    ]
    network(ready)
    for hook in hooks:
        hook.remove()
    spread_factor, spread_term = (each.expand(1, *ready.shape[1:]) for each in (factor, term))
    for layer in dict.fromkeys(readers):
        able = able and _absorb_in_layer(layer, spread_factor, spread_term, per_sample=ready[0].numel())
    return able and bool(readers)


def _absorb_in_layer(layer: nn.Module, factor: Tensor, term: Tensor, *, per_sample: int) -> bool:
    if parametrize.is_parametrized(layer) or not isinstance(layer, (*_CONVOLUTIONS, nn.Linear)):
        return False
    weight = layer.weight.data.double()
    if isinstance(layer, nn.Linear):
        # One row of all numbers of a sample; else the layer runs along one dimension of them.
        if layer.in_features != per_sample:
            return False
        factors, terms = factor.reshape(1, -1), term.reshape(1, -1)
        moved = (weight * terms).sum(1)
    else:
        # Of each channel one number: every preprocessing here has that, or the same for all.
        factors, terms = (each.flatten(2)[:, :, :1] if each.ndim > 2 else each for each in (factor, term))
        if not bool((factor.flatten(2) == factors).all() and (term.flatten(2) == terms).all()):
            return False
        padded = any(layer.padding) if not isinstance(layer.padding, str) else layer.padding != "valid"
        if padded and layer.padding_mode == "zeros" and bool(terms.any()):
            return False
        per_group, groups = weight.shape[1], layer.groups
        factors, terms = (each.reshape(groups, 1, per_group) for each in (factors, terms))
        rows = weight.shape[0] // groups
        factors, terms = (
            each.expand(groups, rows, per_group).reshape(weight.shape[0], per_group, *[1] * (weight.ndim - 2))
            for each in (factors, terms)
        )
        moved = (weight * terms).flatten(1).sum(1)
    if layer.bias is not None:
        layer.bias.data = (layer.bias.data.double() + moved).float()
    elif bool(moved.any()):
        layer.bias = nn.Parameter(moved.float(), requires_grad=False)
    layer.weight.data = (weight * factors).float()
    return True


def _layer_of(factor: Tensor, term: Tensor, raw: Tensor, done: Preprocessing) -> nn.Module:
    channels = raw.shape[1]
    layers: dict[int, type[nn.Conv1d | nn.Conv2d]] = {3: nn.Conv1d, 4: nn.Conv2d}
    if raw.ndim not in layers or (done.mean and done.axis != 1):
        return _Affine(factor, term)
    layer = layers[raw.ndim](channels, channels, 1, groups=channels).requires_grad_(requires_grad=False).eval()
    layer.weight.data = factor.reshape(-1).expand(channels).reshape(layer.weight.shape).contiguous()
    layer.bias = nn.Parameter(term.reshape(-1).expand(channels).contiguous(), requires_grad=False)
    return layer
