"""The steps of a run as one list; a step is skipped when nothing that it depends on has changed."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgekd import store
from edgekd.config import LoadedRecipe
from edgekd.errors import StoreError
from edgekd.pipeline.folder import open_recipe, open_run
from edgekd.pipeline.steps import STEPS
from edgekd.pipeline.workspace import Workspace
from edgekd.progress import Progress, Silent
from edgekd.records import Run

__all__ = ["STEPS", "Outcome", "open_recipe", "open_run", "run", "verify"]

_log = logging.getLogger("edgekd")


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
