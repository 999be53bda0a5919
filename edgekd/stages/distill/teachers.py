"""Teachers as the distillation meets them: with a name and a share, loaded when they are needed, judged before."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import nn

from edgekd.datasets import Dataset
from edgekd.errors import ConfigError, ModelError
from edgekd.metrics import better
from edgekd.records import TOKEN_TASKS, DistillSpec, TeacherSpec
from edgekd.stages.distill.other_tokens import OtherTokens
from edgekd.stages.distill.validation import batches_of_tokens, predict, primary_metric, scores_of
from edgekd.stages.distill.views import channels_last, default_device, ready, share
from edgekd.teachers import StoredLogits

_log = logging.getLogger("edgekd")
_PROBED = 1000
_BATCH = 500
# How much better a teacher must be under another assumption for that to be what is wrong.
_CLEARLY = 0.2
# Fewer samples of a class than this say nothing of its place.
_LEAST_OF_A_CLASS = 5


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A teacher.

    Attributes:
        fingerprint: Hash of what decides its outputs.
        outputs: How many numbers it gives for a sample.
        weight: Its share among several.
        load: Gives the network, frozen, in evaluation mode and on the training's device.
        spec: What is done to its inputs and outputs already, so that advice goes on from there.
        other_tokens: Whether it cuts texts into others than the data.
    """

    name: str
    fingerprint: str
    outputs: int
    weight: float
    load: Callable[[], nn.Module]
    spec: TeacherSpec = field(default_factory=TeacherSpec)
    other_tokens: bool = False


def teacher_of(network: nn.Module, *, name: str, weight: float, outputs: int) -> Teacher:
    """Make a teacher of a live network."""
    return Teacher(
        name=name,
        fingerprint=hash_of(network),
        outputs=outputs,
        weight=weight,
        load=lambda: on_device(network),
        other_tokens=isinstance(network, OtherTokens),
    )


def name_all(teachers: Sequence[nn.Module | Teacher], weights: Sequence[float] | None, data: Dataset) -> list[Teacher]:
    """Give every teacher a name and a share."""
    found = []
    for index, each in enumerate(teachers):
        share = 1.0 if weights is None else weights[index]
        if isinstance(each, Teacher):
            found.append(each if weights is None else replace(each, weight=share))
        else:
            found.append(teacher_of(each, name=f"teacher-{index}", weight=share, outputs=data.outputs))
    return found


def on_device(network: nn.Module) -> nn.Module:
    """Freeze a teacher and bring it to where training computes, in the layout that is fastest there."""
    network.eval().requires_grad_(requires_grad=False).to(default_device())
    return channels_last(network)


def hash_of(network: nn.Module) -> str:
    """Hash a network's weights and structure, or what it says of itself where its weights are not torch's."""
    digest = hashlib.sha256(repr(network).encode())
    for key, value in network.state_dict().items():
        digest.update(key.encode() + value.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    for module in network.modules():
        own = getattr(module, "fingerprint", None)
        if callable(own):
            digest.update(str(own()).encode())
    return digest.hexdigest()


def outputs_on_validation(teacher: nn.Module, data: Dataset, device: torch.device) -> NDArray[np.float32]:
    """Ask a teacher about the validation split.

    Returns:
        (N, outputs) float32; where tokens are predicted (N, 2), nats and tokens of each sample.
    """
    split = data.validation
    if data.task in TOKEN_TASKS:
        return predict(teacher, split, data, device).float().cpu().numpy()
    found = []
    with torch.inference_mode():
        for rows in torch.arange(len(split)).split(_BATCH):  # type: ignore[no-untyped-call]  # torch's stubs
            if isinstance(teacher, StoredLogits):
                positions = split.positions if split.positions is not None else np.arange(len(split))
                outputs = teacher(share(positions)[rows], 0)
            else:
                outputs = teacher(ready(share(split.inputs)[rows].to(device), data.scale))
            found.append(outputs.float().cpu().numpy())
    return np.concatenate(found)


def judge(
    outputs: NDArray[np.float32],
    teacher: Teacher,
    data: Dataset,
    spec: DistillSpec,
    device: torch.device,
    *,
    is_new: bool = True,
) -> float:
    """Judge a teacher by what it says of the validation split.

    Args:
        outputs: (N, outputs) of the validation split.
        teacher: Loaded only to find out what is wrong.
        data: The validation split's labels.
        spec: Whether a bad one stops the run.
        device: Where to try out what may be wrong.
        is_new: Also try inputs of another range on one that knows more than chance; it was not judged before.

    Returns:
        Its score in the task's primary metric.

    Raises:
        ModelError: It knows no more than chance, or much less than it would with classes in another order or inputs
            of another range; with the likely cause where one is found.
    """
    if not np.isfinite(outputs).all():
        raise ModelError("the teacher's outputs are not finite", where=teacher.name, next_step="check its weights")
    metric = primary_metric(data)
    score = scores_of(torch.from_numpy(outputs), data.validation, data)[0].value
    if data.task != "single_label":
        blind = _blind_score(data)
        if not better(metric, score, blind):
            refuse(
                spec,
                f"the teacher's {metric} on the validation data is {score:.4g}; saying the same of every sample "
                f"gives {blind:.4g}",
                teacher.name,
                "check its weights, and that the data has its tokenizer"
                if data.task in TOKEN_TASKS
                else "check its weights, and the range and layout of its inputs and outputs",
            )
        return score
    labels = data.validation.labels
    chance = float(np.bincount(labels[labels >= 0], minlength=len(data.classes)).max() / len(labels))
    # Three standard deviations above what the most frequent class gives.
    needed = min(0.98, chance + 3 * np.sqrt(chance * (1 - chance) / len(labels)))
    if len(data.classes) < 2:
        return score
    if score < needed:
        cause = _likely_cause(outputs, teacher, data, device, better_than=max(needed, score + _CLEARLY))
        refuse(
            spec,
            f"the teacher is right on {score * 100:.1f} % of the validation data, which chance would be too "
            f"(the most frequent class: {chance * 100:.1f} %)",
            teacher.name,
            cause or "check its weights, the order of its classes, and the range and layout of its inputs",
        )
    else:
        cause = _swapped(outputs, teacher, data)
        if cause is None and is_new and score + _CLEARLY < 1:
            cause = _likely_cause(outputs, teacher, data, device, better_than=score + _CLEARLY)
        if cause:
            what = f"the teacher is right on {score * 100:.1f} % of the validation data, and could be on clearly more"
            refuse(spec, what, teacher.name, cause)
    return score


def _blind_score(data: Dataset) -> float:
    """Score who says the same of every sample: the mean, or the labels that are most frequent."""
    split = data.validation
    if primary_metric(data) == "auc":
        return 0.5
    if data.task in TOKEN_TASKS:
        # Every token as often as it comes: nothing is lower that does not look at the text.
        labels = torch.cat([each[1].flatten() for each in batches_of_tokens(split, data, torch.device("cpu"))])
        shares = torch.bincount(labels[labels >= 0], minlength=data.outputs).double() / int((labels >= 0).sum())
        return float(torch.exp(-torch.xlogy(shares, shares).sum()))
    if data.task == "reconstruction":
        same = data.ready(split).reshape(len(split), -1).mean(0)
    elif data.task == "regression":
        same = split.labels.mean(0)
    else:
        frequency = split.labels.mean(0)
        usual = max(1, round(float(frequency.sum())))
        same = np.where(np.argsort(np.argsort(-frequency)) < usual, 1.0, -1.0)
    outputs = np.tile(np.asarray(same, np.float32), (len(split), 1))
    return scores_of(torch.from_numpy(outputs), split, data)[0].value


def refuse(spec: DistillSpec, what: str, name: str, next_step: str) -> None:
    """Stop because of a bad teacher, or only warn where the spec says so.

    Raises:
        ModelError: The spec does not want such teachers.
    """
    if spec.weak_teachers == "refuse":
        raise ModelError(what, where=name, next_step=f'{next_step}; weak_teachers = "warn" distils all the same')
    _log.warning("%s: %s", name, what)


def _likely_cause(
    outputs: NDArray[np.float32], teacher: Teacher, data: Dataset, device: torch.device, *, better_than: float
) -> str | None:
    """Try the mistakes that people make: classes in another order, inputs of another range."""
    labels, count = data.validation.labels, len(data.classes)
    confusion = _confusion(outputs, data)
    rows, columns = linear_sum_assignment(-confusion)
    # Better than chance too: where one class is frequent, chance alone is right often.
    if confusion[rows, columns].sum() > max(0.6, better_than) * len(labels):
        return _order(teacher, data, columns.tolist())
    if data.tokens is not None:
        return None  # other numbers would be other words
    good = max(0.3 + 1 / count, better_than)
    done, mean = teacher.spec.input_scale, teacher.spec.input_mean
    for scale in (1 / data.scale, 255.0, 1 / 255, 2.0):
        if _score_at(teacher, data, device, scale, 0.0) > good:
            return f"its inputs seem to be {scale:g} times as large: input_scale = {scale * done:.6g}"
    # With a mean of its own the teacher is given other numbers than these, and what to write is not known.
    if not any(mean) and _score_at(teacher, data, device, 2.0, 1.0) > good:
        return f"its inputs seem to go from -1 to 1: input_scale = {2 * done:g} and input_mean = [{done:g}]"
    return None


def _swapped(outputs: NDArray[np.float32], teacher: Teacher, data: Dataset) -> str | None:
    """Find classes that changed places: most samples of each are given to the next of them."""
    confusion = _confusion(outputs, data)
    rows, columns = linear_sum_assignment(-confusion)
    moved = rows != columns
    samples = confusion.sum(0)[columns[moved]]
    given = confusion[rows[moved], columns[moved]]
    if not moved.any() or samples.min() < _LEAST_OF_A_CLASS or (given <= samples / 2).any():
        return None
    return _order(teacher, data, columns.tolist())


def _confusion(outputs: NDArray[np.float32], data: Dataset) -> NDArray[np.float64]:
    """Count (what the teacher says, what is right)."""
    confusion = np.zeros((len(data.classes), len(data.classes)))
    np.add.at(confusion, (outputs.argmax(1), data.validation.labels), 1)
    return confusion


def _order(teacher: Teacher, data: Dataset, columns: Sequence[int]) -> str:
    """Say the teacher's own order, where output `k` of what it gives now means class `columns[k]`."""
    network = teacher.load()
    own = teacher.spec.classes or (network.names if isinstance(network, StoredLogits) else ())
    means = {name: data.classes[column] for name, column in zip(data.classes, columns, strict=True)}
    order = ", ".join(f'"{means.get(each, each)}"' for each in own or data.classes)
    return f"its classes seem to be in another order: classes = [{order}]"


def _score_at(teacher: Teacher, data: Dataset, device: torch.device, scale: float, mean: float) -> float:
    network = teacher.load()
    if isinstance(network, StoredLogits):
        return 0.0
    samples = ready(share(data.validation.inputs[:_PROBED]).to(device), data.scale) * scale - mean
    with torch.inference_mode():
        right = network(samples).argmax(1).cpu().numpy() == data.validation.labels[:_PROBED]
    return float(right.mean())


def check_shares(weights: Sequence[float], teachers: int, name: str) -> None:
    """Check that every teacher has a share.

    Raises:
        ConfigError: Another number of weights than of teachers, or one that is not above 0.
    """
    if len(weights) != teachers or not all(weight > 0 for weight in weights):
        raise ConfigError(
            f"{teachers} teachers with the weights {', '.join(f'{weight:g}' for weight in weights) or 'none'}",
            where=f"{name}: teacher_weights",
            allowed="one number above 0 for each teacher",
        )
