"""What a run or a benchmark says of itself, read in the same way from its folder and from a bundle."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote

from edgekd.config import read_table
from edgekd.errors import StoreError
from edgekd.measurements import parse_measurements
from edgekd.parsing import parse_json
from edgekd.pipeline.folder import MANIFEST, OVERRIDES, RECIPE
from edgekd.pipeline.manifest import FORMAT, SHIPPED
from edgekd.records import Manifest, Measurement, Model, Release

T = TypeVar("T")
RELEASE = "gate/release.json"
# What `edgekd bench --out` writes.
BENCH_FILES = ("measurements.json", "operators.json", "report.html", "report.json")
_TRAINED = ("teachers", "assistants", "distill")


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What can be told of a run's files without them.

    Attributes:
        manifest: None of a benchmark of bare files.
        recipe: As TOML has it, with its overrides; empty of such a benchmark.
        models: Files that were exported.
    """

    manifest: Manifest | None
    recipe: Mapping[str, Any]
    models: Sequence[Model]
    measurements: Sequence[Measurement]
    release: Release | None

    @property
    def shipped(self) -> Mapping[str, str]:
        """The sha256 of each file that ships, by path; of a benchmark of each that was measured, by name."""
        if self.manifest is None:
            files = sorted({(each.model, each.model_sha256) for each in self.measurements})
            names = Counter(name for name, _ in files)
            return {name if names[name] == 1 else f"{name} {sha256[:12]}": sha256 for name, sha256 in files}
        return {name: file.sha256 for name, file in self.manifest.files.items() if file.step in SHIPPED}

    @property
    def teachers(self) -> Mapping[str, str]:
        """The sha256 of each teacher, by its file's path, or by its name where that lies elsewhere."""
        if self.manifest is None:
            return {}
        files = {file.sha256: name for name, file in self.manifest.files.items() if file.step == "teachers"}
        return {files.get(sha256, name): sha256 for name, sha256 in self.manifest.teachers.items()}

    @property
    def students(self) -> Mapping[str, str]:
        """The sha256 of each network that was trained on the way, by path."""
        if self.manifest is None:
            return {}
        return {
            name: file.sha256
            for name, file in self.manifest.files.items()
            if file.step in _TRAINED[1:] and not is_bundled(name, file.step)
        }

    @property
    def data(self) -> str:
        """The name of the data's source."""
        return str(self.recipe.get("data", {}).get("source", "data"))

    @property
    def tools(self) -> Mapping[str, tuple[str, str]]:
        """Name and version of what made and measured the files, by package URL."""
        if self.manifest is None:
            runtimes = {(each.conditions.runtime, each.conditions.runtime_version) for each in self.measurements}
            return {_purl("generic", *each): each for each in sorted(runtimes) if all(each)}
        found = [self.manifest.environment, *(step.tools for step in self.manifest.steps.values())]
        pairs = sorted({pair for tools in found for pair in tools.items()})
        return {_purl("pypi", *pair): pair for pair in pairs if pair[0] not in _NO_PACKAGE and pair[1] != "absent"}

    @property
    def measured_between(self) -> tuple[str, str] | None:
        """When the first and the last measurement began, in UTC; nothing where none says it."""
        times = sorted(_time(each.started_at) for each in self.measurements if each.started_at)
        return (_written(times[0]), _written(times[-1])) if times else None


_NO_PACKAGE = ("python", "system")


def is_bundled(name: str, step: str) -> bool:
    """Whether a file of a run goes into its bundle: all but the weights of what does not ship."""
    return step not in _TRAINED or name.endswith(".json")


def read_evidence(names: Collection[str], read: Callable[[str], bytes], where: str) -> Evidence:
    """Read what a run says of itself.

    Args:
        names: Of the files that there are.
        read: Gives the bytes of one.
        where: For errors.

    Raises:
        StoreError: A file is missing, is not what edgekd wrote, or of another format.
        ConfigError: The recipe is none.
    """

    def parse(name: str, kind: type[T]) -> T:
        if name not in names:
            raise StoreError(f"no {name}", where=where)
        return parse_json(read(name), kind, f"{where}: {name}")

    measurements = [
        each
        for name in sorted(names)
        if name.rpartition("/")[2] == "measurements.json" and name.count("/") < 2
        for each in parse_measurements(io.BytesIO(read(name)), f"{where}: {name}")
    ]
    if MANIFEST not in names:
        return Evidence(manifest=None, recipe={}, models=(), measurements=measurements, release=None)
    manifest = parse(MANIFEST, Manifest)
    if manifest.edgekd_manifest != FORMAT:
        raise StoreError(f"a manifest of format {manifest.edgekd_manifest}", where=where, allowed=str(FORMAT))
    if RECIPE not in names:
        raise StoreError(f"no {RECIPE}", where=where)
    try:
        text = read(RECIPE).decode()
    except UnicodeDecodeError:
        raise StoreError("not a text file", where=f"{where}: {RECIPE}") from None
    return Evidence(
        manifest=manifest,
        recipe=read_table(text, parse(OVERRIDES, list[str]), where=f"{where}: {RECIPE}"),
        models=parse("export/models.json", list[Model]) if "export/models.json" in names else (),
        measurements=measurements,
        release=parse(RELEASE, Release) if RELEASE in names else None,
    )


def _purl(kind: str, name: str, version: str) -> str:
    """Name a package for any tool, as https://github.com/package-url/purl-spec has it."""
    return f"pkg:{kind}/{quote(re.sub('[-_.]+', '-', name).lower())}@{quote(version, safe='')}"


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise StoreError(
            f"a measurement says that it began at '{text}'", allowed="a time such as 2026-11-29T12:00:00Z"
        ) from None
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def _written(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
