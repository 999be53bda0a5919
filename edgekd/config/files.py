"""Finds and reads recipes and targets: shipped by name, the user's own by path."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path

from edgekd import registry
from edgekd.config.reader import Table, build
from edgekd.errors import ConfigError, EdgekdError, did_you_mean
from edgekd.records import IoType, Target

_PACKAGE = Path(__file__).parent.parent
RECIPES = _PACKAGE / "recipes"
# In a wheel the targets lie inside the package, in a checkout at the top.
TARGETS = next(folder for folder in (_PACKAGE / "_targets", _PACKAGE.parent / "targets") if folder.is_dir())


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that ship with edgekd.

    >>> "digits" in recipe_names()
    True
    """
    return tuple(sorted(file.stem for file in RECIPES.glob("*.toml")))


def target_names() -> tuple[str, ...]:
    """Names of the targets that ship with edgekd.

    >>> "host" in target_names()
    True
    """
    return tuple(sorted(file.stem for file in TARGETS.glob("*.toml")))


def load_target(source: str) -> Target:
    """Read a target by the name of a shipped one or by path.

    Raises:
        ConfigError: Unknown, or wrong keys.

    >>> load_target("host").transport
    'local'
    """
    path = find(source, TARGETS, "target")
    table = parse(read_text(path), str(path))
    if "name" in table:
        raise ConfigError("unknown key 'name'", where=path.name, next_step="a target is named by its file")
    target = build(Target, {"name": path.stem, **table}, where=path.name, folder=path.parent)
    # Found out now, not after hours of training.
    for key, kind, name in (
        ("transport", "transports", target.transport),
        *(("runtimes", "runtimes", name) for name in target.runtimes),
    ):
        try:
            registry.describe(kind, name)
        except EdgekdError as error:
            raise ConfigError(
                f"{error.what} of target '{path.stem}'",
                where=f"{path.name}: {key}",
                allowed=error.allowed,
                next_step=error.next_step,
            ) from None
    return target


def common_io(targets: Sequence[Target]) -> IoType | None:
    """Find the type of input and output that the apps of all targets hand over; `None` where no target says.

    Args:
        targets: The first one's first choice that the others take too is taken.

    Raises:
        ConfigError: They have none in common.

    >>> phone = Target(name="phone", description="", runtimes=("litert",), io=("uint8", "float32"))
    >>> common_io([load_target("host"), phone])
    'uint8'
    """
    telling = [target for target in targets if target.io]
    if not telling:
        return None
    for each in telling[0].io:
        if all(each in target.io for target in telling):
            return each
    wanted = "; ".join(f"{target.name}: {', '.join(target.io)}" for target in telling)
    raise ConfigError(
        f"no type of input and output suits all targets ({wanted})",
        where="benchmark.targets",
        next_step="set export.io, or make a recipe for each",
    )


def find(source: str, shipped: Path, what: str) -> Path:
    """Find a file by name among the shipped ones, or by path."""
    if source.endswith(".toml") or "/" in source:
        path = Path(source)
        if os.path.isfile(source):  # noqa: PTH113 - Path.is_file raises on names that are too long
            return path
        raise ConfigError(f"no such {what} file", where=source)
    known = sorted(file.stem for file in shipped.glob("*.toml"))
    if source in known:
        return shipped / f"{source}.toml"
    raise ConfigError(
        f"unknown {what} '{source}'",
        allowed=f"{', '.join(known)}, or the path of a .toml file",
        next_step=did_you_mean(source, known),
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
