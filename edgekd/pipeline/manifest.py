"""The manifest of a run: every file with its hash and what it was made from, and whether all that still holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from edgekd import store
from edgekd.errors import StoreError
from edgekd.pipeline.folder import ENVIRONMENT, MANIFEST, OVERRIDES, RECIPE
from edgekd.pipeline.workspace import Step
from edgekd.records import Finding, Manifest, ManifestFile, ManifestStep, Model, Package

FORMAT = 2  # raised when a key changes its meaning
# Folders whose files are handed on: what nobody listed has no business there.
SHIPPED = ("export", "package")
State = Literal["ok", "changed", "missing", "extra", "orphan"]


def write_manifest(run_folder: store.RunFolder, steps: Sequence[Step], data: str) -> None:
    """Write the manifest of a finished run; see `manifest_of`."""
    store.write_json(run_folder.path / MANIFEST, manifest_of(run_folder, steps, data))


def manifest_of(run_folder: store.RunFolder, steps: Sequence[Step], data: str) -> Manifest:
    """List what the run was asked, every step that is done, and every file of these.

    Args:
        run_folder: Of the run.
        steps: In order.
        data: Hash of the data.
    """
    path = run_folder.path
    done = {step.name: step for step in steps if run_folder.record(step.name)}
    files = _files(run_folder, list(done))
    return Manifest(
        edgekd_manifest=FORMAT,
        recipe=store.sha256_of(path / RECIPE),
        overrides=tuple(store.read_json(path / OVERRIDES, list[str])),
        data=data,
        teachers={model.name: model.sha256 for model in _models(path, "teachers")},
        environment=store.read_json(path / ENVIRONMENT, dict[str, str]),
        steps={
            name: ManifestStep(
                fingerprint=_record(run_folder, name).fingerprint, tools=store.tool_versions(*step.tools)
            )
            for name, step in done.items()
        },
        findings=tuple(store.read_json(path / "lint" / "findings.json", list[Finding])) if "lint" in done else (),
        layers=next((name for name in files if name == "export/layers.json"), ""),
        corrections=next((name for name in files if name == "export/corrections.json"), ""),
        files=files,
    )


def update_manifest(run_folder: store.RunFolder) -> None:
    """List the files again, where one was written again; tools and environment are those of the run."""
    path = run_folder.path / MANIFEST
    manifest = store.read_json(path, Manifest)
    store.write_json(path, replace(manifest, files=_files(run_folder, list(manifest.steps))))


def verify(folder: Path) -> Mapping[str, State]:
    """Hold every file of a run against the manifest; nothing else is looked at, and no network.

    Returns:
        By file `ok`; `changed` or `missing`; `extra` where it lies among the files that ship and the manifest does not
        know it; `orphan` where its bytes are right, but a file that it was made from is none of those that are.

    Raises:
        StoreError: No manifest, one of another format, or one that names files outside the folder.
    """
    if not (folder / MANIFEST).is_file():
        raise StoreError(
            "no manifest: not a run folder, or a run that is not finished",
            where=str(folder),
            next_step="give the folder that `edgekd run` wrote, or finish it by the same command",
        )
    manifest = store.read_json(folder / MANIFEST, Manifest)
    if manifest.edgekd_manifest != FORMAT:
        raise StoreError(
            f"a manifest of format {manifest.edgekd_manifest}",
            where=str(folder / MANIFEST),
            allowed=str(FORMAT),
            next_step="verify it with the edgekd that wrote it",
        )
    found: dict[str, State] = {name: _state(folder, name, file) for name, file in manifest.files.items()}
    there = {file.sha256 for name, file in manifest.files.items() if found[name] == "ok"}
    there |= {*manifest.teachers.values()} - {file.sha256 for file in manifest.files.values()}
    for name, file in manifest.files.items():
        if found[name] == "ok" and not {*file.parents} <= there:
            found[name] = "orphan"
    for name in _shipped(folder):
        found.setdefault(name, "extra")
    return found


def _state(folder: Path, name: str, file: ManifestFile) -> State:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise StoreError(f"the manifest names '{name}', outside the run folder", where=str(folder))
    if not path.is_file():
        return "missing"
    return "ok" if store.sha256_of(path) == file.sha256 else "changed"


def _shipped(folder: Path) -> Iterator[str]:
    for step in SHIPPED:
        for path in sorted((folder / step).rglob("*")):
            name = path.relative_to(folder).as_posix()
            if (path.is_file() or path.is_symlink()) and name != f"{step}/stage.json":
                yield name


def _files(run_folder: store.RunFolder, steps: Sequence[str]) -> dict[str, ManifestFile]:
    origins = dict(_origins(run_folder.path, steps))
    found = {}
    for step in steps:
        for name, digest in _record(run_folder, step).outputs.items():
            place = f"{step}/{name}"
            parents, made_by = origins.get(place, ((), ""))
            size = (run_folder.path / place).stat().st_size
            found[place] = ManifestFile(sha256=digest, size_bytes=size, step=step, parents=parents, made_by=made_by)
    for name in (RECIPE, OVERRIDES, ENVIRONMENT):
        path = run_folder.path / name
        found[name] = ManifestFile(sha256=store.sha256_of(path), size_bytes=path.stat().st_size)
    return found


def _origins(folder: Path, steps: Sequence[str]) -> Iterator[tuple[str, tuple[tuple[str, ...], str]]]:
    """What each model file, and each file around one, was made from, and by which tools."""
    teachers = tuple(model.sha256 for model in _models(folder, "teachers") if "teachers" in steps)
    for model in _models(folder, "assistants") if "assistants" in steps else ():
        yield model.path.as_posix(), (teachers, model.made_by)
        teachers = (model.sha256,)  # it teaches the next
    for model in _models(folder, "distill") if "distill" in steps else ():
        yield model.path.as_posix(), (() if model.role == "control" else teachers, model.made_by)
    for model in _models(folder, "export") if "export" in steps else ():
        yield model.path.as_posix(), ((model.parent_sha256,) if model.parent_sha256 else (), model.made_by)
    if "package" not in steps:
        return
    for package in store.read_json(folder / "package" / "packages.json", list[Package]):
        for file in package.files:
            yield f"package/{package.folder}/{file.path}", ((package.model_sha256,), f"packager {file.packager}")


def _models(folder: Path, step: str) -> list[Model]:
    path = folder / step / "models.json"
    return store.read_json(path, list[Model]) if path.is_file() else []


def _record(run_folder: store.RunFolder, step: str) -> store.StageRecord:
    return store.read_json(run_folder.stage(step) / "stage.json", store.StageRecord)
