"""What is kept of a release, so that the next one can be held against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgekd.records.gating import Release
from edgekd.records.measuring import Measurement
from edgekd.records.names import Format


@dataclass(frozen=True, kw_only=True)
class ReleasedFile:
    """A model file that was released.

    Attributes:
        path: Where it lay: from the folder in which it was promoted, or its name alone where it was not below that.
        operators: Number of each kind.
    """

    name: str
    format: Format
    precision: str
    sha256: str
    size_bytes: int
    path: str
    operators: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A release that the next one is held against.

    Attributes:
        name: Of the run.
        commit: Of the repository that it was promoted in, with `+` where that had changes; empty is unknown.
        promoted_at: ISO 8601, UTC; empty of a run that was not promoted.
        edgekd: The version that promoted it.
        recipe: Its text; empty of a benchmark of bare files.
        overrides: What the command line set in place of the recipe's.
        data: Hash of the data's bytes and of how they are split; empty is unknown.
        test_split: Hash of the test samples and their labels alone; empty is unknown.
        teachers: sha256 of each by name.
        environment: Versions of what made and measured the files.
        measurements: Of the files, without what no later gate looks at.
        release: The verdict it was promoted with.
    """

    name: str
    commit: str = ""
    promoted_at: str = ""
    edgekd: str = ""
    recipe: str = ""
    overrides: tuple[str, ...] = ()
    data: str = ""
    test_split: str = ""
    teachers: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    files: tuple[ReleasedFile, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    release: Release | None = None
