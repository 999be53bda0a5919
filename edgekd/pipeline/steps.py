"""What each step of a run does and depends on, in order."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from edgekd import registry, store
from edgekd.config import load_target
from edgekd.pipeline.folder import TOOLS, open_run
from edgekd.pipeline.workspace import Step, Workspace
from edgekd.records import DistillSpec, Measurement, Model, NetworkSpec


def _teach(space: Workspace, folder: Path) -> list[Path]:
    from edgekd.stages.distill import describe_weights, distill, save_weights

    models, histories = [], {}
    for index, spec in enumerate(space.recipe.teachers):
        name = f"teacher-{index}"
        network = space.network(
            NetworkSpec(model=spec.model, options=spec.options), spec.train.seed if spec.train else 0
        )
        if spec.weights:
            network = registry.function("teachers", spec.source)(network=network, weights=spec.weights)
        else:
            trained = distill(
                network, data=space.data, spec=spec.train, folder=folder / name, progress=space.progress, name=name
            )
            histories[name] = trained.history
        save_weights(network, folder / f"{name}.safetensors")
        models.append(
            describe_weights(folder / f"{name}.safetensors", network, name=name, role="teacher", data=space.data)
        )
    return [
        *(model.path for model in models),
        _write_models(space, folder, models),
        _write(folder / "histories.json", histories),
    ]


def _distill(space: Workspace, folder: Path) -> list[Path]:
    from edgekd.stages.distill import describe_weights, distill, measure_accuracy, save_weights

    recipe, data = space.recipe, space.data
    teachers = space.teachers()
    student = space.network(recipe.student, recipe.distill.seed)
    trained = distill(
        student,
        data=data,
        teachers=teachers,
        teacher_weights=[spec.weight for spec in recipe.teachers],
        spec=recipe.distill,
        folder=folder,
        progress=space.progress,
    )
    save_weights(student, folder / "student.safetensors")
    model = describe_weights(folder / "student.safetensors", student, name="student", role="student", data=data)
    taught = store.read_json(space.store.stage("teachers") / "models.json", list[Model])
    # The one look at the test split that training takes, when all its choices are made.
    measured = [
        measure_accuracy(network, data.test, data, record)
        for network, record in [*zip(teachers, taught, strict=True), (student, model)]
    ]
    return [
        model.path,
        _write_models(space, folder, [model]),
        _write(folder / "histories.json", {"student": trained.history}),
        _write(folder / "measurements.json", _undated(measured)),
    ]


def _export(space: Workspace, folder: Path) -> list[Path]:
    from edgekd.stages.export import export

    spec, data = space.recipe.export, space.data
    exported = export(
        space.student(),
        folder=folder,
        spec=spec,
        calibration=data.ready(data.train, spec.calibration.samples, spec.calibration.seed),
        check=data.ready(data.validation, _CHECK_SAMPLES),
        parent_sha256=store.sha256_of(space.store.stage("distill") / "student.safetensors"),
        input_scale=data.scale,
        progress=space.progress,
    )
    return [
        *(model.path for model in exported.models),
        _write_models(space, folder, exported.models),
        _write(folder / "measurements.json", _undated(exported.measurements)),
    ]


def _benchmark(space: Workspace, folder: Path) -> list[Path]:
    from edgekd.stages.benchmark import benchmark

    data = space.data
    models = [
        replace(model, path=space.store.path / model.path)
        for model in store.read_json(space.store.stage("export") / "models.json", list[Model])
    ]
    measurements = benchmark(
        models,
        targets=[load_target(name) for name in space.recipe.benchmark.targets],
        spec=space.recipe.benchmark,
        inputs=data.ready(data.test),
        labels=data.test.labels,
        folder=folder,
        progress=space.progress,
    )
    return [_write(folder / "measurements.json", measurements)]


def _gate(space: Workspace, folder: Path) -> list[Path]:
    from edgekd.stages.gate import gate

    measurements = open_run(space.store.path).measurements
    return [_write(folder / "release.json", gate(measurements, budgets=space.recipe.budgets))]


def _report(space: Workspace, folder: Path) -> list[Path]:
    from edgekd.stages.report import report

    written = report(open_run(space.store.path), folder=folder)
    return [written.json_path, written.html_path]


def _undated(measurements: Sequence[Measurement]) -> list[Measurement]:
    """Take out the time: what the same bytes always give must be the same bytes in every run."""
    return [replace(each, started_at="") for each in measurements]


def _write(path: Path, value: object) -> Path:
    store.write_json(path, value)
    return path


def _write_models(space: Workspace, folder: Path, models: Sequence[Model]) -> Path:
    relative = [replace(model, path=model.path.relative_to(space.store.path)) for model in models]
    return _write(folder / "models.json", relative)


def _code_of(*plug_ins: tuple[str, str]) -> list[str]:
    """Hash the sources of plug-ins, the user's own included."""
    return [store.sha256_of(registry.describe(kind, name).file) for kind, name in plug_ins]


def _training_plug_ins(spec: DistillSpec | None) -> list[tuple[str, str]]:
    terms = [*(("losses", term.name) for term in spec.losses)] if spec else []
    return terms + [("augmentations", term.name) for term in (spec.augmentations if spec else ())]


def _teacher_parameters(space: Workspace) -> object:
    recipe = space.recipe
    weights = [store.sha256_of(spec.weights) if spec.weights else None for spec in recipe.teachers]
    plug_ins = [("networks", spec.model) for spec in recipe.teachers]
    plug_ins += [each for spec in recipe.teachers for each in _training_plug_ins(spec.train)]
    # What is in the files counts, not where they lie.
    specs = [replace(spec, weights=None) for spec in recipe.teachers]
    return [space.data_fingerprint, specs, weights, _code_of(*plug_ins)]


def _distill_parameters(space: Workspace) -> object:
    recipe = space.recipe
    models = [recipe.student.model, *(spec.model for spec in recipe.teachers)]
    plug_ins = [*(("networks", model) for model in models), *_training_plug_ins(recipe.distill)]
    weights = [spec.weight for spec in recipe.teachers]
    return [space.data_fingerprint, recipe.student, recipe.distill, weights, _code_of(*plug_ins)]


def _export_parameters(space: Workspace) -> object:
    student = space.recipe.student
    return [space.data_fingerprint, student, space.recipe.export, _code_of(("networks", student.model))]


def _needs_training(_: Workspace) -> Iterator[str]:
    yield from ("torch", "safetensors")


def _needs_export(space: Workspace) -> Iterator[str]:
    for name in space.recipe.export.formats:
        for kind in ("exporters", "quantizers"):
            yield from registry.load(kind, name).NEEDS


def _needs_benchmark(space: Workspace) -> Iterator[str]:
    for target in map(load_target, space.recipe.benchmark.targets):
        if target.transport == "local":
            yield from (registry.load("runtimes", name).REQUIRES for name in target.runtimes)


def _needs_nothing(_: Workspace) -> tuple[str, ...]:
    return ()


_CHECK_SAMPLES = 500
_TRAINING_CODE = ("stages/distill", "networks", "teachers", "datasets", "augmentations", "losses")

STEPS = (
    Step(
        name="teachers",
        depends=(),
        parameters=_teacher_parameters,
        code=_TRAINING_CODE,
        tools=("torch", "safetensors", "numpy"),
        needs=_needs_training,
        make=_teach,
    ),
    Step(
        name="distill",
        depends=("teachers",),
        parameters=_distill_parameters,
        code=(*_TRAINING_CODE, "metrics"),
        tools=("torch", "safetensors", "numpy"),
        needs=_needs_training,
        make=_distill,
    ),
    Step(
        name="export",
        depends=("distill",),
        parameters=_export_parameters,
        code=(
            "stages/export",
            "exporters",
            "quantizers",
            "formats",
            "inspection.py",
            "networks",
            "teachers",
            "datasets",
        ),
        tools=TOOLS,
        needs=_needs_export,
        make=_export,
    ),
    Step(
        name="benchmark",
        depends=("export",),
        parameters=lambda space: [
            space.data_fingerprint,
            space.recipe.benchmark,
            [load_target(name) for name in space.recipe.benchmark.targets],
            platform.node(),
            os.cpu_count(),
        ],
        code=("datasets", "stages/benchmark", "inspection.py", "runner.py", "runtimes", "transports", "metrics"),
        tools=("onnxruntime", "ai-edge-litert", "tflite-micro", "numpy"),
        needs=_needs_benchmark,
        make=_benchmark,
    ),
    Step(
        name="gate",
        depends=("distill", "export", "benchmark"),
        parameters=lambda space: space.recipe.budgets,
        code=("stages/gate.py", "stats", "units.py"),
        tools=(),
        needs=_needs_nothing,
        make=_gate,
    ),
    Step(
        name="report",
        depends=("teachers", "distill", "export", "benchmark", "gate"),
        parameters=lambda space: [space.loaded.text, space.loaded.overrides],
        code=("stages/report", "stats", "units.py"),
        tools=("vl-convert-python",),
        needs=_needs_nothing,
        make=_report,
    ),
)
