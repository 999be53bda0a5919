"""Optimizers, learning rates, and what is done to weights after a step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from edgekd.records import DistillSpec
from edgekd.simulation import FakeQuantizer


def make_optimizer(
    parameters: Iterable[nn.Parameter], spec: DistillSpec, scales: Sequence[nn.Parameter] = ()
) -> torch.optim.Optimizer:
    """Make the optimizer that a spec names; its learning rate is set before every step.

    Args:
        parameters: All of them; those that need no gradient are left out.
        spec: Which optimizer, and its constants.
        scales: Those that say how activations are rounded. They come after the first group and do not decay: a smaller
            scale is no simpler network, it clips more. AdamW moves each by its share of what it moves weights by, or
            small ones would jump; of SGD the gradient is in proportion already (Esser et al. 2020, section 2.2).
    """
    learned = [each for each in scales if each.requires_grad]
    apart = {id(each) for each in learned}
    weights = [each for each in parameters if each.requires_grad and id(each) not in apart]
    trained: list[dict[str, Any]] = [{"params": weights}]
    if spec.optimizer == "adamw":
        trained += [{"params": [each], "weight_decay": 0.0, "share": abs(float(each.detach()))} for each in learned]
        return torch.optim.AdamW(trained, lr=spec.learning_rate, weight_decay=spec.weight_decay)
    trained += [{"params": learned, "weight_decay": 0.0}] if learned else []
    return torch.optim.SGD(
        trained,
        lr=spec.learning_rate,
        momentum=spec.momentum,
        nesterov=spec.momentum > 0,
        weight_decay=spec.weight_decay,
    )


def learning_rate(spec: DistillSpec, step: int, steps_per_epoch: int) -> float:
    """Give the learning rate of a step.

    A linear warm-up, times half a cosine to zero (Loshchilov and Hutter 2017, eq. 5, one cycle), steps, or nothing.

    >>> [round(learning_rate(DistillSpec(epochs=4, warmup_epochs=0), step, 1), 3) for step in range(4)]
    [0.1, 0.085, 0.05, 0.015]
    """
    rate = spec.learning_rate * min(1.0, (step + 1) / max(spec.warmup_epochs * steps_per_epoch, 1))
    if spec.schedule == "cosine":
        return rate * 0.5 * (1 + math.cos(math.pi * step / (spec.epochs * steps_per_epoch)))
    if spec.schedule == "step":
        passed = sum(step >= epoch * steps_per_epoch for epoch in spec.step_epochs)
        return rate * spec.step_factor**passed
    return rate


def set_rates(optimizer: torch.optim.Optimizer, spec: DistillSpec, step: int, steps_per_epoch: int) -> None:
    """Set the learning rate of a step; that of scales is 0 from the step on from which ranges stand still.

    Args:
        optimizer: Of `make_optimizer`.
        spec: The schedule.
        step: Number of the step in the whole training.
        steps_per_epoch: How many an epoch has.
    """
    rate = learning_rate(spec, step, steps_per_epoch)
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("share", 1.0)
    if spec.quantization and step >= spec.quantization.learn_ranges * spec.epochs * steps_per_epoch:
        for group in optimizer.param_groups[1:]:
            group["lr"] = 0.0


def scales_of(network: nn.Module) -> list[nn.Parameter]:
    """Give the scales by which a network rounds its activations; none where it rounds nothing.

    >>> scales_of(nn.Linear(2, 1))
    []
    """
    return [each.scale for each in network.modules() if isinstance(each, FakeQuantizer)]


def average_of(network: nn.Module, decay: float) -> AveragedModel:
    """Begin an exponential moving average of a network's weights and buffers."""
    update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # torch's stubs
    averaged = AveragedModel(network, multi_avg_fn=update, use_buffers=True)
    return averaged.requires_grad_(requires_grad=False)


@torch.no_grad()
def limit_norms(network: nn.Module, largest: float) -> None:
    """Scale down each unit whose incoming weights are longer than `largest` (Hinton et al. 2012, section 2)."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            norms = module.weight.flatten(1).norm(dim=1)
            scale = (largest / norms).clamp(max=1.0)
            module.weight.mul_(scale.reshape(-1, *[1] * (module.weight.ndim - 1)))
