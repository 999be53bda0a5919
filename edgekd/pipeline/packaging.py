"""The step that puts around each file what apps and firmwares need, with what the run knows of it."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd import registry, store
from edgekd.config import load_target
from edgekd.datasets import STANDARDISATION, Dataset
from edgekd.pipeline.folder import open_run
from edgekd.pipeline.linting import exported_files
from edgekd.pipeline.workspace import Workspace, write
from edgekd.records import Cargo, Content, Figure, Measurement, Model, Package, Run
from edgekd.stages.package import find_arenas, make_vectors, package
from edgekd.units import human


def package_files(space: Workspace, folder: Path) -> list[Path]:
    """Put around each exported file what apps and firmwares need, as measured."""
    for leftover in (each for each in folder.iterdir() if each.is_dir()):
        shutil.rmtree(leftover)
    spec = space.recipe.package
    packages: tuple[Package, ...] = ()
    if spec.packagers != ():
        packages = package(
            cargos_of(space, open_run(space.store.path)),
            folder=folder,
            targets=[load_target(name) for name in space.recipe.benchmark.targets],
            packagers=spec.packagers,
            progress=space.progress,
        )
    made = [folder / each.folder / file.path for each in packages for file in each.files]
    return [*made, write(folder / "packages.json", packages)]


def package_parameters(space: Workspace) -> object:
    """All that packages depend on, but for earlier steps' files."""
    recipe = space.recipe
    names = [term.name for term in recipe.package.packagers or ()]
    return [
        space.data_fingerprint,
        recipe.package,
        recipe.export.raw_input,
        recipe.name,
        recipe.description,
        recipe_text(space),
        [load_target(name) for name in recipe.benchmark.targets],
        [store.sha256_of(registry.describe("packagers", name).file) for name in names if ":" in name],
    ]


def needs_packages(space: Workspace) -> Iterator[str]:
    """Modules that packagers need which the recipe names; others are left out where they are missing."""
    for term in space.recipe.package.packagers or ():
        if ":" not in term.name:
            yield from getattr(registry.load("packagers", term.name), "NEEDS", ())


def recipe_text(space: Workspace) -> str:
    """The recipe as it was read, and what the command line set in its place; budgets change no file."""
    overrides = [each for each in space.loaded.overrides if not each.startswith("budgets")]
    return space.loaded.text.rstrip() + "".join(f"\n# --set {each}" for each in overrides) + "\n"


def cargos_of(space: Workspace, run: Run) -> dict[str, Cargo]:
    """Gather what is known of each exported file, by the folder of its package."""
    spec, data, models = space.recipe.package, space.data, exported_files(space)
    arenas = {model.sha256: arena for model in models if (arena := _arena(run.measurements, model))}
    occupied = {sha256: int(max(arena.samples)) for sha256, arena in arenas.items()} if _has_tflite_micro() else {}
    vectors = make_vectors([(model, _samples(space, model), model.sha256 in occupied) for model in models])
    on_chip = [model for model in models if model.sha256 in occupied]
    least = find_arenas([(model.path, occupied[model.sha256]) for model in on_chip])
    arena_bytes = dict(zip([model.sha256 for model in on_chip], least, strict=True))
    facts = Facts.of(data, raw_input=space.recipe.export.takes_raw(data.task))
    teachers = _teacher_lines(space, run)
    cargos = {}
    for model, vector in zip(models, vectors, strict=True):
        arena = arenas.get(model.sha256)
        cargos[f"{model.format}/{model.name.removesuffix(f'.{model.format}')}"] = Cargo(
            model=model,
            labels=data.classes if data.task in ("single_label", "multi_label") else (),
            task=data.task,
            content=spec.content or facts.content,
            head="logits" if data.task == "multi_label" else model.head,
            title=spec.title or space.recipe.name,
            description=spec.description or space.recipe.description,
            version=spec.version,
            author=spec.author,
            licence=spec.licence,
            mean=facts.mean,
            std=facts.std,
            raw_range=facts.raw_range,
            vectors=vector,
            arena_bytes=arena_bytes.get(model.sha256),
            arena_target=arena.target if arena else "",
            figures=figures_of(run, model),
            teachers=teachers,
            dataset=data.name,
            data=_data_text(data),
            front_end=facts.front_end,
            limits=spec.limits,
            recipe=recipe_text(space),
            findings=tuple(each for each in run.findings if each.model == model.name),
            tokens=data.tokens,
        )
    return cargos


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a dataset says of what goes into a network, in the words of `Cargo`."""

    content: Content
    mean: tuple[float, ...]
    std: tuple[float, ...]
    raw_range: tuple[float, float] | None
    front_end: Mapping[str, str | float]

    @classmethod
    def of(cls, data: Dataset, *, raw_input: bool = False) -> Facts:
        """Find them; with `raw_input` the files do what scales and standardises.

        Standardised values are ((x - mean) / deviation) * scale, which is (x * scale - mean * scale) / deviation. Where
        they go along another axis than channels or features, they stay with the front end.

        >>> from edgekd.datasets import Split
        >>> split = Split(inputs=np.zeros((4, 1, 2, 2), np.uint8), labels=np.array([0, 1, 0, 1]))
        >>> data = Dataset(classes=("no", "yes"), scale=1 / 255, train=split, validation=split, test=split)
        >>> Facts.of(data).content, Facts.of(data).raw_range
        ('image', (0.0, 255.0))
        """
        told: dict[str, Any] = dict(data.front_end)
        if raw_input:
            told = {key: value for key, value in told.items() if key not in STANDARDISATION}
        mean: tuple[float, ...] = ()
        std: tuple[float, ...] = ()
        if told.get("standardised_axis") == 1 and len(data.input_shape) in (1, 3):
            mean = tuple(float(each) * data.scale for each in told.pop("mean"))
            std = tuple(float(each) for each in told.pop("deviation"))
            told.pop("standardised_axis")
        shape = data.input_shape
        content: Content = "features"
        if data.tokens is not None:
            content = "text"
        elif "sample_rate" in told:
            content = "audio"
        elif len(shape) == 3 and shape[0] in (1, 3) and not data.front_end:
            content = "image"
        whole = np.issubdtype(data.train.inputs.dtype, np.integer)
        top = round(1 / data.scale)
        # Integers that are scaled to 1 have their largest value there.
        known = whole and top > 1 and abs(top * data.scale - 1) < 1e-6
        return cls(
            content=content,
            mean=mean,
            std=std,
            raw_range=(0.0, float(top)) if known else None,
            front_end={key: _plain(value) for key, value in told.items()},
        )


def _plain(value: Any) -> str | float:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, int | float):
        return value
    return ", ".join(str(each) for each in value) if isinstance(value, list | tuple) else str(value)


def _samples(space: Workspace, model: Model) -> NDArray[np.float32]:
    from edgekd.stages.benchmark import fit_layout

    data, raw = space.data, space.recipe.export.takes_raw(space.data.task)
    return fit_layout(data.ready(data.validation, space.recipe.package.vectors, raw=raw), model)


def _has_tflite_micro() -> bool:
    return importlib.util.find_spec("tflite_micro") is not None


def _arena(measurements: Sequence[Measurement], model: Model) -> Measurement | None:
    """The largest arena that a microcontroller target needed."""
    found = [each for each in measurements if each.metric == "arena_size" and each.model_sha256 == model.sha256]
    return max(found, key=lambda each: max(each.samples), default=None)


def figures_of(run: Run, model: Model) -> tuple[Figure, ...]:
    """What was measured of a file, as its card shows it: nothing that is tainted."""
    from edgekd.stages.report import language_rows, score_text, summary_rows

    found = [Figure(name="file_size", value=human(model.size_bytes, "B"), number=float(model.size_bytes))]
    for row in summary_rows(run):
        if row.sha256 != model.sha256:
            continue
        for place in row.targets:
            if place.score:
                text, score = score_text(place.score.value, row.metric), place.score
                found.append(
                    Figure(name=row.metric, value=text, target=place.target, basis=score.basis, number=score.value)
                )
            for name, figure, unit in (
                ("latency p50", place.p50, "s"),
                ("latency p90", place.p90, "s"),
                ("peak_memory", place.peak_memory, "B"),
            ):
                if figure and not figure.tainted:
                    found.append(
                        Figure(
                            name=name,
                            value=human(figure.value, unit),
                            target=place.target,
                            basis=figure.basis,
                            number=figure.value,
                        )
                    )
    of_file = [each for each in run.measurements if each.model_sha256 == model.sha256]
    for language in language_rows(of_file):
        for metric, by_length, unit in (
            ("prefill_rate", language.prefill, "tokens/s"),
            ("time_to_first_token", language.first, "s"),
            ("decode_rate", language.decode, "tokens/s"),
        ):
            found += [
                Figure(
                    name=f"{metric}, {length} tokens before",
                    value=human(figure.value, unit),
                    target=language.target,
                    basis=figure.basis,
                    number=figure.value,
                )
                for length, figure in by_length.items()
                if not figure.tainted
            ]
    return tuple(found)


def _teacher_lines(space: Workspace, run: Run) -> tuple[str, ...]:
    from edgekd.stages.report import label_of, score_text, summary_rows

    specs = space.recipe.teachers
    networks = {f"teacher-{index}": spec.model or spec.source for index, spec in enumerate(specs)}
    networks |= {f"assistant-{index}": spec.model for index, spec in enumerate(space.recipe.assistants)}
    lines = []
    for row in summary_rows(run):
        if row.role in ("teacher", "assistant"):
            parameters = f", {row.parameters:,} parameters" if row.parameters else ""
            score = f", {label_of(row.metric)} {score_text(row.score.value, row.metric)}" if row.score else ""
            lines.append(f"{row.model} ({networks.get(row.model, 'another network')}){parameters}{score}")
    return tuple(lines)


def _data_text(data: Dataset) -> str:
    counts = ", ".join(
        f"{len(split):,} {name}"
        for name, split in (("training", data.train), ("validation", data.validation), ("test", data.test))
    )
    outputs = f" Outputs: {', '.join(data.classes)}." if data.task == "regression" else ""
    return f"{data.name}: {counts} samples.{outputs}"
