"""The steps of a run as one list; a step is skipped when nothing that it depends on has changed."""

from __future__ import annotations

import functools
import logging
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgekd import datasets, registry, store
from edgekd.config import LoadedRecipe, load_recipe, load_target
from edgekd.errors import StoreError
from edgekd.progress import Progress, Silent
from edgekd.records import EpochRecord, Measurement, Model, NetworkSpec, Release, Run

if TYPE_CHECKING:
    from torch import nn

_log = logging.getLogger("edgekd")
TOOLS = (
    "torch",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "litert-torch",
    "ai-edge-litert",
    "ai-edge-quantizer",
    "tflite-micro",
    "numpy",
)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a run.

    Attributes:
        depends: Earlier steps whose files it reads.
        parameters: The part of the recipe, and of the world, that it depends on.
        code: The parts of edgekd that decide what it makes.
        tools: Packages whose versions decide what it makes.
        make: Does the work in a folder; returns the files it made.
    """

    name: str
    depends: tuple[str, ...]
    parameters: Callable[[Workspace], object]
    code: tuple[str, ...]
    tools: tuple[str, ...]
    make: Callable[[Workspace, Path], Sequence[Path]]


class Workspace:
    """A recipe, its run folder, and what steps share while it runs."""

    def __init__(self, loaded: LoadedRecipe, folder: Path, progress: Progress) -> None:
        self.loaded, self.recipe, self.progress = loaded, loaded.recipe, progress
        self.store = store.RunFolder(folder)

    @functools.cached_property
    def data_fingerprint(self) -> str:
        """Hash of the data's bytes; does not load them."""
        return datasets.fingerprint_of(self.recipe.data)

    @functools.cached_property
    def data(self) -> datasets.Dataset:
        """The data, loaded on first use."""
        return datasets.open_dataset(self.recipe.data)

    def fingerprint(self, step: Step) -> str:
        """Hash of all that a step depends on; the steps before it are done."""
        upstream = [
            store.read_json(self.store.stage(name) / "stage.json", store.StageRecord).outputs for name in step.depends
        ]
        return store.fingerprint(
            step.name,
            step.parameters(self),
            upstream,
            store.code_fingerprint("records.py", *step.code),
            store.tool_versions(*step.tools),
        )

    def network(self, spec: NetworkSpec, seed: int) -> nn.Module:
        """Build an untrained network; its first weights depend on the seed alone."""
        import torch

        build = registry.function("networks", spec.model)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network: nn.Module = build(
                classes=len(self.data.classes), input_shape=self.data.input_shape, **spec.options
            )
        return network

    def teachers(self) -> list[nn.Module]:
        """Load the teachers that the first step left."""
        return [
            registry.function("teachers", "torch")(
                network=self.network(NetworkSpec(model=spec.model, options=spec.options), 0),
                weights=self.store.stage("teachers") / f"teacher-{index}.safetensors",
            )
            for index, spec in enumerate(self.recipe.teachers)
        ]

    def student(self) -> nn.Module:
        """Load the student that distillation left."""
        network: nn.Module = registry.function("teachers", "torch")(
            network=self.network(self.recipe.student, 0), weights=self.store.stage("distill") / "student.safetensors"
        )
        return network


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run came to.

    Attributes:
        made: Steps that worked.
        skipped: Steps that were done already.
    """

    run: Run
    made: tuple[str, ...]
    skipped: tuple[str, ...]


def run(loaded: LoadedRecipe, *, folder: Path, until: str = "report", progress: Progress | None = None) -> Outcome:
    """Run a recipe's steps, up to and including `until`.

    Args:
        loaded: The recipe.
        folder: The run folder; a killed run goes on there.
        until: Name of a step.
        progress: Hears of long work.

    Returns:
        All that the folder holds now.

    Raises:
        EdgekdError: What a user can mend; what was done is kept.
    """
    space = Workspace(loaded, folder, progress or Silent())
    made, skipped = [], []
    with space.store.lock():
        store.write_bytes(folder / "recipe.toml", loaded.text.encode())
        store.write_json(folder / "overrides.json", loaded.overrides)
        for step in STEPS[: [step.name for step in STEPS].index(until) + 1]:
            fingerprint = space.fingerprint(step)
            if space.store.is_done(step.name, fingerprint):
                _log.info("%s: nothing changed", step.name)
                skipped.append(step.name)
                continue
            started = time.perf_counter()
            outputs = step.make(space, space.store.begin(step.name))
            space.store.finish(step.name, fingerprint, outputs)
            for checkpoint in space.store.stage(step.name).rglob("checkpoint.pt"):
                checkpoint.unlink()
            _log.info("%s: done in %.1f s", step.name, time.perf_counter() - started)
            made.append(step.name)
        write_manifest(space.store)
    return Outcome(run=open_run(folder), made=tuple(made), skipped=tuple(skipped))


def open_run(folder: Path) -> Run:
    """Read all that a run folder holds, finished or not.

    Raises:
        StoreError: Not a run folder, or damaged.
    """
    if not (folder / "recipe.toml").is_file():
        raise StoreError(
            "not a run folder", where=str(folder), next_step="give the folder that `edgekd run` or `bench` wrote"
        )
    models: list[Model] = []
    measurements: list[Measurement] = []
    histories: dict[str, tuple[EpochRecord, ...]] = {}
    for name in ("teachers", "distill", "export", "benchmark"):
        place = folder / name
        if not (place / "stage.json").exists():
            continue
        if (place / "models.json").exists():
            models += [
                replace(model, path=folder / model.path)
                for model in store.read_json(place / "models.json", list[Model])
            ]
        if (place / "measurements.json").exists():
            measurements += store.read_json(place / "measurements.json", list[Measurement])
        if (place / "histories.json").exists():
            histories |= store.read_json(place / "histories.json", dict[str, tuple[EpochRecord, ...]])
    release = folder / "gate" / "release.json"
    return Run(
        name=folder.resolve().name,
        folder=folder,
        recipe=(folder / "recipe.toml").read_text(encoding="utf-8"),
        models=tuple(models),
        measurements=tuple(measurements),
        histories=histories,
        release=store.read_json(release, Release) if release.exists() else None,
        environment={"python": platform.python_version(), "system": platform.platform(), **store.tool_versions(*TOOLS)},
    )


def open_recipe(folder: Path, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Read the recipe of a run folder, with the overrides it ran with and further ones."""
    earlier = store.read_json(folder / "overrides.json", list[str]) if (folder / "overrides.json").exists() else []
    return load_recipe(str(folder / "recipe.toml"), [*earlier, *overrides])


def write_manifest(run_folder: store.RunFolder) -> None:
    """List every file of the finished steps with its hash; no times, so that equal runs give equal bytes."""
    files: dict[str, str] = {}
    for step in STEPS:
        marker = run_folder.stage(step.name) / "stage.json"
        if marker.exists():
            record = store.read_json(marker, store.StageRecord)
            files |= {f"{step.name}/{name}": digest for name, digest in record.outputs.items()}
    files["recipe.toml"] = store.sha256_of(run_folder.path / "recipe.toml")
    store.write_json(run_folder.path / "manifest.json", files)


def verify(folder: Path) -> Mapping[str, str]:
    """Hold every file of a run against the manifest.

    Returns:
        File to `ok`, `changed` or `missing`.

    Raises:
        StoreError: No manifest, or one that names files outside the folder.
    """
    manifest = store.read_json(folder / "manifest.json", dict[str, str])
    found = {}
    for name, digest in manifest.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise StoreError(f"the manifest names '{name}', outside the run folder", where=str(folder))
        if not path.is_file():
            found[name] = "missing"
        else:
            found[name] = "ok" if store.sha256_of(path) == digest else "changed"
    return found


# --- what the steps do ---------------------------------------------------------------------------


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
        _write(folder / "measurements.json", measured),
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
        _write(folder / "measurements.json", exported.measurements),
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


def _write(path: Path, value: object) -> Path:
    store.write_json(path, value)
    return path


def _write_models(space: Workspace, folder: Path, models: Sequence[Model]) -> Path:
    relative = [replace(model, path=model.path.relative_to(space.store.path)) for model in models]
    return _write(folder / "models.json", relative)


def _code_of(*plug_ins: tuple[str, str]) -> list[str]:
    """Hash the sources of plug-ins, the user's own included."""
    return [store.sha256_of(registry.describe(kind, name).file) for kind, name in plug_ins]


def _teacher_parameters(space: Workspace) -> object:
    recipe = space.recipe
    weights = [store.sha256_of(spec.weights) if spec.weights else None for spec in recipe.teachers]
    plug_ins = [("networks", spec.model) for spec in recipe.teachers]
    return [space.data_fingerprint, recipe.teachers, weights, _code_of(*plug_ins)]


def _distill_parameters(space: Workspace) -> object:
    recipe = space.recipe
    plug_ins = [("networks", recipe.student.model), *(("losses", term.name) for term in recipe.distill.losses)]
    weights = [spec.weight for spec in recipe.teachers]
    return [space.data_fingerprint, recipe.student, recipe.distill, weights, _code_of(*plug_ins)]


_CHECK_SAMPLES = 500
_TRAINING_CODE = ("stages/distill", "networks", "teachers", "datasets", "augmentations", "losses")

STEPS = (
    Step(
        name="teachers",
        depends=(),
        parameters=_teacher_parameters,
        code=_TRAINING_CODE,
        tools=("torch", "safetensors", "numpy"),
        make=_teach,
    ),
    Step(
        name="distill",
        depends=("teachers",),
        parameters=_distill_parameters,
        code=_TRAINING_CODE,
        tools=("torch", "safetensors", "numpy"),
        make=_distill,
    ),
    Step(
        name="export",
        depends=("distill",),
        parameters=lambda space: [space.data_fingerprint, space.recipe.student, space.recipe.export],
        code=("stages/export", "exporters", "quantizers", "formats", "inspection.py", "networks"),
        tools=TOOLS,
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
        code=("stages/benchmark.py", "runner.py", "runtimes", "transports", "metrics"),
        tools=("onnxruntime", "ai-edge-litert", "tflite-micro", "numpy"),
        make=_benchmark,
    ),
    Step(
        name="gate",
        depends=("distill", "export", "benchmark"),
        parameters=lambda space: space.recipe.budgets,
        code=("stages/gate.py", "stats.py", "units.py"),
        tools=(),
        make=_gate,
    ),
    Step(
        name="report",
        depends=("teachers", "distill", "export", "benchmark", "gate"),
        parameters=lambda space: [space.loaded.text, space.loaded.overrides],
        code=("stages/report", "stats.py", "units.py"),
        tools=("vl-convert-python",),
        make=_report,
    ),
)
