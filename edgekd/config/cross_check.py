"""Finds what is well-formed in each place of a recipe but does not fit together."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from edgekd import registry
from edgekd.calibrators import try_calibrator
from edgekd.config.regressions import regression_problems
from edgekd.config.targets import common_io, load_target
from edgekd.errors import ConfigError, EdgekdError, did_you_mean
from edgekd.quantizers import check_mixed, check_precision
from edgekd.records import (
    MIXED,
    PRECISIONS,
    Budget,
    DistillSpec,
    ExportSpec,
    LossTerm,
    PackageSpec,
    Recipe,
    Schedule,
    TeacherSpec,
    decode_precision,
)
from edgekd.stages.gate import gate
from edgekd.stages.package import formats_of
from edgekd.units import parse_size

# Measured once for a file, not on targets.
_OF_THE_FILE = {"file_size", "compressed_size", "zstd_size", "operators", "parity"}
_OF_THE_DATA = ("keras", "logits", "onnx", "tflite", "torch")
# Data of which language models learn.
_OF_RUNNING_TEXT = ("text_stream", "written_text")
_TRACKERS = ("tensorboard", "mlflow", "wandb")


def cross_check(recipe: Recipe, where: str) -> list[EdgekdError]:
    """Check a recipe's parts against each other.

    Args:
        recipe: Well-formed.
        where: File name for messages.

    Returns:
        Every problem found.
    """
    found = [
        *_check_teachers(recipe),
        *_check_trainings(recipe),
        *_check_names(recipe),
        *check_package(recipe.package, recipe.export.formats, "package"),
        *_check_budgets(recipe),
        *regression_problems(recipe.regressions or {}, "regressions"),
    ]
    return [
        ConfigError(error.what, where=f"{where}: {key}", allowed=error.allowed, next_step=error.next_step)
        for key, error in found
    ]


def _check_teachers(recipe: Recipe) -> Iterator[tuple[str, EdgekdError]]:
    for index, teacher in enumerate(recipe.teachers):
        yield from _check_teacher(teacher, f"teachers.{index}")
    if recipe.teachers:
        return
    if recipe.assistants:
        yield "assistants.0", ConfigError("an assistant needs a teacher", next_step="add [[teachers]]")
    for index, term in enumerate(recipe.distill.losses):
        if _looked_at(term.name) & {"teacher", "teacher_feature"}:
            yield (
                f"distill.losses.{index}",
                ConfigError(f"loss '{term.name}' needs a teacher", next_step="add [[teachers]]"),
            )
    if recipe.distill.init and recipe.distill.init.weights is None:
        yield "distill.init", ConfigError("no teacher to take layers from", next_step="add [[teachers]], or weights")
    if recipe.distill.control:
        yield "distill.control", ConfigError("without teachers every training is the control")


def _check_teacher(teacher: TeacherSpec, key: str) -> Iterator[tuple[str, EdgekdError]]:
    try:
        registry.describe("teachers", teacher.source)
    except EdgekdError as error:
        yield f"{key}.source", error
    if teacher.tokenizer and teacher.source in _OF_THE_DATA:
        what = f"a teacher from '{teacher.source}' takes what the data gives"
        yield f"{key}.tokenizer", ConfigError(what, allowed="llama2c, transformers", next_step="leave it out")
    if teacher.source == "logits":
        yield from (
            (f"{key}.{field}", ConfigError("stored logits have no inputs", next_step="leave it out"))
            for field, neutral in (("input_scale", 1.0), ("input_mean", ()), ("input_std", ()))
            if getattr(teacher, field) != neutral
        )
    if teacher.source == "torch":
        yield from _check_torch_teacher(teacher, key)
    elif teacher.train:
        yield (
            f"{key}.train",
            ConfigError(f"a teacher from '{teacher.source}' can't be trained", next_step="leave it out"),
        )
    elif teacher.weights is None and teacher.model is None and ":" not in teacher.source:
        yield key, ConfigError("missing", next_step='add weights = "its file or folder"')


def _check_torch_teacher(teacher: TeacherSpec, key: str) -> Iterator[tuple[str, EdgekdError]]:
    if teacher.model is None:
        yield f"{key}.model", ConfigError("missing", next_step="name the network that the weights are of")
    if teacher.weights is None and teacher.train is None:
        yield (
            key,
            ConfigError(
                f"teacher '{teacher.model}' has neither weights nor a training",
                next_step='add weights = "file.safetensors", or a table [teachers.train]',
            ),
        )


def _is_built_in(kind: str, name: str) -> bool:
    try:
        return registry.describe(kind, name).module.startswith("edgekd.")
    except EdgekdError:
        return False  # the reader has said that there is no such plug-in


def _looked_at(loss: str) -> set[str]:
    """What a loss looks at, as its source says; nothing is imported."""
    try:
        return set() if ":" in loss else registry.passed("losses", loss)
    except EdgekdError:
        return set()  # the reader has said that there is no such loss


def _check_trainings(recipe: Recipe) -> Iterator[tuple[str, EdgekdError]]:
    specs = [("distill", recipe.distill)]
    specs += [(f"assistants.{index}.train", each.train) for index, each in enumerate(recipe.assistants) if each.train]
    specs += [(f"teachers.{index}.train", each.train) for index, each in enumerate(recipe.teachers) if each.train]
    for key, spec in specs:
        if spec.cache_budget:
            try:
                parse_size(spec.cache_budget)
            except ConfigError as error:
                yield f"{key}.cache_budget", error
        if key.startswith("teachers.") and spec.init and spec.init.weights is None:
            yield f"{key}.init", ConfigError("a teacher has no teacher to take layers from", next_step="leave it out")
        for field, neutral in (("control", False), ("seeds", 1), ("quantization", None)):
            if key != "distill" and getattr(spec, field) != neutral:
                yield f"{key}.{field}", ConfigError("is for the student only", next_step="leave it out")
        yield from _check_generation(recipe, spec, key)
        for tracker in spec.trackers:
            if tracker not in _TRACKERS:
                yield f"{key}.trackers", _unknown("tracker", tracker, _TRACKERS)
        for index, term in enumerate(spec.losses):
            yield from _check_features(term, spec, key, index)
            yield from _check_schedules(term, f"{key}.losses.{index}")
    yield from _check_quantization(recipe)


def _check_generation(recipe: Recipe, spec: DistillSpec, key: str) -> Iterator[tuple[str, EdgekdError]]:
    """Check that there is a language model to write texts, and one to judge them."""
    if spec.generation is None:
        return
    if key.startswith("teachers."):
        yield f"{key}.generation", ConfigError("is for students of a teacher", next_step="leave it out")
    elif not recipe.teachers and (spec.generation.samples or spec.generation.on_policy):
        what = "no teacher to write texts, or to judge the student's"
        yield f"{key}.generation", ConfigError(what, next_step="add [[teachers]]")
    # What sources of the user's own give is known when they are loaded.
    source, task = recipe.data.source, recipe.data.options.get("task", "next_token")
    if _is_built_in("datasets", source) and (source not in _OF_RUNNING_TEXT or task != "next_token"):
        yield (
            f"{key}.generation",
            ConfigError(
                f"data of '{source}' do not make it learn the next token",
                allowed=f'data.source {" or ".join(_OF_RUNNING_TEXT)}, with task = "next_token"',
                next_step="leave it out",
            ),
        )


def _check_quantization(recipe: Recipe) -> Iterator[tuple[str, EdgekdError]]:
    """Check that a file is made of what learns with its rounding."""
    if recipe.distill.quantization is None:
        return
    precision, key = recipe.distill.quantization.precision, "distill.quantization.precision"
    whole = [each for each in PRECISIONS if decode_precision(each).weights.startswith("int")]
    if precision not in whole:
        yield key, _unknown("precision with integer weights", precision, whole)
    elif precision not in _made(recipe):
        yield (
            key,
            ConfigError(
                f"no file is made in {precision}",
                allowed=", ".join(each for each in _made(recipe) if each in whole) or None,
                next_step=f'add "{precision}" to export.precisions',
            ),
        )


def _check_schedules(term: LossTerm, key: str) -> Iterator[tuple[str, EdgekdError]]:
    """Check what changes over the training, beyond what its fields allow each."""
    changing = [("weight", term.weight)] if isinstance(term.weight, Schedule) else []
    changing += [(name, Schedule(**value)) for name, value in term.options.items() if isinstance(value, Mapping)]
    for name, schedule in changing:
        if schedule.begin > schedule.finish:
            yield (
                f"{key}.{name}",
                ConfigError(
                    f"begins at {schedule.begin:g} and finishes at {schedule.finish:g}", allowed="begin before"
                ),
            )
        if name == "weight" and min(schedule.start, schedule.end) < 0:
            yield f"{key}.weight", ConfigError(f"falls to {min(schedule.start, schedule.end):g}", allowed="0 or more")


def _check_features(term: LossTerm, spec: DistillSpec, key: str, index: int) -> Iterator[tuple[str, EdgekdError]]:
    compared = _looked_at(term.name)
    for role in ("student", "teacher"):
        if f"{role}_feature" in compared and getattr(term, f"{role}_layer") is None:
            yield (
                f"{key}.losses.{index}",
                ConfigError(f"loss '{term.name}' needs '{role}_layer'", next_step="name a module of the network"),
            )
    if spec.cache == "on" and "teacher_feature" in compared:
        yield (
            f"{key}.cache",
            ConfigError(
                f"loss '{term.name}' compares features, which a cache does not hold", next_step='set cache = "off"'
            ),
        )


def _check_names(recipe: Recipe) -> Iterator[tuple[str, EdgekdError]]:
    for key, names in (
        ("export.formats", recipe.export.formats),
        ("export.precisions", recipe.export.precisions),
        ("benchmark.targets", [Path(name).stem for name in recipe.benchmark.targets]),
    ):
        for name in sorted({name for name in names if list(names).count(name) > 1}):
            yield key, ConfigError(f"'{name}' is there twice")
    yield from _check_precisions(recipe.export)
    targets = []
    for target in recipe.benchmark.targets:
        try:
            targets.append(load_target(target))
        except EdgekdError as error:
            yield "benchmark.targets", error
    if recipe.export.io is None:
        try:
            common_io(targets)
        except EdgekdError as error:
            yield "export.io", error


def check_package(spec: PackageSpec, formats: Sequence[str], key: str) -> Iterator[tuple[str, EdgekdError]]:
    """Check what is said of packages.

    Args:
        spec: Well-formed.
        formats: Of the files there will be.
        key: Where it stands in the recipe.

    Yields:
        A key, and what is wrong there.
    """
    if spec.licence:
        try:
            check_licence(spec.licence)
        except EdgekdError as error:
            yield f"{key}.licence", error
    names = [term.name for term in spec.packagers or ()]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{key}.packagers", ConfigError(f"'{name}' is there twice")
    for index, name in enumerate(names):
        try:
            takes = formats_of(name)
        except EdgekdError:
            continue  # the reader has said what is wrong with it
        if not {*takes} & {*formats}:
            yield (
                f"{key}.packagers.{index}",
                ConfigError(
                    f"packager '{name}' has no file to package",
                    allowed=f"formats {', '.join(takes)}",
                    next_step="export one, or leave it out",
                ),
            )


def check_licence(text: str) -> None:
    """Refuse what is no SPDX expression.

    Raises:
        ConfigError: It is none.

    >>> check_licence("MIT OR Apache-2.0")
    """
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        canonicalize_license_expression(text)
    except InvalidLicenseExpression:
        raise ConfigError(
            f"licence '{text}'",
            allowed="identifiers of https://spdx.org/licenses, with AND, OR and WITH; LicenseRef-NAME for others",
            next_step="e.g. Apache-2.0, MIT, CC-BY-4.0, LicenseRef-Proprietary",
        ) from None


def _check_precisions(spec: ExportSpec) -> Iterator[tuple[str, EdgekdError]]:
    for each in spec.precisions:
        precision, _, only = each.partition(".")
        if precision == MIXED:
            yield "export.precisions", ConfigError("mixed is no one precision", next_step="add [export.mixed]")
        elif precision not in PRECISIONS:
            yield "export.precisions", _unknown("precision", precision, PRECISIONS)
        elif only and only not in spec.formats:
            yield "export.precisions", _unknown(f"format of '{each}'", only, spec.formats)
    try:
        try_calibrator(spec.calibration)
    except EdgekdError as error:
        yield "export.calibration", error
    try:
        check_mixed(spec)
    except EdgekdError as error:
        yield "export.mixed", error
    known = [(format_name, precision) for format_name, precision in spec.pairs() if precision in PRECISIONS]
    for format_name, precision in known:
        try:
            check_precision(format_name, precision, spec.io)
        except EdgekdError as error:
            yield "export.precisions", error


def _check_budgets(recipe: Recipe) -> Iterator[tuple[str, EdgekdError]]:
    targets = [Path(name).stem for name in recipe.benchmark.targets]
    for index, budget in enumerate(recipe.budgets):
        key = f"budgets.{index}"
        try:
            gate((), budgets=(budget,))
        except EdgekdError as error:
            yield key, error
        if budget.target and budget.metric in _OF_THE_FILE:
            yield f"{key}.target", ConfigError(f"{budget.metric} is the same on every target", next_step="leave it out")
        elif budget.target and not _matches(budget.target, targets):
            yield f"{key}.target", _unknown("measured target", budget.target, targets)
        if budget.metric == "agreement" and "host" not in targets:
            step = 'add "host" to benchmark.targets'
            yield f"{key}.metric", ConfigError("agreement is with what files predict on host", next_step=step)
        if budget.metric == "teacher_agreement" and not recipe.teachers:
            yield f"{key}.metric", ConfigError("there are no teachers", next_step="add [[teachers]], or leave it out")
        made = ("torch", *recipe.export.formats)
        if budget.format and budget.role == "student" and not _matches(budget.format, made):
            yield f"{key}.format", _unknown("exported format", budget.format, made)
        if budget.precision and not _is_made(budget, recipe):
            yield f"{key}.precision", _unknown("exported precision", budget.precision, _made(recipe))
        if missing := _find_untrained(budget, recipe):
            yield f"{key}.role", ConfigError(f"there is no {budget.role} to measure", next_step=missing)


def _is_made(budget: Budget, recipe: Recipe) -> bool:
    return budget.role != "student" or budget.format == "torch" or _matches(budget.precision or "*", _made(recipe))


def _made(recipe: Recipe) -> list[str]:
    """Precisions of the files that the recipe makes."""
    return [*dict.fromkeys(precision for _, precision in recipe.export.pairs())]


def _find_untrained(budget: Budget, recipe: Recipe) -> str | None:
    """What the recipe lacks before there is a network of a budget's role."""
    if budget.role == "teacher" and not recipe.teachers:
        return "add [[teachers]]"
    if budget.role == "assistant" and not recipe.assistants:
        return "add [[assistants]]"
    if budget.role == "control" and not recipe.distill.control:
        return "set distill.control = true"
    if budget.role == "simulated" and not recipe.distill.quantization:
        return "add a table [distill.quantization]"
    if budget.role == "repeat" and recipe.distill.seeds == 1:
        return "set distill.seeds to 2 or more"
    return None


def _matches(pattern: str, names: Sequence[str]) -> bool:
    """Whether a selector, which may hold wildcards as in the gate, selects any of these."""
    return any(fnmatch.fnmatchcase(name, pattern) for name in names)


def _unknown(what: str, word: str, known: tuple[str, ...] | list[str]) -> ConfigError:
    return ConfigError(f"unknown {what} '{word}'", allowed=", ".join(known), next_step=did_you_mean(word, known))
