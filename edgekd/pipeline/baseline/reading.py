"""Finds the last release wherever it is kept: a folder, a file, a commit, the web."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgekd.errors import StoreError
from edgekd.pipeline.baseline import git
from edgekd.pipeline.baseline.file import MOST_BYTES, decode
from edgekd.pipeline.baseline.promoting import describe_run, places
from edgekd.pipeline.folder import MANIFEST, check_files
from edgekd.pipeline.gating import check_names, open_for_gate
from edgekd.records import Baseline, ReleasedFile
from edgekd.store import sha256_of

# Where `edgekd promote` writes, from where it is called; and where it is looked for at a git ref.
DEFAULT = ".edgekd/baseline.json"
_ALLOWED = "a run folder, a baseline.json, a manifest.json, REF[:PATH] of git, or an https URL"
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_LFS = b"version https://git-lfs"


@dataclass(frozen=True, kw_only=True)
class LastRelease:
    """A baseline, and where it was found.

    Attributes:
        source: As people gave it, without what may be secret in an URL.
        places: Where its model files lie, by name, as far as that is known.
    """

    baseline: Baseline
    source: str
    places: Mapping[str, Path] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Its name, and where it comes from.

        >>> LastRelease(baseline=Baseline(name="digits", commit="0123456789abcdef"), source="v1.2.0").title
        'digits (v1.2.0, commit 01234567)'
        """
        commit = f", commit {self.baseline.commit[:8]}" if self.baseline.commit else ""
        return f"{self.baseline.name} ({self.source}{commit})"


def find_baseline(text: str) -> LastRelease:
    """Read the last release.

    Args:
        text: A path, if there is such a file or folder; else an URL, if it looks like one; else a git ref.

    Raises:
        StoreError: No baseline there, one of another version, or damaged; it says what was tried.

    >>> find_baseline("ftp://example.org/baseline.json")
    Traceback (most recent call last):
    edgekd.errors.StoreError: ftp://example.org/baseline.json: can't fetch it: 'ftp' is not allowed here; ...
    """
    if not text.isprintable() or not text:
        raise StoreError(f"no baseline: {text!r}", where="--baseline", allowed=_ALLOWED)
    if os.path.exists(text):  # noqa: PTH110 - false where Path.exists raises, as on a name that is too long
        return _checked(_of_path(Path(text)))
    if _SCHEME.match(text):
        from edgekd.pipeline.baseline import web  # TLS takes its time to load

        content = web.fetch(text, limit_bytes=MOST_BYTES)
        return _checked(_of_content(content, web.shown(text)))
    ref, _, path = text.partition(":")
    try:
        content = git.read_blob(ref, path or DEFAULT, limit_bytes=MOST_BYTES)
    except StoreError as error:
        where = f"{error.where}: " if error.where else ""
        raise StoreError(
            f"no baseline '{text}': there is no such file or folder, and as a git ref: {where}{error.what}",
            where="--baseline",
            allowed=error.allowed or _ALLOWED,
            next_step=error.next_step,
        ) from None
    if content.startswith(_LFS):
        raise StoreError("git has a pointer of Git LFS there", where=text, next_step="keep the baseline outside of LFS")
    return _checked(_of_content(content, text))


def _of_path(path: Path) -> LastRelease:
    if path.is_dir():
        return _of_folder(path)
    if path.name == MANIFEST:
        return _of_folder(path.parent)
    return _of_content(_read(path), str(path))


def _of_folder(folder: Path) -> LastRelease:
    for name in (DEFAULT, Path(DEFAULT).name):
        if (folder / name).is_file():
            return _of_path(folder / name)
    run = open_for_gate(folder)
    check_files(run)
    return LastRelease(baseline=describe_run(run), source=str(folder), places=places(run))


def _of_content(content: bytes, source: str) -> LastRelease:
    baseline = decode(content, source)
    there = {file.name: place for file in baseline.files if (place := _place(file))}
    return LastRelease(baseline=baseline, source=source, places=there)


def _place(file: ReleasedFile) -> Path | None:
    """Where a file lies still, if it does: below here, with the same bytes."""
    path = Path(file.path)
    is_below = not path.is_absolute() and ".." not in path.parts
    return path if is_below and path.is_file() and sha256_of(path) == file.sha256 else None


def _read(path: Path) -> bytes:
    if not path.is_file():  # a pipe would never end
        raise StoreError("no regular file", where=str(path), allowed=_ALLOWED)
    if path.stat().st_size > MOST_BYTES:
        raise StoreError(f"{path.stat().st_size} bytes", where=str(path), allowed=f"at most {MOST_BYTES}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"can't read it: {error.strerror}", where=str(path)) from None


def _checked(found: LastRelease) -> LastRelease:
    """Refuse names that CI or a terminal would take for commands."""
    baseline = found.baseline
    check_names((baseline.name, *(each.name for each in baseline.files), *(each.path for each in baseline.files)))
    check_names(each.target for each in baseline.measurements)
    return found
