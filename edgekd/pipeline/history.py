"""Which history a run belongs to, and what goes into it."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from edgekd import history
from edgekd.errors import StoreError
from edgekd.pipeline.folder import RECIPE, is_run
from edgekd.records import PastGate, Release, Run

HISTORY, VARIABLE, OFF = "history.sqlite", "EDGEKD_HISTORY", "off"
# What CI calls the commit that it checked out; a run folder there may lie outside the checkout.
_COMMITS = ("GITHUB_SHA", "CI_COMMIT_SHA")
_GIT_LIMIT_S = 2.0
_RUNS = Path("runs")
_LAST_IN_REPORT = 30


@dataclass(frozen=True, kw_only=True)
class Past:
    """What a history holds of what was asked for.

    Attributes:
        file: The history.
        recipe: That gates were asked for of; `None` is all.
        gates: Oldest first.
    """

    file: Path
    recipe: str | None
    gates: tuple[PastGate, ...]


def remember(release: Release, run: Run, *, file: Path | None = None, now: datetime | None = None) -> StoreError | None:
    """Add a gate to the history of its run: `$EDGEKD_HISTORY`, unless that is `off`, or a file beside the run folder.

    Folders of files that are no runs have none of their own.

    Args:
        release: The verdict.
        run: What was gated.
        file: Another history.
        now: When; the present where not given.

    Returns:
        Why it could not be written, if so: a verdict stands without it.
    """
    if file is None and os.environ.get(VARIABLE) == OFF:
        return None
    if file is None and _named() is None and not is_run(run.folder):
        return None  # nobody looks for a history beside a folder of files
    try:
        gate = history.past_gate(release, run, gated_at=now or datetime.now(UTC), commit=_commit_of(run.folder))
        history.append(file or _file_of(run.folder), gate)
    except StoreError as error:
        return error
    return None


def recall(place: Path | None, *, last: int | None = None) -> Past:
    """Read the history that a path means.

    Args:
        place: A history; a folder in which there is one, such as `runs`; or a run folder, of which only the gates of
            its recipe are read. `None` is `$EDGEKD_HISTORY`, else that of `runs`.
        last: At most so many gates of each recipe; all where not given.

    Raises:
        StoreError: There is none, or it can't be read.
    """
    named, recipe = _named(), None
    if place is None:
        file = named or _RUNS / HISTORY
    elif not place.is_dir():
        file = place
    elif (place / HISTORY).exists():
        file = place / HISTORY
    else:
        file, recipe = _file_of(place), _recipe_of(place)
    return Past(file=file, recipe=recipe, gates=history.read(file, recipe=recipe, last=last))


def with_past(run: Run) -> tuple[Run, StoreError | None]:
    """Give a run the gates of its recipe; and say why not, where there is a history that can't be read."""
    file = _file_of(run.folder)
    if not file.exists():
        return run, None
    try:
        gates = history.read(file, recipe=_recipe_of(run.folder), last=_LAST_IN_REPORT)
    except StoreError as error:
        return run, error
    return replace(run, past_gates=gates), None


def _named() -> Path | None:
    name = os.environ.get(VARIABLE)
    return Path(name) if name and name != OFF else None


def _file_of(folder: Path) -> Path:
    return _named() or folder.resolve().parent / HISTORY


def _recipe_of(folder: Path) -> str:
    try:
        text = (folder / RECIPE).read_text(encoding="utf-8")
    except FileNotFoundError:
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"can't read it: {error}", where=str(folder / RECIPE)) from None
    return history.recipe_name(text, folder.resolve().name)


def _commit_of(folder: Path) -> str:
    """The commit that a folder's repository is at, if it is in one; nothing where git doesn't say at once."""
    named = [os.environ[name] for name in _COMMITS if re.fullmatch("[0-9a-f]{7,64}", os.environ.get(name, ""))]
    if named:
        return named[0]
    try:
        done = subprocess.run(
            ["git", "-C", folder, "rev-parse", "--verify", "--quiet", "HEAD"],
            capture_output=True,
            text=True,
            check=False,
            timeout=_GIT_LIMIT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
