"""From which teachers, by which steps, every file came."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from edgekd.records import Model, Run
from edgekd.stages.report.seeds import groups_of


@dataclass(frozen=True, kw_only=True)
class Origin:
    """One file and what it came from.

    Attributes:
        steps: Names from the first teachers to the file's own parent; one step is one name or several.
        unknown_parent: Hash of a parent that is none of this run's files.
    """

    model: Model
    steps: tuple[str, ...]
    unknown_parent: str = ""


def origins_of(run: Run) -> tuple[Origin, ...]:
    """Follow each file back to its teachers.

    >>> from pathlib import Path
    >>> origins_of(Run(name="empty", folder=Path(), recipe=""))
    ()
    """
    by_hash = {model.sha256: model for model in run.models}
    taught = {
        network: tuple(dict.fromkeys(name for each in names for name in run.teachings[each].scores))
        for network, names in groups_of(run.teachings).items()
    }
    return tuple(_origin(model, by_hash, taught) for model in run.models)


def _origin(model: Model, by_hash: dict[str, Model], taught: dict[str, tuple[str, ...]]) -> Origin:
    steps: list[str] = []
    first, unknown = model, ""
    seen = {model.sha256}
    while first.parent_sha256 and first.parent_sha256 not in seen:
        seen.add(first.parent_sha256)
        if first.parent_sha256 not in by_hash:
            unknown = first.parent_sha256
            break
        first = by_hash[first.parent_sha256]
        steps.insert(0, first.name)
    if not unknown and first.role in ("student", "assistant", "repeat"):
        network = first.name if first.name in taught else first.name.partition(".")[0]
        met = {network}
        while teachers := taught.get(network):
            steps.insert(0, ", ".join(teachers))
            network = teachers[0]
            if network in met:
                break
            met.add(network)
    return Origin(model=model, steps=tuple(steps), unknown_parent=unknown)


def recipe_hash(run: Run) -> str:
    """Hash of the recipe's text, as the manifest has it; empty where there was none."""
    return hashlib.sha256(run.recipe.encode()).hexdigest() if run.recipe else ""


def tools_of(run: Run) -> list[tuple[str, list[str]]]:
    """Name the tools that decide what each step made, with their versions; nothing where no manifest says it."""
    steps = run.manifest.steps if run.manifest else {}
    named = {name: [f"{tool} {version}" for tool, version in step.tools.items()] for name, step in steps.items()}
    return [(name, tools) for name, tools in named.items() if tools]
