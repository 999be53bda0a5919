"""The SQLite file that gates are kept in."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgekd.errors import StoreError, write_error
from edgekd.records import PastFigure, PastGate
from edgekd.text import printable

# In the file's header, by which `file` and we tell it from any other database: "edkd".
_APPLICATION = 0x65646B64
# What makes the schema of each version from the one before it. Only ever added to: files of all versions are out there.
_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE gates (
            id INTEGER PRIMARY KEY,
            gated_at TEXT NOT NULL, recipe TEXT NOT NULL, run TEXT NOT NULL, status TEXT NOT NULL,
            fingerprint TEXT NOT NULL, recipe_sha256 TEXT NOT NULL, "commit" TEXT NOT NULL, version TEXT NOT NULL
        )
        """,
        """
        CREATE TABLE figures (
            gate INTEGER NOT NULL REFERENCES gates (id),
            metric TEXT NOT NULL, statistic TEXT NOT NULL, reference TEXT NOT NULL, part TEXT NOT NULL,
            model TEXT NOT NULL, format TEXT NOT NULL, precision TEXT NOT NULL, target TEXT NOT NULL,
            unit TEXT NOT NULL, observed REAL, low REAL, high REAL,
            bound TEXT NOT NULL, "limit" REAL, written TEXT NOT NULL, status TEXT NOT NULL
        )
        """,
        "CREATE INDEX gates_of_recipe ON gates (recipe, run)",
        "CREATE INDEX figures_of_gate ON figures (gate)",
    ),
)
_ADD_GATE = """
    INSERT INTO gates (gated_at, recipe, run, status, fingerprint, recipe_sha256, "commit", version)
    VALUES (:gated_at, :recipe, :run, :status, :fingerprint, :recipe_sha256, :commit, :version)
"""
_ADD_FIGURE = """
    INSERT INTO figures VALUES (
        :gate, :metric, :statistic, :reference, :part, :model, :format, :precision, :target,
        :unit, :observed, :low, :high, :bound, :limit, :written, :status
    )
"""
_LAST_OF_RUN = "SELECT fingerprint FROM gates WHERE recipe = ? AND run = ? ORDER BY id DESC LIMIT 1"
_GATES = """
    SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY recipe ORDER BY id DESC) AS age FROM gates)
    WHERE age <= :last AND (:recipe IS NULL OR recipe = :recipe) ORDER BY id
"""
_FIGURES = "SELECT * FROM figures WHERE gate = ? ORDER BY rowid"
_PATIENCE_S = 5.0
# No name is longer; a file that claims so is not taken into memory.
_MOST_BYTES = 1_000_000
_NUMBERS = {"observed", "low", "high", "limit"}


def append(file: Path, gate: PastGate) -> bool:
    """Add a gate to a history; nothing if it is the last one of its run once more.

    Several processes may do so at the same time. One that is killed leaves the gate there whole or not at all.

    Args:
        file: Made when missing, with its folder.
        gate: What to add.

    Returns:
        Whether it was added.

    Raises:
        StoreError: The file can't be written, is none of ours, damaged, of a newer edgekd, or kept busy by others.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "history.sqlite"
    >>> gate = PastGate(gated_at="2026-11-29T12:00:00Z", recipe="digits", run="digits", status="pass", fingerprint="f1")
    >>> append(file, gate), append(file, gate), len(read(file))
    (True, False, 1)
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        refusal = write_error(file.parent, error)
        raise StoreError(refusal.what, where=refusal.where) from error
    with _opened(file, "rwc") as connection, _transaction(connection):
        _migrate(connection, file)
        row = _columns(gate)
        last = connection.execute(_LAST_OF_RUN, (row["recipe"], row["run"])).fetchone()
        if last and last["fingerprint"] == gate.fingerprint:
            return False
        number = connection.execute(_ADD_GATE, row).lastrowid
        connection.executemany(_ADD_FIGURE, [{"gate": number, **_columns(each)} for each in gate.figures])
        return True


def read(file: Path, *, recipe: str | None = None, last: int | None = None) -> tuple[PastGate, ...]:
    """Read gates back, oldest first: in the order in which they were added, whatever clocks said.

    Args:
        file: A history.
        recipe: Only its gates.
        last: At most so many of each recipe.

    Raises:
        StoreError: No such file, one that is none of ours, damaged, or of a newer edgekd.
    """
    if not _is_there(file):
        raise StoreError("no history here", where=str(file), next_step="each `edgekd gate RUN` adds to it")
    with _opened(file, "rw") as connection, _transaction(connection, "DEFERRED"):
        version = _version(connection, file)
        if version == 0:  # a process was killed before its first gate was in
            return ()
        if version < len(_MIGRATIONS):
            raise StoreError(
                f"a history of schema {version}; this edgekd reads {len(_MIGRATIONS)}",
                where=str(file),
                next_step="the next `edgekd gate` that may write it brings it up to date",
            )
        limits = {"last": last or 2**62, "recipe": recipe and printable(recipe)}
        gates = connection.execute(_GATES, limits).fetchall()
        return tuple(
            PastGate(
                **_texts_and_numbers(PastGate, gate),
                figures=tuple(
                    PastFigure(**_texts_and_numbers(PastFigure, each))
                    for each in connection.execute(_FIGURES, (gate["id"],))
                ),
            )
            for gate in gates
        )


def _is_there(file: Path) -> bool:
    """Whether there is a file; opening a pipe would wait forever."""
    try:
        mode = file.stat().st_mode
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreError(f"can't read it: {error.strerror}", where=str(file)) from None
    if not stat.S_ISREG(mode):
        raise StoreError("a folder, or otherwise no file", where=str(file), allowed="a file, such as history.sqlite")
    return True


@contextlib.contextmanager
def _opened(file: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """Open a database; whatever SQLite says against it is an error of the user's world, not of ours."""
    _is_there(file)
    try:
        # With "rw" SQLite undoes what a killed process left half-done, where it may write, and only reads elsewhere.
        uri = f"{file.absolute().as_uri()}?mode={mode}"
        connection = sqlite3.connect(uri, uri=True, timeout=_PATIENCE_S, isolation_level=None)
        with contextlib.closing(connection):
            connection.row_factory = sqlite3.Row
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_BYTES)
            connection.execute("PRAGMA trusted_schema = OFF")
            yield connection
    except sqlite3.Error as error:
        raise StoreError(f"can't use it as a history: {error}", where=str(file)) from error


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    connection.execute(f"BEGIN {kind}")
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def _version(connection: sqlite3.Connection, file: Path) -> int:
    """The version of the schema; 0 is an empty file.

    Raises:
        StoreError: It is none of ours, or of a newer edgekd.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    kinds = [kind for (kind,) in connection.execute("SELECT type FROM sqlite_master")]
    # Views and triggers are code, and none is ours.
    if {*kinds} - {"table", "index"} or (application != _APPLICATION and (kinds or application or version)):
        raise StoreError(
            "a database, but no history of edgekd", where=str(file), next_step="name another file with --history"
        )
    if version > len(_MIGRATIONS):
        raise StoreError(
            f"a history of schema {version}; this edgekd knows {len(_MIGRATIONS)}",
            where=str(file),
            next_step="use the edgekd that wrote it, or a newer one",
        )
    return int(version)


def _migrate(connection: sqlite3.Connection, file: Path) -> None:
    version = _version(connection, file)
    for statement in (each for statements in _MIGRATIONS[version:] for each in statements):
        connection.execute(statement)
    if version < len(_MIGRATIONS):  # pragmas take no parameters
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")


def _columns(record: PastGate | PastFigure) -> dict[str, Any]:
    return {
        field.name: printable(value) if isinstance(value := getattr(record, field.name), str) else value
        for field in dataclasses.fields(record)
        if field.name != "figures"
    }


def _texts_and_numbers(kind: type[PastGate | PastFigure], row: sqlite3.Row) -> dict[str, Any]:
    """The fields of a record; a database may hold anything in any column."""
    return {
        field.name: _number(row[field.name]) if field.name in _NUMBERS else printable(str(row[field.name]))
        for field in dataclasses.fields(kind)
        if field.name != "figures"
    }


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
