"""Tells a verdict to CI: files of any format, and GitHub's own channels."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from edgekd import registry, store
from edgekd.announcers import markdown
from edgekd.config import budget_lines
from edgekd.errors import ConfigError, EdgekdError
from edgekd.records import Budget, Place, Release, Run
from edgekd.text import STEP_SUMMARY_BYTES

_KIND = "announcers"


def read_wishes(texts: Sequence[str]) -> tuple[tuple[str, Path], ...]:
    """Read what people ask for as `FORMAT=FILE`, and check that each format is known.

    Raises:
        ConfigError: Everything that is wrong, at once.

    >>> [(name, str(path)) for name, path in read_wishes(["junit=edgekd.xml"])]
    [('junit', 'edgekd.xml')]
    """
    wishes: list[tuple[str, Path]] = []
    problems: list[EdgekdError] = []
    for text in texts:
        try:
            wishes.append(_read_wish(text))
        except ConfigError as error:
            problems.append(error)
    if problems:
        raise ConfigError.of(problems)
    return tuple(wishes)


def _read_wish(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    if not path:
        raise ConfigError(f"'{text}' is no format and file", where="--write", allowed="FORMAT=FILE")
    registry.describe(_KIND, name)
    return name, Path(path)


def find_places(file: Path, budgets: Sequence[Budget]) -> dict[Budget, Place]:
    """Say where budgets are written in the file that they were read from; nothing where that is not clear."""
    lines = budget_lines(file)
    if len(lines) != len(budgets):
        return {}
    name = _from_here(file).as_posix()
    return {
        budget: Place(file=name, line=line)
        for budget, line in reversed(list(zip(budgets, lines, strict=True)))  # of equal budgets the first
    }


def announce(
    wishes: Sequence[tuple[str, Path]], *, release: Release, run: Run, places: Mapping[Budget, Place]
) -> list[EdgekdError]:
    """Write a verdict to files.

    Args:
        wishes: Formats and files.
        release: Of the gate.
        run: What was gated.
        places: Where budgets are written.

    Returns:
        Why files could not be written, if so; the others are.
    """
    errors: list[EdgekdError] = []
    for name, path in wishes:
        try:
            text = announcement(name, release=release, run=run, places=places)
            store.write_bytes(path, text.encode())
        except EdgekdError as error:
            errors.append(EdgekdError(error.what, where=error.where))
    return errors


def announcement(name: str, *, release: Release, run: Run, places: Mapping[Budget, Place]) -> str:
    """A verdict in a format, its files named from where edgekd runs, as CI names those of a repository."""
    named = replace(run, models=tuple(replace(each, path=_from_here(each.path)) for each in run.models))
    known = {"release": release, "run": named, "places": places}
    wanted = registry.passed(_KIND, name)
    text: str = registry.function(_KIND, name)(**{key: value for key, value in known.items() if key in wanted})
    return text


def add_to_step_summary(release: Release, run: Run) -> EdgekdError | None:
    """Add a verdict to the summary of GitHub's step, if there is one; returns why it could not be written, if so."""
    file = os.environ.get("GITHUB_STEP_SUMMARY")
    if not file:
        return None
    path = Path(file)
    try:
        # GitHub shows nothing of a summary that is too long, whoever wrote it.
        used = path.stat().st_size if path.exists() else 0
        text = markdown.write(release=release, run=run, limit_bytes=STEP_SUMMARY_BYTES - used - 1)
        with path.open("a", encoding="utf-8") as summary:
            summary.write(f"{text}\n")
    except OSError as error:
        return EdgekdError(f"can't write it: {error.strerror}", where=file)
    return None


def _from_here(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
