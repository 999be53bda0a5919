"""Packages a model file of the user's own, without a recipe."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekd.config.cross_check import check_package
from edgekd.errors import ConfigError, DataError, ModelError, TargetError
from edgekd.lints import keeps_from_running, lint, with_own_processor
from edgekd.records import (
    BenchmarkSpec,
    Cargo,
    Figure,
    Head,
    Measurement,
    Model,
    Package,
    PackageSpec,
    Target,
    Task,
)
from edgekd.stages.benchmark import benchmark, describe_file, fit_layout
from edgekd.stages.package import find_arenas, is_microcontroller, make_vectors, noise_for, package
from edgekd.units import human

_log = logging.getLogger("edgekd")
# An arena is the same at every inference.
_ONCE = BenchmarkSpec(runs=1, time_limit_s=0.1)


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """What a model file does not say of itself.

    Attributes:
        labels: In the order of the outputs.
        scale: Raw values x go in as (x * scale - mean) / std.
        raw_range: Smallest and largest raw value.
    """

    labels: tuple[str, ...] = ()
    task: Task = "single_label"
    head: Head = "logits"
    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    raw_range: tuple[float, float] | None = None


def package_file(
    path: Path,
    *,
    folder: Path,
    spec: PackageSpec,
    facts: FileFacts = FileFacts(),
    targets: Sequence[Target] = (),
    samples: NDArray[np.float32] | None = None,
) -> Package:
    """Package one .onnx or .tflite file into a folder.

    The arena of a microcontroller is measured here. Test vectors are of the samples, else of noise.

    Args:
        path: The file.
        folder: Made when missing; files of the same names are written over.
        spec: Packagers and what the author says.
        facts: What the file does not say of itself.
        targets: Where it runs.
        samples: As the file's input takes them before quantization, (N, …); the first `spec.vectors` are used.

    Raises:
        ConfigError: A licence that is none, or packagers that take no such file.
        ModelError: Not a model file.
        DataError: Samples do not fit it.
        ExportError: A named packager refused it.
    """
    model = describe_file(path)
    if problems := [error for _, error in check_package(spec, (model.format,), "package")]:
        raise ConfigError.of(problems)
    model = replace(model, input_scale=facts.scale)
    findings = lint(path, [with_own_processor(target) for target in targets])
    refused = {each.target for each in findings if keeps_from_running(each)}
    chips = [target for target in targets if is_microcontroller(target) and target.name not in refused]
    arena = _arena(model, chips) if model.format == "tflite" else None
    on_chip = arena is not None and importlib.util.find_spec("tflite_micro") is not None
    arenas = find_arenas([(path, int(max(arena.samples)))]) if arena and on_chip else [None]
    cargo = Cargo(
        model=model,
        labels=facts.labels,
        task=facts.task,
        content=spec.content or "features",
        head=facts.head,
        title=spec.title,
        description=spec.description,
        version=spec.version,
        author=spec.author,
        licence=spec.licence,
        mean=facts.mean,
        std=facts.std,
        raw_range=facts.raw_range,
        vectors=make_vectors([(model, _inputs(model, samples, spec.vectors), on_chip)])[0],
        arena_bytes=arenas[0],
        arena_target=arena.target if arena else "",
        figures=(Figure(name="file_size", value=human(model.size_bytes, "B"), number=float(model.size_bytes)),),
        limits=spec.limits,
        findings=findings,
    )
    (made,) = package({".": cargo}, folder=folder, targets=targets, packagers=spec.packagers)
    return made


def _arena(model: Model, chips: Sequence[Target]) -> Measurement | None:
    """Measure the largest arena that the file needs; none where TFLite Micro can't run it, or is not installed."""
    if not chips:
        return None
    try:
        measured = benchmark([model], targets=chips, spec=_ONCE)
    except (ModelError, TargetError) as error:
        _log.warning("%s: its arena is not known: %s", model.name, error)
        return None
    found = [each for each in measured if each.metric == "arena_size"]
    return max(found, key=lambda each: max(each.samples), default=None)


def _inputs(model: Model, samples: NDArray[np.float32] | None, count: int) -> NDArray[np.float32]:
    """Samples in the file's layout, else noise over all that its input can hold."""
    if not model.inputs:
        return np.zeros((0, 1), np.float32)
    if samples is None:
        _log.info("%s: its test vectors are noise: with --samples they are real data", model.name)
        noise, spec = noise_for(model, count)[0], model.inputs[0]
        if spec.scale is None:
            return noise.astype(np.float32)
        return ((noise.astype(np.float64) - (spec.zero_point or 0)) * spec.scale).astype(np.float32)
    if not np.isfinite(samples[:count]).all():
        raise DataError("samples that are not finite", where=model.name, next_step="give others")
    return fit_layout(samples[:count], model)
