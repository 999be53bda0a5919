"""Comparisons in turns, as `edgekd compare` keeps them, of files of a run with those of the last release."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from edgekd import store
from edgekd.errors import StoreError
from edgekd.records import Comparison

_log = logging.getLogger("edgekd")
FOLDER, NAME = "comparisons", "comparison.json"
_MOST_BYTES = 64 * 2**20


def read_comparisons(
    files: Sequence[Path], run: Path, *, before: Collection[str], after: Collection[str]
) -> tuple[Comparison, ...]:
    """Read comparisons: those that were asked for, and those below the run's folder `comparisons`.

    Args:
        files: `comparison.json`, or the folder that `edgekd compare --out` wrote.
        run: The run folder.
        before: sha256 of the files of the last release.
        after: sha256 of the files of this one.

    Returns:
        All of them; of the run's own only those that are between the two.

    Raises:
        StoreError: Not what `edgekd compare` wrote, or one that was asked for is of other files.
    """
    found = []
    for file in files:
        comparison = _read(file / NAME if file.is_dir() else file)
        if why := _why_not(comparison, before, after):
            raise StoreError(why, where=str(file), next_step="compare the released file with the one of this run")
        found.append(comparison)
    for file in sorted({*(run / FOLDER).glob("*.json"), *(run / FOLDER).glob(f"*/{NAME}")}):
        comparison = _read(file)
        if why := _why_not(comparison, before, after):
            _log.info("%s: left out: %s", file, why)  # of an earlier baseline, or an earlier file
        else:
            found.append(comparison)
    return tuple(found)


def _read(file: Path) -> Comparison:
    if file.is_file() and file.stat().st_size > _MOST_BYTES:
        raise StoreError(f"{file.stat().st_size} bytes", where=str(file), allowed=f"at most {_MOST_BYTES}")
    return store.read_json(file, Comparison)


def _why_not(comparison: Comparison, before: Collection[str], after: Collection[str]) -> str | None:
    """Why a comparison says nothing here, if so."""
    first, second = comparison.first_sha256, comparison.second_sha256
    if first in before and second in after:
        return None
    if first in after and second in before:
        return f"a comparison the other way round: {comparison.second} of the last release must come first"
    if first not in before:
        return f"a comparison with {comparison.first} (sha256 {first[:12]}), which is not of the last release"
    return f"a comparison of {comparison.second} (sha256 {second[:12]}), which is not of this run"
