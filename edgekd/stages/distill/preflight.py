"""Checks that cost seconds before training that costs hours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from edgekd.datasets import Dataset, Split, check_labels
from edgekd.errors import ConfigError, DataError, EdgekdError, ModelError
from edgekd.records import TOKEN_TASKS, DistillSpec, Schedule
from edgekd.stages.distill.other_tokens import OtherTokens
from edgekd.stages.distill.terms import Term
from edgekd.teachers import StoredLogits

_SHARES = ("target", "others", "inter", "intra", "distance", "angle", "margin")
# What other kernels may change an output by, of the largest.
_ROUNDING = 1e-2
# Options of losses with a meaning that their types do not tell.
_LOSS_OPTIONS: tuple[tuple[str, Callable[[float], bool], str], ...] = (
    ("temperature", lambda value: value > 0, "above 0"),
    ("label_smoothing", lambda value: 0 <= value <= 1, "0 to 1"),
    ("power", lambda value: value >= 1, "1 or more"),
    ("momentum", lambda value: 0 <= value < 1, "0 to 1, 1 excluded"),
    ("negatives", lambda value: value >= 1, "1 or more"),
    *((name, lambda value: value >= 0, "0 or more") for name in _SHARES),
)


def check_data(data: Dataset, learned: Split) -> None:
    """Check the splits that training reads, which may be the user's own arrays.

    Raises:
        DataError: One is empty, has no label for each sample, or labels that the task can't have.
    """
    for name, split in (("training", learned), ("validation", data.validation)):
        where = f"{data.name}: {name} split"
        if not len(split):
            raise DataError("empty", where=where)
        if len(split.inputs) != len(split.labels):
            raise DataError(f"{len(split.inputs)} inputs but {len(split.labels)} labels", where=where)
        check_labels(split.labels, data.task, len(data.classes), where)
    if data.task == "single_label" and (data.validation.labels < 0).any():
        raise DataError("samples without labels", where=f"{data.name}: validation split", allowed="a label for each")


def check_network(network: nn.Module, data: Dataset, name: str, device: torch.device) -> None:
    """Send two samples through a network.

    Raises:
        DataError: It does not take the data's shape.
        ModelError: It has other outputs than the data has classes, or gives no finite numbers.
    """
    if isinstance(network, StoredLogits):
        return  # it takes no samples; what it holds was checked when it was read
    if data.task in TOKEN_TASKS and not all(callable(getattr(network, part, None)) for part in ("hidden", "head")):
        raise ModelError(
            f"{type(network).__name__} predicts no tokens",
            where=name,
            allowed="networks with hidden(inputs), (B, T, D), and head(hidden), (..., V), such as llama",
        )
    was_training = network.training
    sample = torch.from_numpy(data.ready(data.validation, 2)).to(device)
    try:
        with torch.inference_mode():
            logits = _look(network.eval(), sample, data)
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
        raise ModelError(f"the network gives {shape}", where=name, allowed="outputs of shape (batch, numbers)")
    if logits.shape[1] != (network.own.vocabulary if isinstance(network, OtherTokens) else data.outputs):
        kind = "outputs" if data.task == "reconstruction" else "tokens" if data.task in TOKEN_TASKS else "classes"
        raise ModelError(
            f"the network has {logits.shape[1]} {kind}, the data {data.outputs}",
            where=name,
            next_step="use weights or a network made for this data",
        )
    if not torch.isfinite(logits).all():
        raise ModelError(
            "the network's outputs are not finite", where=name, next_step="its weights hold NaN or do not fit"
        )


def _look(network: Any, sample: torch.Tensor, data: Dataset) -> Any:
    """Let a network take samples; of tokens some positions tell all, and the logits of all are many."""
    if data.task not in TOKEN_TASKS:
        return network(sample)
    return network.head(network.hidden(sample)[:, :2].flatten(0, 1))


def check_steady(teacher: nn.Module, data: Dataset, name: str, device: torch.device) -> None:
    """Check that a teacher says the same of a sample whenever it is asked, whatever else is in the batch.

    What `eval()` does not reach, such as a file that was exported in training mode, drops units by chance or
    normalises by the batch.

    Raises:
        ModelError: It does not.
    """
    if isinstance(teacher, StoredLogits):
        return
    samples = torch.from_numpy(data.ready(data.validation, 8)).to(device)
    few = max(1, len(samples) // 4)
    with torch.inference_mode():
        look = getattr(teacher, "hidden", teacher) if data.task in TOKEN_TASKS else teacher
        together, apart = look(samples).float()[:few], look(samples[:few]).float()
    largest = float((together - apart).abs().max())
    # Kernels for other batch sizes round otherwise.
    if largest > _ROUNDING * max(1.0, float(together.abs().max())):
        raise ModelError(
            f"the teacher's outputs for a sample change by {largest:.3g} with what else is in the batch, or by chance",
            where=name,
            next_step="it is in training mode: export or save it in evaluation mode",
        )


def check_stored(teacher: StoredLogits, *, views: int, positions: torch.Tensor, name: str) -> None:
    """Check that logits are stored of all that will be asked for.

    Args:
        teacher: The stored logits.
        views: How many augmented views the student sees.
        positions: (N,) int64, where the samples that it sees lie in their source.
        name: Of the teacher.

    Raises:
        ConfigError: Too few views.
        ModelError: Too few samples.
    """
    if teacher.views < views:
        raise ConfigError(
            f"logits of {teacher.views} views are stored, the student sees {views}",
            where=name,
            allowed=f"views = {teacher.views} at most; without augmentations 1 is enough",
            next_step="leave out the augmentations, or store the logits of every view",
        )
    last = int(positions.max())
    if last >= teacher.samples:
        raise ModelError(
            f"logits of {teacher.samples} samples are stored, the source has {last + 1} or more",
            where=name,
            next_step="store the logits of all of the source's training samples, in its order",
        )


def check_spec(spec: DistillSpec, terms: Sequence[Term], data: Dataset, *, has_teachers: bool, name: str) -> None:
    """Check what a schedule asks for.

    Raises:
        ConfigError: Every problem at once.
    """
    found = (
        *_check_bounds(spec),
        *_check_terms(terms, data, has_teachers=has_teachers),
        *_check_choices(spec, terms, data),
    )
    problems: list[EdgekdError] = [
        ConfigError(what, where=f"{name}: {key}", allowed=allowed) for key, what, allowed in found
    ]
    if problems:
        raise ConfigError.of(problems)


def _check_choices(spec: DistillSpec, terms: Sequence[Term], data: Dataset) -> Iterator[tuple[str, str, str]]:
    if data.tokens is not None and spec.augmentations:
        yield "augmentations", "tokens have no values to change or mix", "none"
    elif len(data.input_shape) != 3 and any(term.name != "mixup" for term in spec.augmentations):
        yield "augmentations", f"inputs of shape {data.input_shape} are no images", "mixup, or none"
    of_tokens = data.task in TOKEN_TASKS
    if spec.combine != "logits" and data.task != "single_label" and not of_tokens:
        yield "combine", f"'{spec.combine}' needs classes; the task is {data.task}", "logits"
    if spec.sampling == "balanced" and data.task != "single_label":
        yield "sampling", f"'balanced' needs classes; the task is {data.task}", "shuffled"
    if of_tokens and spec.compile:
        yield "compile", f"not for the task {data.task}", "false"
    if spec.quantization and (of_tokens or data.tokens is not None):
        yield "quantization", "not for networks of tokens, which are not simulated", "to leave it out: calibration does"
    yield from _check_generation(spec, terms, data)
    features = [term.spec.name for term in terms if term.needs_features]
    if features and spec.cache == "on":
        yield "cache", f"loss '{features[0]}' compares features, which a cache does not hold", '"off" or "auto"'
    if features and spec.compile:
        yield "compile", f"loss '{features[0]}' watches layers, which compiling fuses away", "false"
    if spec.accumulate > max(spec.batch_size, 1):
        yield "accumulate", f"{spec.accumulate} parts of {spec.batch_size} samples", f"at most {spec.batch_size}"


def _check_generation(spec: DistillSpec, terms: Sequence[Term], data: Dataset) -> Iterator[tuple[str, str, str]]:
    if spec.cache_draws:
        others = [each for each in terms if each.needs_teacher and not _is_plain_kl(each)]
        if data.task not in TOKEN_TASKS:
            yield "cache_draws", f"not for the task {data.task}", "false"
        if others:
            yield "cache_draws", f"loss '{others[0].spec.name}' needs all logits", "kl with temperature = 1"
    if spec.generation is None:
        return
    if data.task != "next_token":
        yield "generation", f"the task is {data.task}", "next_token"
        return
    if spec.generation.prompt >= data.input_shape[0]:
        limit = f"at most {data.input_shape[0] - 1}: samples have {data.input_shape[0]} tokens"
        yield "generation.prompt", f"{spec.generation.prompt}", limit
    if not spec.generation.prompt and (data.tokens is None or data.tokens.begin is None):
        yield "generation.prompt", "0, and the tokenizer has no token that begins a text", "1 or more"
    if spec.generation.on_policy and spec.cache == "on":
        yield "cache", "no cache holds what the student will write (generation.on_policy)", '"off" or "auto"'
    if spec.generation.on_policy and not any(term.needs_teacher for term in terms):
        yield "generation.on_policy", "nobody judges what the student writes", "0, or a loss with a teacher"


def _is_plain_kl(term: Term) -> bool:
    return term.spec.name == "kl" and term.spec.options.get("temperature") == 1


def _check_bounds(spec: DistillSpec) -> Iterator[tuple[str, str, str]]:
    """Hold a spec that was made in Python against the bounds that a recipe is held against."""
    try:
        TypeAdapter(DistillSpec).validate_python(asdict(spec))
    except ValidationError as error:
        for each in error.errors():
            message = each["msg"].removeprefix("Input should be ")
            yield ".".join(str(part) for part in each["loc"]), repr(each["input"]), message


_OF_ROWS = {
    "cross_entropy",
    "kl",
    "reverse_kl",
    "jensen_shannon",
    "skew_kl",
    "dkd",
    "logit_standardization",
    "uld",
    "mse",
}
# Losses that mean something for other tasks than single labels; the user's own may.
_LOSSES_OF = {
    "multi_label": {"binary_cross_entropy", "binary_kl", "mse"},
    "regression": {"squared_error", "mse", "bounded_regression"},
    "reconstruction": {"squared_error", "mse", "bounded_regression"},
    # Means over rows of logits, of which a chunk is seen at a time; what relates rows to each other is not.
    **dict.fromkeys(TOKEN_TASKS, _OF_ROWS),
}
_OF_LABELS = {"binary_cross_entropy", "binary_kl", "squared_error", "bounded_regression"}


def _check_terms(terms: Sequence[Term], data: Dataset, *, has_teachers: bool) -> Iterator[tuple[str, str, str]]:
    weights = [value for term in terms for value in _ends(term.spec.weight)]
    if min(weights, default=0) < 0 or sum(weights) <= 0:
        yield "losses", "their weights do not sum to more than 0", "weights of 0 or more, one above 0"
    for term in terms:
        name = term.spec.name
        if term.needs_teacher and ":" not in name and not has_teachers:
            yield "losses", f"loss '{name}' needs a teacher", "losses of labels, or add [[teachers]]"
        if ":" not in name and not term.needs_features:
            fits = name in _LOSSES_OF[data.task] if data.task in _LOSSES_OF else name not in _OF_LABELS
            if not fits:
                known = ", ".join(sorted(_LOSSES_OF.get(data.task, {"cross_entropy", "kl", "dkd", "dist"})))
                yield "losses", f"loss '{name}' is not for the task {data.task}", known
        for option, is_fit, allowed in _LOSS_OPTIONS:
            for value in _ends(term.spec.options.get(option, ())):
                if not is_fit(value):
                    yield f"losses.{option}", f"{value:g}", allowed


def _ends(value: object) -> tuple[float, ...]:
    """Give a number, or both ends of its schedule."""
    if isinstance(value, Schedule):
        return value.start, value.end
    return (float(value),) if isinstance(value, int | float) else ()


def check_student(student: nn.Module, teachers: Sequence[nn.Module], name: str) -> None:
    """Check that there is something to train, and that no teacher is trained with it.

    Raises:
        ModelError: All of the student is frozen, or a teacher shares parameters with it.
    """
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
