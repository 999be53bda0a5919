"""Checks that cost seconds before training that costs hours."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from edgekd.datasets import Dataset
from edgekd.errors import ConfigError, DataError, EdgekdError, ModelError
from edgekd.records import DistillSpec, LossTerm


def check_network(network: nn.Module, data: Dataset, name: str, device: torch.device) -> None:
    """Send two samples through a network.

    Raises:
        DataError: It does not take the data's shape.
        ModelError: It has other outputs than the data has classes, or gives no finite numbers.
    """
    was_training = network.training
    sample = torch.from_numpy(data.ready(data.validation, 2)).to(device)
    try:
        with torch.inference_mode():
            logits = network.eval()(sample)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise DataError(
            f"the network does not take inputs of shape {tuple(data.input_shape)}: {str(error).splitlines()[0]}",
            where=name,
            next_step="choose a network for this shape, or another layout of the data",
        ) from None
    finally:
        network.train(was_training)
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2:
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ModelError(f"the network gives {shape}", where=name, allowed="logits of shape (batch, classes)")
    if logits.shape[1] != len(data.classes):
        raise ModelError(
            f"the network has {logits.shape[1]} classes, the data {len(data.classes)}",
            where=name,
            next_step="use weights or a network made for this data",
        )
    if not torch.isfinite(logits).all():
        raise ModelError(
            "the network's outputs are not finite", where=name, next_step="its weights hold NaN or do not fit"
        )


def check_spec(spec: DistillSpec, losses: Sequence[LossTerm], data: Dataset, *, has_teachers: bool, name: str) -> None:
    """Check what a schedule asks for.

    Raises:
        ConfigError: Every problem at once.
    """
    problems: list[EdgekdError] = []

    def problem(key: str, what: str, allowed: str) -> None:
        problems.append(ConfigError(what, where=f"{name}: {key}", allowed=allowed))

    if sum(term.weight for term in losses) <= 0:
        problem("losses", "their weights do not sum to more than 0", "weights of 0 or more, one above 0")
    for term in losses:
        if term.name != "cross_entropy" and ":" not in term.name and not has_teachers:
            problem("losses", f"loss '{term.name}' needs a teacher", "cross_entropy, or add [[teachers]]")
        if not term.options.get("temperature", 1.0) > 0:
            problem("losses.temperature", f"{term.options['temperature']}", "above 0")
    if len(data.input_shape) != 3 and spec.augmentations:
        problem("augmentations", f"inputs of shape {data.input_shape} are no images", "none")
    if problems:
        raise ConfigError.of(problems)
