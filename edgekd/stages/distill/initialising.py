"""What an untrained network takes over from its teacher: some of its layers, and all that fits beside them."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from edgekd import registry
from edgekd.errors import ConfigError, ModelError
from edgekd.records import InitSpec
from edgekd.stages.distill.teachers import Teacher
from edgekd.teachers import StoredLogits

_log = logging.getLogger("edgekd")
State = Mapping[str, torch.Tensor]
# Of a name in a state dict: where the outermost list of layers lies, the layer's number, what it is in the layer.
_IN_A_LIST = re.compile(r"(.*?)\.(\d+)\.(.+)")
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class _Stack:
    """A network's list of layers of one kind.

    Attributes:
        place: Path of the list.
        count: How many layers there are.
        shapes: Of what each of them holds.
    """

    place: str
    count: int
    shapes: dict[str, tuple[int, ...]]


def first_weights(
    student: nn.Module,
    spec: InitSpec,
    *,
    teachers: Sequence[nn.Module | Teacher],
    name: str = "student",
    quiet: bool = False,
) -> None:
    """Let a student begin as its first teacher, or a file, with fewer layers.

    DistilBERT takes "one layer out of two" (Sanh et al. 2019, arXiv:1910.01108, section 3). What is learned on top of
    it must be as wide: a narrower student learns features through a projection instead.

    Args:
        student: Changed in place, only where all that was asked for fits.
        spec: Which layers.
        teachers: The first one is loaded where the spec names no file.
        name: For messages.
        quiet: Say nothing: it is a rehearsal.

    Raises:
        ConfigError: Layers that there are not, or no teacher to take them from.
        ModelError: A network without a list of layers, or layers of other shapes.
    """
    if spec.weights is not None:
        source, origin = registry.load("teachers", "torch").read_state(spec.weights), str(spec.weights)
    elif teachers:
        source, origin = _state_of(teachers[0], name), "the teacher"
    else:
        raise ConfigError(
            "no teacher to take layers from", where=f"{name}: init", next_step='add [[teachers]], or weights = "file"'
        )
    state = student.state_dict()
    own, other = _stack_of(state, name), _stack_of(source, origin)
    if differing := [key for key in own.shapes | other.shapes if own.shapes.get(key) != other.shapes.get(key)]:
        key = differing[0]
        raise ModelError(
            f"a layer's '{key}' is {own.shapes.get(key, 'missing')} in the student, "
            f"{other.shapes.get(key, 'missing')} in {origin}",
            where=f"{name}: init",
            allowed="layers of one kind and width",
            next_step="give the student the teacher's widths, or leave init out and let it learn features by losses "
            "that project: 'hint' or 'cosine'",
        )
    chosen = _choose(spec, own, other, name, origin)
    taken = {
        f"{own.place}.{number}.{key}": source[f"{other.place}.{each}.{key}"]
        for number, each in enumerate(chosen)
        for key in own.shapes
    }
    beside, left = _beside(state, source, own, other) if spec.others else ({}, [])
    student.load_state_dict({**state, **taken, **beside})
    if quiet:
        return
    _log.info("%s: begins with layers %s of %s", name, ", ".join(map(str, chosen)), origin)
    if left:
        more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
        _log.warning("%s: not in %s, or of another shape: %s%s", name, origin, ", ".join(left[:_SHOWN]), more)


def _state_of(teacher: nn.Module | Teacher, name: str) -> State:
    network = teacher.load() if isinstance(teacher, Teacher) else teacher
    if isinstance(network, StoredLogits):
        raise ConfigError("stored logits have no layers", where=f"{name}: init", next_step="leave it out")
    # The one inside what adapts inputs and outputs.
    state: State = getattr(network, "teacher", network).state_dict()
    return {key: value.detach().cpu() for key, value in state.items()}


def _stack_of(state: State, where: str) -> _Stack:
    """Find the list of equal layers that holds most of a network."""
    lists: dict[str, dict[int, dict[str, tuple[int, ...]]]] = {}
    for key, value in state.items():
        if match := _IN_A_LIST.fullmatch(key):
            place, number, inside = match[1], int(match[2]), match[3]
            lists.setdefault(place, {}).setdefault(number, {})[inside] = tuple(value.shape)
    stacks = [
        _Stack(place=place, count=len(layers), shapes=layers[0])
        for place, layers in lists.items()
        if sorted(layers) == list(range(len(layers))) and all(each == layers[0] for each in layers.values())
    ]
    if not stacks:
        raise ModelError(
            "has no list of equal layers",
            where=where,
            next_step="leave init out: it is for transformers and their like",
        )
    return max(stacks, key=lambda each: each.count * sum(torch.Size(shape).numel() for shape in each.shapes.values()))


def _choose(spec: InitSpec, own: _Stack, other: _Stack, name: str, origin: str) -> tuple[int, ...]:
    if not spec.layers:
        if own.count > other.count:
            raise ConfigError(
                f"the student has {own.count} layers, {origin} {other.count}", where=f"{name}: init", allowed="no more"
            )
        return tuple(number * other.count // own.count for number in range(own.count))
    if len(spec.layers) != own.count or max(spec.layers) >= other.count:
        raise ConfigError(
            f"layers {', '.join(map(str, spec.layers))}",
            where=f"{name}: init.layers",
            allowed=f"{own.count} numbers, one for each layer of the student, from 0 to {other.count - 1}",
        )
    return spec.layers


def _beside(state: State, source: State, own: _Stack, other: _Stack) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Take over what lies beside the layers under the same name and has the same shape; say what is left."""
    # Wrappers around either network are no part of its names.
    here, there = own.place.split("."), other.place.split(".")
    while here and there and here[-1] == there[-1]:
        here.pop()
        there.pop()
    begin, other_begin = ("".join(f"{part}." for part in parts) for parts in (here, there))
    taken, left = {}, []
    for key, value in state.items():
        if key.startswith(f"{own.place}."):
            continue
        found = source.get(f"{other_begin}{key.removeprefix(begin)}" if key.startswith(begin) else key)
        if found is not None and found.shape == value.shape:
            taken[key] = found
        else:
            left.append(key)
    return taken, left
