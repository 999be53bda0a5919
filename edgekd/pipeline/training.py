"""The steps that train: teachers, the assistants between them and the student, and the student itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgekd import registry, store
from edgekd.errors import StoreError
from edgekd.metrics import better
from edgekd.pipeline.folder import QUANTIZED, TOKENIZER
from edgekd.pipeline.rounding import keep_rounded
from edgekd.pipeline.workspace import Workspace, undated, write, write_models
from edgekd.records import (
    AssistantSpec,
    DistillSpec,
    EpochRecord,
    ExportSpec,
    Measurement,
    Model,
    NetworkSpec,
    Recipe,
    Role,
    TeacherSpec,
    Teaching,
)
from edgekd.store import hash_of_path

if TYPE_CHECKING:
    from torch import nn

    from edgekd.stages.distill import Distilled, QuantizationTrained

_log = logging.getLogger("edgekd")


def teach(space: Workspace, folder: Path) -> list[Path]:
    """Load or train every teacher."""
    from edgekd.stages.distill import AdaptedTeacher, describe_weights, distill, save_weights

    models, histories = [], {}
    if space.data.tokens is not None:
        _check_tokens(space.recipe.export, space.data.input_shape[0])
    if space.recipe.teachers:
        _rehearse(space)
    for index, spec in enumerate(space.recipe.teachers):
        name = f"teacher-{index}"
        if spec.source != "torch":
            models.append(_describe_other(space, spec, name))
            continue
        network = space.untrained_teacher(spec)
        if spec.weights:
            network = registry.function("teachers", "torch")(network=network, weights=spec.weights)
        if spec.train:
            network.requires_grad_(requires_grad=True)
            trained = distill(
                AdaptedTeacher(network, spec, space.data, name) if AdaptedTeacher.is_needed(spec) else network,
                data=space.data,
                spec=spec.train,
                folder=folder / name,
                progress=space.progress,
                name=name,
            )
            histories[name] = trained.history
        save_weights(network, folder / f"{name}.safetensors")
        models.append(
            describe_weights(folder / f"{name}.safetensors", network, name=name, role="teacher", data=space.data)
        )
    return [
        *(model.path for model in models if model.format == "torch"),
        write_models(space, folder, models),
        write(folder / "histories.json", histories),
    ]


def _check_tokens(spec: ExportSpec, length: int) -> None:
    """Refuse what no network of tokens can have, before it is trained; the import takes a while."""
    from edgekd.stages.export import check_context, check_token_spec

    check_token_spec(spec)
    check_context(spec, length)


def _rehearse(space: Workspace) -> None:
    """Find what assistants and the student would stumble over, before teachers are trained."""
    from edgekd.stages.distill import rehearse

    recipe = space.recipe
    first = recipe.teachers[0]
    above = space.untrained_teacher(first) if first.source == "torch" else None
    for index, assistant in enumerate(recipe.assistants):
        network = space.network(NetworkSpec(model=assistant.model, options=assistant.options), 0)
        spec = _schedule_of(assistant, recipe)
        rehearse(network, data=space.data, teacher=above, transfer=space.transfer, spec=spec, name=f"assistant-{index}")
        above = network
    student = space.network(recipe.student, recipe.distill.seed)
    rehearse(student, data=space.data, teacher=above, transfer=space.transfer, spec=recipe.distill)


def assist(space: Workspace, folder: Path) -> list[Path]:
    """Distil every assistant from the teachers, or from the assistant before it."""
    from edgekd.stages.distill import describe_weights, distill, save_weights

    models: list[Model] = []
    histories: dict[str, tuple[EpochRecord, ...]] = {}
    teachings: dict[str, Teaching] = {}
    for index, spec in enumerate(space.recipe.assistants):
        name = f"assistant-{index}"
        schedule = _schedule_of(spec, space.recipe)
        network = space.network(NetworkSpec(model=spec.model, options=spec.options), schedule.seed)
        trained = distill(
            network,
            data=space.data,
            teachers=space.teachers_of(index),
            transfer=space.transfer,
            spec=schedule,
            folder=folder / name,
            progress=space.progress,
            name=name,
        )
        save_weights(network, folder / f"{name}.safetensors")
        models.append(
            describe_weights(folder / f"{name}.safetensors", network, name=name, role="assistant", data=space.data)
        )
        # The next one's teacher.
        write_models(space, folder, models)
        histories[name] = trained.history
        if trained.teaching:
            teachings[name] = trained.teaching
    return [
        *(model.path for model in models),
        write_models(space, folder, models),
        write(folder / "histories.json", histories),
        write(folder / "teachings.json", teachings),
    ]


def distil(space: Workspace, folder: Path) -> list[Path]:
    """Distil the student, once for each seed, with its control; the best on validation data ships, and learns on."""
    from edgekd.stages.distill import distill, learn_rounded, rehearse

    spec, data = space.recipe.distill, space.data
    if spec.quantization and not space.recipe.teachers:  # else it was rehearsed before they were trained
        rehearse(space.network(space.recipe.student, spec.seed), data=data, teacher=None, spec=spec)
    arms: list[_Arm] = []
    for seed in range(spec.seed, spec.seed + spec.seeds):
        suffix = f"-seed-{seed}" if spec.seeds > 1 else ""
        trained = distill(
            space.network(space.recipe.student, seed),
            data=data,
            teachers=space.teachers_of(len(space.recipe.assistants)),
            transfer=space.transfer,
            spec=replace(spec, seed=seed, quantization=None),
            folder=folder / f"seed-{seed}" if suffix else folder,
            progress=space.progress,
            name=f"student{suffix}",
        )
        arms.append(_Arm(trained, "repeat" if suffix else "student", f"student{suffix}", seed))
        if trained.control:
            arms.append(_Arm(trained.control, "control", f"control{suffix}", seed))
    students = [arm for arm in arms if arm.role != "control"]
    best = students[0]
    for arm in students[1:]:
        if better(arm.trained.history[0].metric, arm.trained.score, best.trained.score):
            best = arm
    quantized = None
    if spec.quantization:
        quantized = learn_rounded(
            best.trained.network,
            data=data,
            teachers=space.teachers_of(len(space.recipe.assistants)),
            transfer=space.transfer,
            spec=replace(spec, seed=best.seed),
            folder=folder / "quantized",
            progress=space.progress,
        )
    return _keep(space, folder, arms, best, quantized)


def replay(space: Workspace) -> list[tuple[str, float]]:
    """Ask teachers and assistants again about random samples of what their caches hold.

    Raises:
        StoreError: A cache is not finished.
    """
    from edgekd.stages.distill import replay_cache

    recipe = space.recipe
    schedules = [*(_schedule_of(spec, recipe) for spec in recipe.assistants), recipe.distill]
    return [
        replay_cache(teacher, data=space.data, transfer=space.transfer, spec=schedule)
        for level, schedule in enumerate(schedules)
        for teacher in space.teachers_of(level)
    ]


class _Arm:
    """One trained network of the distillation step, under its name and role."""

    def __init__(self, trained: Distilled, role: Role, name: str, seed: int) -> None:
        self.trained, self.role, self.name, self.seed = trained, role, name, seed


def _keep(
    space: Workspace, folder: Path, arms: Sequence[_Arm], best: _Arm, quantized: QuantizationTrained | None
) -> list[Path]:
    """Write all networks, and look at the test split: once, when all choices are made."""
    from edgekd.stages.distill import describe_weights, measure_network, save_weights

    data = space.data
    shipped = [*arms] if best.role == "student" else [*arms, _Arm(best.trained, "student", "student", best.seed)]
    models: list[Model] = []
    measured: list[Measurement] = []
    for teacher, model in space.measurable_teachers():
        measured += measure_network(teacher, data.test, data, model)
    for arm in shipped:
        network = arm.trained.network
        save_weights(network, folder / f"{arm.name}.safetensors")
        model = describe_weights(folder / f"{arm.name}.safetensors", network, name=arm.name, role=arm.role, data=data)
        models.append(model)
        measured += measure_network(network, data.test, data, model)
    histories: dict[str, tuple[EpochRecord, ...]] = {arm.name: arm.trained.history for arm in arms}
    files = [model.path for model in models]
    if quantized:
        histories[QUANTIZED] = quantized.history
        student = next(model for model in models if model.role == "student")
        made, described, found = keep_rounded(quantized, student=student, data=data, folder=folder)
        files, models, measured = [*files, *made], [*models, *described], [*measured, *found]
    teachings: dict[str, Teaching] = {"student": best.trained.teaching} if best.trained.teaching else {}
    if data.tokens is not None and data.tokens.tokenizer:
        # Weights mean nothing without it: another training that begins with them needs the same tokens.
        store.write_bytes(folder / TOKENIZER, data.tokens.tokenizer.encode())
        files = [*files, folder / TOKENIZER]
    return [
        *files,
        write_models(space, folder, models),
        write(folder / "histories.json", histories),
        write(folder / "teachings.json", teachings),
        write(folder / "measurements.json", undated(measured)),
    ]


def _describe_other(space: Workspace, spec: TeacherSpec, name: str) -> Model:
    """Load a teacher that is no network of ours, to know that it can be, and say what it is."""
    from edgekd.stages.distill.teachers import hash_of

    network: nn.Module = space.load_teacher(spec)
    size = sum(file.stat().st_size for file in _files_of(spec.weights)) if spec.weights else 0
    return Model(
        name=name,
        path=space.store.path / "teachers" / (spec.weights.name if spec.weights else str(spec.model)),
        format="other",
        precision="fp32",
        role="teacher",
        sha256=hash_of(network),
        size_bytes=size,
        parameters=sum(each.numel() for each in network.parameters()) or None,
        made_by=spec.source,
        input_scale=space.data.scale,
    )


def _files_of(path: Path) -> Iterator[Path]:
    yield from (file for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file())


# --- what these steps depend on ---------------------------------------------------------------------


def teach_parameters(space: Workspace) -> object:
    """All that teachers depend on."""
    teachers = space.recipe.teachers
    weights = [
        _hash_of_own(place, f"teachers.{number}.{key}")
        for number, spec in enumerate(teachers)
        for key, place in (("weights", spec.weights), ("tokenizer", spec.tokenizer))
    ]
    plug_ins = [("networks", spec.model) for spec in teachers if spec.source == "torch" and spec.model]
    plug_ins += [("teachers", spec.source) for spec in teachers]
    plug_ins += [each for spec in teachers for each in _plug_ins(spec.train)]
    # What is in the files counts, not where they lie; nor how much a teacher counts later.
    specs = [
        replace(spec, weights=None, tokenizer=None, weight=1.0, train=_what_counts(spec.train) if spec.train else None)
        for spec in teachers
    ]
    beginnings = [_beginning(spec.train) if spec.train else None for spec in teachers]
    return [space.data_fingerprint, specs, weights, beginnings, code_of(*plug_ins)]


def _hash_of_own(place: Path | None, key: str) -> str | None:
    """Hash a file or folder of the user's."""
    try:
        return hash_of_path(place) if place else None
    except StoreError as error:
        step = f"give its place with --set {key}=..., or put its folder into the variable EDGEKD_DATA"
        raise StoreError(error.what, where=error.where, next_step=step) from None


def assist_parameters(space: Workspace) -> object:
    """All that assistants depend on, but for the teachers' files."""
    recipe = space.recipe
    if not recipe.assistants:
        return None
    plug_ins = [("networks", spec.model) for spec in recipe.assistants]
    plug_ins += [each for spec in recipe.assistants for each in _plug_ins(spec.train or recipe.distill)]
    schedules = [
        (_what_counts(schedule), _beginning(schedule))
        for schedule in (_schedule_of(spec, recipe) for spec in recipe.assistants)
    ]
    networks = [(spec.model, spec.options) for spec in recipe.assistants]
    return [space.data_fingerprint, space.transfer_fingerprint, networks, schedules, _shares(space), code_of(*plug_ins)]


def distil_parameters(space: Workspace) -> object:
    """All that the student depends on, but for the teachers' files."""
    recipe = space.recipe
    models = [recipe.student.model, *(spec.model for spec in recipe.teachers if spec.source == "torch" and spec.model)]
    plug_ins = [*(("networks", model) for model in models), *_plug_ins(recipe.distill)]
    return [
        space.data_fingerprint,
        space.transfer_fingerprint,
        recipe.student,
        _what_counts(recipe.distill),
        _shares(space),
        code_of(*plug_ins),
        # Others learn nothing of it.
        store.code_fingerprint("simulation") if recipe.distill.quantization else None,
        _beginning(recipe.distill),
    ]


def code_of(*plug_ins: tuple[str, str]) -> list[str]:
    """Hash the sources of plug-ins, the user's own included."""
    return [store.sha256_of(registry.describe(kind, name).file) for kind, name in plug_ins]


def _schedule_of(spec: AssistantSpec, recipe: Recipe) -> DistillSpec:
    return spec.train or replace(recipe.distill, control=False, seeds=1, quantization=None)


def _what_counts(spec: DistillSpec) -> DistillSpec:
    """A schedule without what changes nothing in its result."""
    init = replace(spec.init, weights=None) if spec.init else None
    return replace(spec, cache_folder=None, trackers=(), init=init)


def _beginning(spec: DistillSpec) -> str | None:
    """Hash the file that a training begins with; not where it lies."""
    return hash_of_path(spec.init.weights) if spec.init and spec.init.weights else None


def _shares(space: Workspace) -> list[float]:
    return [spec.weight for spec in space.recipe.teachers]


def _plug_ins(spec: DistillSpec | None) -> list[tuple[str, str]]:
    terms = [("losses", term.name) for term in spec.losses] if spec else []
    return terms + [("augmentations", term.name) for term in (spec.augmentations if spec else ())]
