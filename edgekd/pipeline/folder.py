"""Reads a run folder, finished or not."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgekd import store
from edgekd.config import LoadedRecipe, load_recipe
from edgekd.errors import StoreError
from edgekd.records import EpochRecord, Measurement, Model, Release, Run

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
