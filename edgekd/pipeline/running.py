"""The steps of a run as one list; a step is skipped when nothing that it depends on has changed."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgekd import registry, store
from edgekd.config import LoadedRecipe
from edgekd.errors import StoreError
from edgekd.launch import process_rank
from edgekd.pipeline.folder import ENVIRONMENT, MANIFEST, OVERRIDES, RECIPE, environment_here, open_run
from edgekd.pipeline.history import with_past
from edgekd.pipeline.manifest import update_manifest, write_manifest
from edgekd.pipeline.steps import STEPS
from edgekd.pipeline.team import TOGETHER, Team, follow
from edgekd.pipeline.training import replay
from edgekd.pipeline.workspace import Step, Workspace
from edgekd.progress import Progress, Silent
from edgekd.records import Recipe, Run

if TYPE_CHECKING:
    from edgekd.stages.report import Report

_log = logging.getLogger("edgekd")
# No step has this fingerprint.
_OPEN = "open"
_STEP_FILES = {".onnx", ".tflite", ".safetensors", ".json"}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run came to.

    Attributes:
        made: Steps that worked.
        skipped: Steps that were done already.
        open: Steps of which a target failed; they are done again next time.
    """

    run: Run
    made: tuple[str, ...]
    skipped: tuple[str, ...]
    open: tuple[str, ...] = ()


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
    if process_rank() > 0:
        follow(space, STEPS)
        return Outcome(run=open_run(folder), made=(), skipped=())
    steps = STEPS[: [step.name for step in STEPS].index(until) + 1]
    if any(step.name == "export" for step in steps):
        _check_files(loaded.recipe)
    registry.require_all(module for step in steps for module in step.needs(space))
    made, skipped = [], []
    with space.store.lock():
        store.write_bytes(folder / RECIPE, loaded.text.encode())
        store.write_json(folder / OVERRIDES, loaded.overrides)
        store.write_json(folder / ENVIRONMENT, environment_here())
        team = Team()
        for step in steps:
            if step.name not in TOGETHER:
                team.dismiss()
            fingerprint = space.fingerprint(step)
            if space.store.is_done(step.name, fingerprint):
                _log.info("%s: nothing changed", step.name)
                skipped.append(step.name)
                continue
            team.begin(step.name)
            before = space.store.record(step.name)
            started = time.perf_counter()
            # A manifest is of a finished run.
            (folder / MANIFEST).unlink(missing_ok=True)
            outputs = step.make(space, space.store.begin(step.name))
            team.end(step.name)
            _drop_what_is_out_of_date(space.store, step, before, outputs)
            space.store.finish(step.name, _OPEN if step.name in space.open_steps else fingerprint, outputs)
            _log.info("%s: done in %.1f s", step.name, time.perf_counter() - started)
            made.append(step.name)
        team.dismiss()
        for step in steps:
            for checkpoint in space.store.stage(step.name).rglob("checkpoint.pt"):
                checkpoint.unlink()
        write_manifest(space.store, STEPS, space.data_fingerprint)
    return Outcome(run=open_run(folder), made=tuple(made), skipped=tuple(skipped), open=tuple(space.open_steps))


def _check_files(recipe: Recipe) -> None:
    """Refuse, before anything is trained, a recipe whose student becomes no file."""
    if recipe.data.options.get("task") == "masked_token":
        from edgekd.stages.export import check_task

        check_task("masked_token")


def _drop_what_is_out_of_date(
    run_folder: store.RunFolder, step: Step, before: store.StageRecord | None, outputs: Sequence[Path]
) -> None:
    """Drop files that this step made of another recipe, and forget later steps if they read other bytes than these.

    Without it a run killed here would leave measurements of one student beside another.
    """
    folder = run_folder.stage(step.name)
    made = {output.relative_to(folder).as_posix(): store.sha256_of(output) for output in outputs}
    for name in (before.outputs.keys() if before else set()) - made.keys():
        if (folder / name).resolve().is_relative_to(folder.resolve()):
            (folder / name).unlink(missing_ok=True)
    # A step that was killed, or is made again after an earlier one, has no record of its files; their kinds tell them.
    for file in folder.glob("*.*"):
        if file.suffix in _STEP_FILES and file.name not in {*made, "stage.json"}:
            file.unlink()
    if before and before.outputs == made:
        return
    changed = {step.name}
    for later in STEPS:
        if changed & set(later.depends):
            changed.add(later.name)
            (run_folder.stage(later.name) / "stage.json").unlink(missing_ok=True)


def rewrite_report(folder: Path, opened: Run | None = None) -> Report:
    """Write a run's report again, finished or not, with its history; a finished run's manifest goes with it.

    Args:
        folder: Of the run.
        opened: What it holds, where that was read already.

    Raises:
        StoreError: Not a run folder, or another edgekd is working in it.
    """
    from edgekd.stages.report import report

    # The report that a run itself writes has no history: equal runs give equal bytes, whatever was gated before.
    opened, error = with_past(opened or open_run(folder))
    if error:
        _log.warning("this report has no history: %s", error)
    run_folder = store.RunFolder(folder)
    with run_folder.lock():
        earlier = run_folder.record("report")
        written = report(opened, folder=folder / "report")
        if earlier:
            run_folder.finish("report", earlier.fingerprint, [written.json_path, written.html_path])
            if (folder / MANIFEST).exists():
                update_manifest(run_folder)
    return written


def replay_caches(loaded: LoadedRecipe, folder: Path) -> list[tuple[str, float]]:
    """Ask a recipe's teachers again about random samples of what their caches hold.

    Args:
        loaded: The recipe.
        folder: Its run folder, in which the teachers are.

    Returns:
        Names of caches, each with the largest difference between a logit that was kept and the one computed now.

    Raises:
        StoreError: No such run, or no cache that is finished.
    """
    if not store.RunFolder(folder).record("teachers"):
        raise StoreError(
            "no teachers here", where=str(folder), next_step="give the folder that `edgekd run` wrote with --out"
        )
    return replay(Workspace(loaded, folder, Silent()))
