"""What each step of a run does and depends on, in order."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgekd import datasets, registry, store
from edgekd.config import common_io, load_target
from edgekd.datasets import STANDARDISATION
from edgekd.measurements import read_measurements
from edgekd.pipeline.folder import TEST_SPLIT, TOOLS, open_run
from edgekd.pipeline.gating import judge
from edgekd.pipeline.history import remember
from edgekd.pipeline.kernels import compare_files, kernels_to_compare
from edgekd.pipeline.linting import exported_files, lint_files, lint_targets, unfit_pairs
from edgekd.pipeline.manifest import manifest_of
from edgekd.pipeline.packaging import needs_packages, package_files, package_parameters
from edgekd.pipeline.training import (
    assist,
    assist_parameters,
    code_of,
    distil,
    distil_parameters,
    teach,
    teach_parameters,
)
from edgekd.pipeline.workspace import Step, Workspace, undated, write, write_models
from edgekd.records import Measurement

_log = logging.getLogger("edgekd")


def _export(space: Workspace, folder: Path) -> list[Path]:
    from edgekd.stages.export import export

    data, targets = space.data, [load_target(name) for name in space.recipe.benchmark.targets]
    spec = replace(space.recipe.export, io=space.recipe.export.io or common_io(targets))
    exported = export(
        space.student(),
        quantized=space.quantized_student(),
        folder=folder,
        spec=spec,
        calibration=data.samples(data.train.inputs, raw=spec.takes_raw(data.task)),
        labels=data.train.labels if data.task == "single_label" else None,
        classes=data.classes,
        check=data.ready(data.validation, _CHECK_SAMPLES, raw=spec.takes_raw(data.task)),
        validation=data.samples(data.validation.inputs, raw=spec.takes_raw(data.task)),
        validation_labels=data.validation.labels,
        parent_sha256=store.sha256_of(space.store.stage("distill") / "student.safetensors"),
        preprocessing=data.preprocessing,
        task=data.task,
        progress=space.progress,
    )
    return [
        *(model.path for model in exported.models),
        write_models(space, folder, exported.models),
        write(folder / "measurements.json", undated(exported.measurements)),
        write(folder / "layers.json", exported.layers),
        *([write(folder / "mixed.json", exported.mixed)] if exported.mixed else []),
        write(folder / "corrections.json", exported.corrections),
        *_write_front_end(folder, data.front_end, raw_input=spec.takes_raw(data.task)),
    ]


def _write_front_end(folder: Path, front_end: Mapping[str, Any], *, raw_input: bool) -> list[Path]:
    """Say what the firmware must do to what it records before the file sees it."""
    done = STANDARDISATION if raw_input else ()
    left = {key: value for key, value in front_end.items() if key not in done}
    return [write(folder / "front_end.json", left)] if left else []


def _benchmark(space: Workspace, folder: Path) -> list[Path]:
    from edgekd.stages.benchmark import benchmark, teacher_agreements

    data = space.data
    measurements = benchmark(
        exported_files(space),
        targets=[load_target(name) for name in space.recipe.benchmark.targets],
        spec=space.recipe.benchmark,
        inputs=data.ready(data.test, raw=space.recipe.export.takes_raw(data.task)),
        labels=data.test.labels,
        task=data.task,
        classes=data.classes,
        unfit=unfit_pairs(space),
        folder=folder,
        progress=space.progress,
        on_failure=lambda _: space.open_steps.add("benchmark"),
    )
    measurements += tuple(teacher_agreements(measurements, _answers_of_teachers(space)))
    split = {"sha256": datasets.hash_of_split(data.test.inputs, data.test.labels)}
    return [write(folder / "measurements.json", measurements), write(space.store.path / TEST_SPLIT, split)]


def _answers_of_teachers(space: Workspace) -> list[Measurement]:
    """What teachers of a classifier predict of the test split."""
    learned = read_measurements(space.store.stage("distill") / "measurements.json")
    return [each for each in learned if each.role == "teacher" and each.metric == "recall"]


def _gate(space: Workspace, folder: Path) -> list[Path]:
    run = open_run(space.store.path)
    release = judge(run, space.recipe.gate)
    if error := remember(release, run):
        _log.warning("this gate is not in the history: %s", error)
    return [write(folder / "release.json", release)]


def _report(space: Workspace, folder: Path) -> list[Path]:
    from edgekd.stages.report import report

    before = [step for step in STEPS if step.name != "report"]
    manifest = manifest_of(space.store, before, space.data_fingerprint)
    written = report(replace(open_run(space.store.path), manifest=manifest), folder=folder)
    return [written.json_path, written.html_path]


def _export_parameters(space: Workspace) -> object:
    student = space.recipe.student
    io = common_io([load_target(name) for name in space.recipe.benchmark.targets])
    return [space.data_fingerprint, student, space.recipe.export, io, code_of(("networks", student.model))]


def _needs_training(space: Workspace) -> Iterator[str]:
    yield from ("torch", "safetensors")
    for spec in space.recipe.teachers:
        yield from _PACKAGE_OF.get(spec.source, ())
    if space.recipe.distill.trackers:
        yield "accelerate"
        yield from space.recipe.distill.trackers


def _needs_export(space: Workspace) -> Iterator[str]:
    for name in space.recipe.export.formats:
        for kind in ("exporters", "quantizers"):
            yield from registry.load(kind, name).NEEDS


def _needs_benchmark(space: Workspace) -> Iterator[str]:
    for target in map(load_target, space.recipe.benchmark.targets):
        if target.transport == "local":
            yield from filter(None, (registry.load("runtimes", name).REQUIRES for name in target.runtimes))


def _needs_nothing(_: Workspace) -> tuple[str, ...]:
    return ()


_CHECK_SAMPLES = 500
_PACKAGE_OF = {"keras": ("tensorflow",), "transformers": ("transformers",)}
_TRAINING_CODE = (
    "stages/distill",
    "cache.py",
    "networks",
    "teachers",
    "datasets",
    "augmentations",
    "losses",
    "metrics",
)
_TRAINING_TOOLS = ("torch", "safetensors", "numpy", "onnxruntime", "ai-edge-litert", "tensorflow", "transformers")

STEPS = (
    Step(
        name="teachers",
        depends=(),
        parameters=teach_parameters,
        code=_TRAINING_CODE,
        tools=_TRAINING_TOOLS,
        needs=_needs_training,
        make=teach,
    ),
    Step(
        name="assistants",
        depends=("teachers",),
        parameters=assist_parameters,
        code=_TRAINING_CODE,
        tools=_TRAINING_TOOLS,
        needs=_needs_training,
        make=assist,
    ),
    Step(
        name="distill",
        depends=("teachers", "assistants"),
        parameters=distil_parameters,
        code=_TRAINING_CODE,
        tools=_TRAINING_TOOLS,
        needs=_needs_training,
        make=distil,
    ),
    Step(
        name="export",
        depends=("distill",),
        parameters=_export_parameters,
        code=(
            "stages/export",
            "exporters",
            "quantizers",
            "calibrators",
            "corrections",
            "simulation",
            "stats/histograms.py",
            "formats",
            "inspection.py",
            "metrics",
            "networks",
            "teachers",
            "datasets",
        ),
        tools=(*TOOLS, "scipy"),
        needs=_needs_export,
        make=_export,
    ),
    Step(
        name="kernels",
        depends=("export",),
        parameters=lambda space: [space.data_fingerprint, kernels_to_compare(space)],
        code=(
            "pipeline/kernels.py",
            "stages/export/kernels.py",
            "stages/export/verifying.py",
            "stages/benchmark",
            "datasets",
            "runner.py",
            "runtimes",
            "transports",
        ),
        tools=("onnxruntime", "ai-edge-litert", "tensorflow", "numpy"),
        needs=_needs_nothing,
        make=compare_files,
    ),
    Step(
        name="lint",
        depends=("export",),
        parameters=lint_targets,
        code=("pipeline/linting.py", "lints", "formats", "inspection.py"),
        tools=("onnx", "ai-edge-litert"),
        needs=_needs_nothing,
        make=lint_files,
    ),
    Step(
        name="benchmark",
        depends=("export",),
        # Not on all that lint says: words of a warning change no measurement.
        parameters=lambda space: [
            unfit_pairs(space),
            [store.fingerprint_of(each) for each in _answers_of_teachers(space)],
            space.data_fingerprint,
            replace(space.recipe.benchmark, targets=()),  # what they say counts, not where their files lie
            [load_target(name) for name in space.recipe.benchmark.targets],
            platform.node(),
            os.cpu_count(),
        ],
        code=(
            "datasets",
            "stages/benchmark",
            "inspection.py",
            "runner.py",
            "runtimes",
            "vela.py",
            "transports",
            "metrics",
        ),
        tools=("onnxruntime", "ai-edge-litert", "tensorflow", "tflite-micro", "ethos-u-vela", "numpy"),
        needs=_needs_benchmark,
        make=_benchmark,
    ),
    Step(
        name="package",
        depends=("teachers", "assistants", "distill", "export", "lint", "benchmark"),
        parameters=package_parameters,
        code=(
            "packagers",
            "vela.py",
            "stages/package",
            "stages/report",
            "pipeline/packaging.py",
            "formats",
            "inspection.py",
            "datasets",
            "stats",
            "units",
        ),
        tools=(
            "onnx",
            "onnxruntime",
            "ai-edge-litert",
            "tflite-micro",
            "ethos-u-vela",
            "flatbuffers",
            "jinja2",
            "numpy",
        ),
        needs=needs_packages,
        make=package_files,
    ),
    Step(
        name="gate",
        depends=("distill", "export", "lint", "benchmark"),
        # A waiver ends by the day.
        parameters=lambda space: [space.recipe.gate, *([datetime.now(UTC).date()] if space.recipe.waivers else [])],
        code=("stages/gate", "stats", "units", "formulas.py"),
        tools=(),
        needs=_needs_nothing,
        make=_gate,
    ),
    Step(
        name="report",
        depends=("teachers", "assistants", "distill", "export", "kernels", "lint", "benchmark", "gate"),
        parameters=lambda space: [space.loaded.text, space.loaded.overrides],
        code=("stages/report", "stats", "units", "verdict.py"),
        tools=(),
        needs=_needs_nothing,
        make=_report,
    ),
)
