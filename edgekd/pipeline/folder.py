"""Reads a run folder, finished or not."""

from __future__ import annotations

import platform
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from edgekd import store
from edgekd.config import load_gate_spec
from edgekd.errors import StoreError
from edgekd.measurements import read_measurements
from edgekd.records import (
    Correction,
    EpochRecord,
    Finding,
    GateSpec,
    LayerParity,
    Manifest,
    Measurement,
    MixedSearch,
    Model,
    OperatorTime,
    QuantizationOutcome,
    Release,
    Run,
    Teaching,
)

RECIPE, OVERRIDES, ENVIRONMENT = "recipe.toml", "overrides.json", "environment.json"
MANIFEST = "manifest.json"
# Of the step that measures: which test samples it was.
TEST_SPLIT = "benchmark/test_split.json"
# Of the step that distils: what learning with rounding came to, and the name of what it left.
QUANTIZATION, QUANTIZED = "quantization.json", "student-quantized"
# Of the same, where the data are texts.
TOKENIZER = "tokenizer.json"
_STEPS = ("teachers", "assistants", "distill", "export", "lint", "kernels", "benchmark")
# What verdicts are made of.
_RECORDS = ("models.json", "measurements.json", Path(TEST_SPLIT).name)
# Of a measurement, before its numbers; inside of a text every quotation mark has a backslash before it.
_HEAD_BYTES = 4096
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


def open_run(folder: Path, *, without: Collection[str] = (), whole: bool = True) -> Run:
    """Read what a run folder holds, finished or not.

    Args:
        folder: That `edgekd run` or `bench` wrote.
        without: Metrics whose measurements are left out.
        whole: Also what no verdict is made of: how training and export went, and the last verdict.

    Raises:
        StoreError: Not a run folder, or damaged.
    """
    bare = folder / "measurements.json"
    recipe = folder / RECIPE
    if not is_run(folder):
        raise StoreError(
            "not a run folder", where=str(folder), next_step="give the folder that `edgekd run` or `bench` wrote"
        )
    models: list[Model] = []
    measurements: list[Measurement] = _read(bare, without) if bare.is_file() else []
    for name in _STEPS:
        place = folder / name
        if not (place / "stage.json").exists():
            continue
        if (place / "models.json").exists():
            models += [
                replace(model, path=folder / model.path)
                for model in store.read_json(place / "models.json", list[Model])
            ]
        if (place / "measurements.json").exists():
            measurements += _read(place / "measurements.json", without)
    findings = folder / "lint" / "findings.json"
    run = Run(
        name=folder.resolve().name,
        folder=folder,
        recipe=recipe.read_text(encoding="utf-8") if recipe.is_file() else "",
        models=tuple(models),
        measurements=tuple(measurements),
        findings=tuple(store.read_json(findings, list[Finding])) if _is_made(findings) else (),
    )
    return _with_the_rest(run) if whole else run


def _with_the_rest(run: Run) -> Run:
    """Add what no verdict is made of."""
    folder = run.folder
    histories: dict[str, tuple[EpochRecord, ...]] = {}
    teachings: dict[str, Teaching] = {}
    layers: dict[str, tuple[LayerParity, ...]] = {}
    mixed: dict[str, MixedSearch] = {}
    for place in (folder / name for name in _STEPS if (folder / name / "stage.json").exists()):
        if (place / "histories.json").exists():
            histories |= store.read_json(place / "histories.json", dict[str, tuple[EpochRecord, ...]])
        if (place / "teachings.json").exists():
            teachings |= store.read_json(place / "teachings.json", dict[str, Teaching])
        if (place / "layers.json").exists():
            layers |= store.read_json(place / "layers.json", dict[str, tuple[LayerParity, ...]])
        if (place / "mixed.json").exists():
            mixed |= store.read_json(place / "mixed.json", dict[str, MixedSearch])
    quantization, corrections = folder / "distill" / QUANTIZATION, folder / "export" / "corrections.json"
    operators = folder / "operators.json"  # of a benchmark with --profile
    environment = folder / ENVIRONMENT
    release = folder / "gate" / "release.json"
    return replace(
        run,
        histories=histories,
        teachings=teachings,
        layers=layers,
        mixed=mixed,
        quantization=store.read_json(quantization, QuantizationOutcome) if _is_made(quantization) else None,
        corrections=tuple(store.read_json(corrections, list[Correction])) if _is_made(corrections) else (),
        operators=tuple(store.read_json(operators, list[OperatorTime])) if operators.is_file() else (),
        release=store.read_json(release, Release) if _is_made(release) else None,
        environment=store.read_json(environment, dict[str, str]) if environment.is_file() else environment_here(),
        manifest=store.read_json(folder / MANIFEST, Manifest) if (folder / MANIFEST).is_file() else None,
    )


def _read(file: Path, without: Collection[str]) -> list[Measurement]:
    """Read measurements, without those of some metrics."""
    left_out = [f'"metric":"{each}"'.encode() for each in without]

    def is_wanted(text: bytes) -> bool:
        return not any(mark in text[:_HEAD_BYTES] for mark in left_out)

    return list(read_measurements(file, wanted=is_wanted))


def is_run(folder: Path) -> bool:
    """Whether `edgekd run` or `edgekd bench` wrote a folder."""
    return (folder / RECIPE).is_file() or (folder / "measurements.json").is_file()


def _is_made(file: Path) -> bool:
    """Whether a file is there, of a step that is done."""
    return file.is_file() and (file.parent / "stage.json").is_file()


def environment_here() -> dict[str, str]:
    """Versions of what makes and measures files on this machine."""
    here = {"python": platform.python_version(), "system": platform.platform()}
    return {**here, **store.tool_versions("edgekd", *TOOLS)}


def check_files(run: Run) -> None:
    """Check that the files that would ship are those that were measured, and that nothing else was.

    Raises:
        StoreError: One is missing or was changed; or a measurement is of another file, or not as it was written.
    """
    if run.recipe:
        _check_records(run)
    for model in run.models:
        if model.format in ("torch", "other"):
            continue
        if not model.path.is_file() or store.sha256_of(model.path) != model.sha256:
            raise StoreError(
                "not the file that was measured" if model.path.is_file() else "missing",
                where=str(model.path),
                next_step="run the recipe again, or bring the file back",
            )


def _check_records(run: Run) -> None:
    """Check that what is read as evidence is what the steps wrote, and about the run's own files."""
    folder, manifest = store.RunFolder(run.folder), None
    if (run.folder / MANIFEST).is_file():
        manifest = store.read_json(run.folder / MANIFEST, Manifest)
    for step in _STEPS:
        record = folder.record(step)
        if record is None:
            continue
        for name in _RECORDS:
            file = run.folder / step / name
            if not file.is_file():
                continue
            digest, listed = store.sha256_of(file), manifest.files.get(f"{step}/{name}") if manifest else None
            if digest != record.outputs.get(name) or (manifest and (listed is None or listed.sha256 != digest)):
                what = "not what its step wrote, or the manifest was edited"
                raise StoreError(what, where=str(file), next_step="run the recipe again")
    known = {(model.name, model.sha256) for model in run.models}
    for each in run.measurements:
        if (each.model, each.model_sha256) not in known:
            what = f"a measurement of {each.model} ({each.model_sha256[:12]}), which is no file of this run"
            raise StoreError(what, where=f"{each.metric} on {each.target}", next_step="run the recipe again")


def open_gate_spec(folder: Path, overrides: Sequence[str] = ()) -> GateSpec:
    """Read what a run is held against, with the overrides it ran with and further ones.

    Raises:
        StoreError: A benchmark of bare files, which has no recipe.
        ConfigError: Everything that is wrong with it.
    """
    if not (folder / RECIPE).is_file():
        if not folder.is_dir():
            raise StoreError(
                "neither a run folder nor one with .onnx or .tflite files",
                where=str(folder),
                next_step="give the folder that `edgekd run` or `bench` wrote, or one with model files",
            )
        raise StoreError("no recipe here, so no budgets", where=str(folder), next_step="give a file with --budgets")
    earlier = store.read_json(folder / OVERRIDES, list[str]) if (folder / OVERRIDES).exists() else []
    return load_gate_spec(folder / RECIPE, [*earlier, *overrides], of_recipe=True)
