"""Finds files by name or by path, and reads them."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path

from edgekd.config.reader import Table
from edgekd.errors import ConfigError, did_you_mean

PACKAGE = Path(__file__).parent.parent
RECIPES = PACKAGE / "recipes"


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that ship with edgekd.

    >>> "digits" in recipe_names()
    True
    """
    return tuple(files_in(RECIPES))


def files_in(*folders: Path, without: Collection[Path] = ()) -> dict[str, Path]:
    """Find TOML files by name; of several with one name that in the last folder, unless it is left out."""
    found = {file.stem: file for folder in folders for file in folder.glob("*.toml") if file.resolve() not in without}
    return dict(sorted(found.items()))


def find(source: str, named: Mapping[str, Path], what: str) -> Path:
    """Find a file by name, or by path."""
    if source.endswith(".toml") or "/" in source:
        path = Path(source)
        if os.path.isfile(source):  # noqa: PTH113 - Path.is_file raises on names that are too long
            return path
        raise ConfigError(f"no such {what} file", where=source)
    if source in named:
        return named[source]
    raise ConfigError(
        f"unknown {what} '{source}'",
        allowed=f"{', '.join(named)}, or the path of a .toml file",
        next_step=did_you_mean(source, named),
    )


def read_text(path: Path) -> str:
    """Read a text file, or say in one line why not."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError("not a text file", where=str(path)) from None
    except OSError as error:
        raise ConfigError(f"can't read it: {error.strerror}", where=str(path)) from None


def parse(text: str, where: str) -> Table:
    """Parse TOML, or say where it is wrong."""
    try:
        return tomllib.loads(text)
    except ValueError as error:  # tomllib's own, and Python's for integers of thousands of digits
        raise ConfigError(f"not valid TOML: {error}", where=where) from None
    except RecursionError:
        raise ConfigError("not valid TOML: nested too deeply", where=where) from None
