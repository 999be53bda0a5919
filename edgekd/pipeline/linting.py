"""The step that holds files against their targets before they are run there."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from edgekd import store
from edgekd.config import load_target
from edgekd.lints import keeps_from_running, lint, with_own_processor
from edgekd.pipeline.workspace import Workspace, write
from edgekd.records import Finding, Measurement, Model, Target

_log = logging.getLogger("edgekd")
_NO_RUNTIME = "no_runtime"


def lint_files(space: Workspace, folder: Path) -> list[Path]:
    """Hold every exported file against every target, before anything is measured."""
    targets = lint_targets(space)
    with ThreadPoolExecutor(2) as pool:  # threads wait for the children that parse
        found = list(pool.map(lambda model: _lint(model, targets), exported_files(space)))
    findings = [finding for each in found for finding in each]
    # Layers of a file tend to have the same to say.
    for model, target, what in dict.fromkeys(
        (each.model, each.target, each.what) for each in findings if keeps_from_running(each)
    ):
        _log.warning("lint: %s is not measured on %s: %s", model, target, what)
    counts = [_count(model, target, findings) for model in exported_files(space) for target in targets]
    return [write(folder / "findings.json", findings), write(folder / "measurements.json", counts)]


def _count(model: Model, target: Target, findings: Sequence[Finding]) -> Measurement:
    """How many findings of each kind a file has for a target, so that budgets can limit them."""
    here = (model.name, target.name)
    counts = Counter(f"{each.severity}/{each.rule}" for each in findings if (each.model, each.target) == here)
    return Measurement(
        model_sha256=model.sha256,
        model=model.name,
        format=model.format,
        precision=model.precision,
        role=model.role,
        target=target.name,
        metric="lint",
        unit="",
        samples=tuple(map(float, counts.values())) or (0.0,),
        parts=tuple(counts) or ("none",),
    )


def lint_targets(space: Workspace) -> list[Target]:
    """The recipe's targets, with what lint knows of this machine."""
    return [with_own_processor(load_target(name)) for name in space.recipe.benchmark.targets]


def _lint(model: Model, targets: Sequence[Target]) -> list[Finding]:
    found = lint(model.path, targets)
    elsewhere = {each.target for each in found if each.rule == _NO_RUNTIME} != {each.name for each in targets}
    # A recipe makes files for some of its targets and others for others.
    return [each for each in found if each.rule != _NO_RUNTIME or not elsewhere]


def unfit_pairs(space: Workspace) -> list[tuple[str, str]]:
    """Names of files and targets that they do not run on, by lint."""
    findings = store.read_json(space.store.stage("lint") / "findings.json", list[Finding])
    return sorted({(each.model, each.target) for each in findings if keeps_from_running(each)})


def exported_files(space: Workspace) -> list[Model]:
    """The files of the export step, where they lie."""
    models = store.read_json(space.store.stage("export") / "models.json", list[Model])
    return [replace(model, path=space.store.path / model.path) for model in models]
