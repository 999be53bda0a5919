"""Trains a student from teachers, or a teacher from labels."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgekd.datasets import Dataset, Split
from edgekd.errors import StoreError
from edgekd.frameworks.writing import generate
from edgekd.metrics import better
from edgekd.progress import Progress, Silent
from edgekd.records import DistillSpec, EpochRecord, LossTerm, Task, Teaching
from edgekd.stages.distill.caching import kept_of, open_cache, replay
from edgekd.stages.distill.classroom import Classroom
from edgekd.stages.distill.fit import Lesson, fit
from edgekd.stages.distill.generating import written_for_all
from edgekd.stages.distill.initialising import first_weights
from edgekd.stages.distill.other_tokens import OtherTokens, check_other_tokens
from edgekd.stages.distill.outcome import describe_weights, measure_network, save_weights, serialise_weights
from edgekd.stages.distill.preflight import check_data, check_network, check_spec, check_student
from edgekd.stages.distill.processes import find_processes
from edgekd.stages.distill.quantizing import QuantizationTrained, Rehearsal
from edgekd.stages.distill.teachers import Teacher, check_shares, name_all, on_device
from edgekd.stages.distill.teaching import AdaptedTeacher, LiveTeachers
from edgekd.stages.distill.terms import Objective, Term, load_terms
from edgekd.stages.distill.views import Views, channels_last, default_device

__all__ = [
    "AdaptedTeacher",
    "Distilled",
    "OtherTokens",
    "QuantizationTrained",
    "Teacher",
    "describe_weights",
    "distill",
    "generate",
    "learn_rounded",
    "measure_network",
    "on_device",
    "rehearse",
    "replay_cache",
    "save_weights",
    "serialise_weights",
]

_log = logging.getLogger("edgekd")
_HINTON = (LossTerm(name="kl", weight=0.9, options={"temperature": 4.0}), LossTerm(name="cross_entropy", weight=0.1))
# What is learned when a spec names no losses: from labels alone, and from teachers too.
_FROM_LABELS: dict[Task, LossTerm] = {
    "single_label": LossTerm(name="cross_entropy"),
    "multi_label": LossTerm(name="binary_cross_entropy"),
    "regression": LossTerm(name="squared_error"),
    "reconstruction": LossTerm(name="squared_error"),
    "next_token": LossTerm(name="cross_entropy"),
    "masked_token": LossTerm(name="cross_entropy"),
}
# Over thousands of tokens a teacher's own temperature tells enough apart.
_OF_TOKENS = (LossTerm(name="kl", weight=0.9, options={"temperature": 1.0}), LossTerm(name="cross_entropy", weight=0.1))
_FROM_TEACHERS: dict[Task, tuple[LossTerm, ...]] = {
    "single_label": _HINTON,
    "multi_label": (
        LossTerm(name="binary_kl", weight=0.9, options={"temperature": 2.0}),
        LossTerm(name="binary_cross_entropy", weight=0.1),
    ),
    "regression": (LossTerm(name="mse", weight=0.5), LossTerm(name="squared_error", weight=0.5)),
    "reconstruction": (LossTerm(name="mse", weight=0.5), LossTerm(name="squared_error", weight=0.5)),
    "next_token": _OF_TOKENS,
    "masked_token": _OF_TOKENS,
}


@dataclass(frozen=True, kw_only=True)
class Distilled:
    """A trained network and how its training went.

    Attributes:
        network: With the weights of its best epoch, in eval mode.
        teaching: What the teachers were worth; `None` without teachers.
        control: The same network trained without teachers, where the spec asks for it.
        quantized: What learning on with rounding gave, where the spec asks for it.
    """

    network: nn.Module
    history: tuple[EpochRecord, ...]
    teaching: Teaching | None = None
    control: Distilled | None = None
    quantized: QuantizationTrained | None = None

    @property
    def score(self) -> float:
        """The validation score of the weights that were kept."""
        best = self.history[0]
        for record in self.history[1:]:
            if better(record.metric, record.validation_score, best.validation_score):
                best = record
        return best.validation_score


def distill(
    student: nn.Module,
    *,
    data: Dataset,
    teachers: Sequence[nn.Module | Teacher] = (),
    teacher_weights: Sequence[float] | None = None,
    transfer: Split | None = None,
    spec: DistillSpec | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
    name: str = "student",
) -> Distilled:
    """Train a network, from teachers where there are any.

    Without losses in the spec: Hinton's (0.9 soft at T = 4, 0.1 hard) with teachers, cross-entropy without; for other
    tasks what corresponds. Teachers are asked once for every view of every sample where the losses need no more than
    their outputs, one teacher after another, and their answers are kept for later runs.

    Args:
        student: Takes (B, *data.input_shape) float32, gives (B, data.outputs); trained in place.
        data: Its training split is learned, its validation split chooses the epoch.
        teachers: Networks with the same inputs and outputs, or teachers that are loaded when they are needed.
        teacher_weights: Share of each network; equal by default.
        transfer: Learned from in place of the training split.
        spec: Schedule and losses.
        folder: Keeps a checkpoint, so that a killed run goes on and ends with the same bytes.
        progress: Hears of batches.
        name: For messages and progress.

    Returns:
        The student with the weights of its best epoch.

    Raises:
        ConfigError: The spec, or the teachers' weights, can't be meant.
        DataError: The network does not take the data's shape.
        ModelError: A teacher has other classes than the data or knows nothing, or the student has nothing to train.
        StoreError: A cache is damaged or of something else.
        TrainingError: The loss is not a number.
        ExportError: The spec asks for quantization, and the student can't be traced.
    """
    spec = spec or DistillSpec()
    given: dict[str, Any] = {
        "data": data,
        "teachers": teachers,
        "teacher_weights": teacher_weights,
        "transfer": transfer,
        "progress": progress,
    }
    if spec.init:
        first_weights(student, spec.init, teachers=teachers, name=name)
        spec = replace(spec, init=None)
    if spec.quantization:
        # What it would stumble over is found before hours of training, not after.
        terms = _check(student, data, transfer, spec, has_teachers=bool(teachers), name=name)
        check_network(student.to(default_device()), data, name, default_device())
        Rehearsal(student, data, spec, terms, name)
    trained = _learn(student, **given, spec=replace(spec, quantization=None), folder=folder, name=name)
    if spec.quantization:
        place = folder / "quantized" if folder else None
        quantized = learn_rounded(student, **given, spec=spec, folder=place, name=f"{name}-quantized")
        trained = replace(trained, quantized=quantized)
    return trained


def learn_rounded(
    student: nn.Module,
    *,
    data: Dataset,
    teachers: Sequence[nn.Module | Teacher] = (),
    teacher_weights: Sequence[float] | None = None,
    transfer: Split | None = None,
    spec: DistillSpec,
    folder: Path | None = None,
    progress: Progress | None = None,
    name: str = "student-quantized",
) -> QuantizationTrained:
    """Let a trained student learn on from the same teachers, with the rounding of the file that it becomes.

    Args:
        student: Trained; stays as it is.
        data: As for `distill`.
        teachers: As for `distill`; their caches are read again.
        teacher_weights: As for `distill`.
        transfer: As for `distill`.
        spec: The student's, with `quantization`.
        folder: Keeps a checkpoint of its own.
        progress: Hears of batches.
        name: For messages and progress.

    Returns:
        The rounded student where it scores no worse on validation data than by calibration alone, and both scores.

    Raises:
        EdgekdError: As `distill`.
    """
    terms = _check(student, data, transfer, spec, has_teachers=bool(teachers), name=name)
    rehearsal = Rehearsal(student, data, spec, terms, name)
    learned = _learn(
        rehearsal.network,
        data=data,
        teachers=teachers,
        teacher_weights=teacher_weights,
        transfer=transfer,
        spec=replace(rehearsal.spec, init=None),
        folder=folder,
        progress=progress,
        name=name,
    )
    return rehearsal.judge(learned.history)


def _learn(
    student: nn.Module,
    *,
    data: Dataset,
    teachers: Sequence[nn.Module | Teacher],
    teacher_weights: Sequence[float] | None,
    transfer: Split | None,
    spec: DistillSpec,
    folder: Path | None,
    progress: Progress | None,
    name: str,
) -> Distilled:
    """Train a network, or one with rounding in it, in place."""
    live = [each for each in teachers if isinstance(each, nn.Module)]
    check_shares([1.0] * len(teachers) if teacher_weights is None else teacher_weights, len(teachers), name)
    check_student(student, live, name)
    terms = _check(student, data, transfer, spec, has_teachers=bool(teachers), name=name)
    processes = find_processes(spec, name=name, folder=str(folder) if folder else None)
    device = processes.device
    for network, role in [(student, name), *((each, "teacher") for each in live)]:
        check_network(network.to(device), data, role, device)
    named = name_all(teachers, teacher_weights, data)
    if any(each.other_tokens for each in named):
        check_other_tokens(len(named), terms, spec, name)
    given = (spec.generation, data, folder, progress or Silent(), processes)
    written = written_for_all(named[0], *given) if named else None
    learned = written or transfer or data.train
    views = Views(learned, data, spec.augmentations, spec.augmentation_seed, device)
    used = named if any(term.needs_teacher for term in terms) else []
    classroom = Classroom(used, terms, views, data, spec, progress or Silent(), device)
    # Before layers are watched: the control must not be.
    untaught = copy.deepcopy(student) if spec.control and (used or written) else None
    # The very network that is asked: another copy of it would see no batches.
    asked = classroom.teachers.networks if isinstance(classroom.teachers, LiveTeachers) else ()
    watched = asked[0] if asked and any(term.needs_features for term in terms) else None
    channels_last(student)
    # Wrappers may spread a network over processes; the user's own stays whole.
    trained = copy.deepcopy(student) if processes.count > 1 else student
    objective = _objective(terms, trained, watched, views, spec, name)
    try:
        control = _train_control(untaught, data, transfer, spec, terms, folder, progress, name) if untaught else None
        if control and used:
            classroom.compare(control.score)
        best, history = fit(
            Lesson(
                network=trained,
                data=data,
                views=views,
                spec=spec,
                objective=objective,
                teachers=classroom.teachers,
                teaching=classroom.fingerprint,
                cycle=classroom.cycle,
                name=name,
                processes=processes,
            ),
            folder=folder,
            progress=progress,
        )
    finally:
        objective.release()
    student.load_state_dict(best)
    return Distilled(network=student.eval().cpu(), history=history, teaching=classroom.teaching, control=control)


def rehearse(
    student: nn.Module,
    *,
    data: Dataset,
    teacher: nn.Module | None,
    transfer: Split | None = None,
    spec: DistillSpec,
    name: str = "student",
) -> None:
    """Find what a distillation would stumble over, before its teachers are trained for hours.

    Args:
        student: Untrained; left as it is.
        data: As for `distill`.
        teacher: Of the first teacher's architecture, trained or not; `None` where that is not known yet.
        transfer: As for `distill`.
        spec: As for `distill`.
        name: For messages.

    Raises:
        EdgekdError: As `distill`, but for what only trained teachers can show.
    """
    student = copy.deepcopy(student)
    terms = _check(student, data, transfer, spec, has_teachers=True, name=name)
    device = default_device()
    check_network(student.to(device), data, name, device)
    views = Views(transfer or data.train, data, spec.augmentations, spec.augmentation_seed, device)
    needs_features = any(term.needs_features for term in terms)
    if spec.init and (teacher is not None or spec.init.weights is not None):
        first_weights(student, spec.init, teachers=[teacher] if teacher is not None else [], name=name, quiet=True)
    if spec.quantization:
        Rehearsal(student, data, spec, terms, name)
    if spec.cache != "off" and not needs_features:
        kept_of(views, spec, data.outputs)
    if teacher is not None and needs_features:
        _objective(terms, student, copy.deepcopy(teacher).to(device), views, spec, name).release()


def _check(
    student: nn.Module, data: Dataset, transfer: Split | None, spec: DistillSpec, *, has_teachers: bool, name: str
) -> list[Term]:
    """Check what costs nothing to check, and give the terms of the loss."""
    check_student(student, (), name)
    terms = load_terms(spec.losses or (_FROM_TEACHERS[data.task] if has_teachers else (_FROM_LABELS[data.task],)))
    if not spec.losses and has_teachers and transfer is not None and data.task == "single_label":
        # Nothing is learned of labels that are not there, and nobody asked for it.
        terms = terms if (transfer.labels >= 0).any() else [term for term in terms if term.needs_teacher]
    check_spec(spec, terms, data, has_teachers=has_teachers, name=name)
    check_data(data, transfer or data.train)
    return terms


def _objective(
    terms: Sequence[Term], student: nn.Module, teacher: nn.Module | None, views: Views, spec: DistillSpec, name: str
) -> Objective:
    with torch.random.fork_rng():
        torch.manual_seed(spec.seed)  # projectors
        return Objective(
            terms,
            student=student,
            teacher=teacher,
            sample=views.batch(torch.arange(min(2, len(views)), device=views.device), 0).inputs,
            samples=len(views),
            pad=views.data.tokens.pad if views.data.tokens else None,
            where=name,
        )


def replay_cache(teacher: Teacher, *, data: Dataset, transfer: Split | None, spec: DistillSpec) -> tuple[str, float]:
    """Ask a teacher again about random samples of what its cache holds.

    Returns:
        The cache's name, and the largest difference between a logit that was kept and the one computed now.

    Raises:
        StoreError: The cache is not there, or not finished.
    """
    views = Views(transfer or data.train, data, spec.augmentations, spec.augmentation_seed, default_device())
    cache = open_cache(teacher, views, spec)
    if not cache.is_complete:
        raise StoreError(
            "this cache is not finished", where=str(cache.folder), next_step="run the recipe: it goes on where it was"
        )
    cache.check()
    return cache.folder.name, replay(cache, teacher.load(), views, draws=spec.cache_draws)


def _train_control(
    student: nn.Module,
    data: Dataset,
    transfer: Split | None,
    spec: DistillSpec,
    terms: Sequence[Term],
    folder: Path | None,
    progress: Progress | None,
    name: str,
) -> Distilled:
    """Train the same first weights by the same schedule, without teachers."""
    alone = tuple(replace(term.spec, weight=1.0) for term in terms if not term.needs_teacher)
    # What has no labels teaches nothing without a teacher.
    has_labels = transfer is not None and data.task == "single_label" and bool((transfer.labels >= 0).any())
    return distill(
        student,
        data=data,
        transfer=transfer if has_labels else None,
        spec=replace(spec, losses=alone, control=False, cache="off", generation=None),
        folder=folder / "control" if folder else None,
        progress=progress,
        name=f"{name.replace('student', 'control')}" if "student" in name else f"{name} control",
    )
