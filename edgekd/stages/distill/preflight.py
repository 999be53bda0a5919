"""Checks that cost seconds before training that costs hours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from edgekd.datasets import Dataset
from edgekd.errors import ConfigError, DataError, EdgekdError, ModelError
from edgekd.records import DistillSpec, LossTerm

# Options of losses with a meaning that their types do not tell.
_LOSS_OPTIONS: tuple[tuple[str, Callable[[float], bool], str], ...] = (
    ("temperature", lambda value: value > 0, "above 0"),
    ("label_smoothing", lambda value: 0 <= value <= 1, "0 to 1"),
)


def check_data(data: Dataset) -> None:
    """Check the splits that training reads, which may be the user's own arrays.

    Raises:
        DataError: One is empty, has no label for each sample, or labels that are no classes.
    """
    for name, split in (("training", data.train), ("validation", data.validation)):
        where = f"{data.name}: {name} split"
        if not len(split):
            raise DataError("empty", where=where)
        if len(split.inputs) != len(split.labels):
            raise DataError(f"{len(split.inputs)} inputs but {len(split.labels)} labels", where=where)
        low, high = int(split.labels.min()), int(split.labels.max())
        if split.labels.dtype.kind not in "iu" or not 0 <= low <= high < len(data.classes):
            raise DataError(
                f"labels of type {split.labels.dtype}, from {low} to {high}",
                where=where,
                allowed=f"integers, 0 to {len(data.classes) - 1}",
            )


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
            f"the network does not take inputs of shape {tuple(data.input_shape)}: "
            f"{(str(error) or type(error).__name__).splitlines()[0]}",
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
    problems: list[EdgekdError] = [
        ConfigError(what, where=f"{name}: {key}", allowed=allowed)
        for key, what, allowed in (*_check_bounds(spec), *_check_losses(losses, has_teachers=has_teachers))
    ]
    if len(data.input_shape) != 3 and spec.augmentations:
        what = f"inputs of shape {data.input_shape} are no images"
        problems.append(ConfigError(what, where=f"{name}: augmentations", allowed="none"))
    if problems:
        raise ConfigError.of(problems)


def _check_bounds(spec: DistillSpec) -> Iterator[tuple[str, str, str]]:
    """Hold a spec that was made in Python against the bounds that a recipe is held against."""
    try:
        TypeAdapter(DistillSpec).validate_python(asdict(spec))
    except ValidationError as error:
        for each in error.errors():
            message = each["msg"].removeprefix("Input should be ")
            yield ".".join(str(part) for part in each["loc"]), repr(each["input"]), message


def _check_losses(losses: Sequence[LossTerm], *, has_teachers: bool) -> Iterator[tuple[str, str, str]]:
    if sum(term.weight for term in losses) <= 0:
        yield "losses", "their weights do not sum to more than 0", "weights of 0 or more, one above 0"
    for term in losses:
        if term.name != "cross_entropy" and ":" not in term.name and not has_teachers:
            yield "losses", f"loss '{term.name}' needs a teacher", "cross_entropy, or add [[teachers]]"
        for option, is_fit, allowed in _LOSS_OPTIONS:
            if option in term.options and not is_fit(term.options[option]):
                yield f"losses.{option}", f"{term.options[option]}", allowed


def check_teachers(student: nn.Module, teachers: Sequence[nn.Module], weights: Sequence[float], name: str) -> None:
    """Check that the student can be trained, and that the teachers are others and well weighted.

    Raises:
        ConfigError: Another number of weights than of teachers, or one that is not above 0.
        ModelError: All of the student is frozen, or a teacher shares parameters with it.
    """
    if len(weights) != len(teachers) or not all(weight > 0 for weight in weights):
        raise ConfigError(
            f"{len(teachers)} teachers with the weights {', '.join(f'{weight:g}' for weight in weights) or 'none'}",
            where=f"{name}: teacher_weights",
            allowed="one number above 0 for each teacher",
        )
    own = {id(parameter) for parameter in student.parameters() if parameter.requires_grad}
    if not own:
        raise ModelError(
            "the network has no parameters to train", where=name, next_step="call its requires_grad_(True)"
        )
    if any(id(parameter) in own for teacher in teachers for parameter in teacher.parameters()):
        raise ModelError(
            "a teacher shares parameters with the network it teaches",
            where=name,
            next_step="give a copy as teacher: copy.deepcopy(network)",
        )
