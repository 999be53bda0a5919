"""What a finished run says of its own files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgekd.records.linting import Finding


@dataclass(frozen=True, kw_only=True)
class ManifestFile:
    """One file of a run.

    Attributes:
        step: That made it; empty for what the run was asked.
        parents: sha256 of the files, or of the teachers from elsewhere, that a model file was made from.
        made_by: The tools that made a model file, with their versions.
    """

    sha256: str
    size_bytes: int
    step: str = ""
    parents: tuple[str, ...] = ()
    made_by: str = ""


@dataclass(frozen=True, kw_only=True)
class ManifestStep:
    """A finished step: what it depended on, in one hash, and the versions that decide what it makes."""

    fingerprint: str
    tools: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All that a run made, and what of.

    Attributes:
        edgekd_manifest: Format of this file; raised when a key changes its meaning.
        recipe: sha256 of the recipe's text.
        overrides: What the command line set in its place.
        data: Hash of the data's bytes and of how they are split.
        teachers: sha256 of each by name, also of those whose files are not in the run.
        environment: Versions of what makes and measures files.
        steps: By name, in order.
        findings: What lint said of the files on their targets.
        layers: The file that says how layers differ from those of the float32 files; empty where there is none.
        corrections: The same of what corrections were worth.
        files: By path in the run folder.
    """

    edgekd_manifest: int
    recipe: str
    overrides: tuple[str, ...]
    data: str
    teachers: Mapping[str, str]
    environment: Mapping[str, str]
    steps: Mapping[str, ManifestStep]
    findings: tuple[Finding, ...]
    layers: str
    corrections: str
    files: Mapping[str, ManifestFile]
