"""Targets: those that ship, the user's own, and files that are like another but for some keys."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from edgekd import registry
from edgekd.config.files import PACKAGE, files_in, find, parse, read_text
from edgekd.config.reader import Table, beside, build
from edgekd.errors import ConfigError, EdgekdError
from edgekd.records import IoType, Target

# In a wheel the targets lie inside the package, in a checkout at the top.
TARGETS = next(folder for folder in (PACKAGE / "_targets", PACKAGE.parent / "targets") if folder.is_dir())


def own_folder() -> Path:
    """Folder of the user's own targets, which may not be there."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "edgekd" / "targets"


def target_files() -> dict[str, Path]:
    """Find the file of every target that can be named; the user's own come before those that ship.

    >>> target_files()["host"].name
    'host.toml'
    """
    return files_in(TARGETS, own_folder())


def load_target(source: str) -> Target:
    """Read a target by name, of the user's own or a shipped one, or by path.

    A file with a key `like` takes over the keys of the target that it names there, and sets others in their place. That
    one is looked for beside the file, among the user's own and among the shipped. A file's own name means the next of
    these: `raspberry-pi-5.toml` of the user's may be like the shipped one.

    Raises:
        ConfigError: Unknown, wrong keys, or `like` goes in a circle.

    >>> load_target("host").transport
    'local'
    """
    path = find(source, target_files(), "target")
    target = build(Target, {"name": path.stem, **_read(path, ())}, where=path.name, folder=path.parent)
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


def load_targets(sources: Sequence[str]) -> list[Target]:
    """Read several targets, as `load_target` does; commas stand between names, too.

    Raises:
        ConfigError: As `load_target`; or two have one name.

    >>> [target.name for target in load_targets(["host,cortex-m4", "ethos-u55-128"])]
    ['host', 'cortex-m4', 'ethos-u55-128']
    """
    names = [name.strip() for source in sources for name in ([source] if Path(source).exists() else source.split(","))]
    found: dict[str, Target] = {}
    for name in names:
        target = load_target(name)
        if target.name in found:
            raise ConfigError(f"target '{target.name}' is named twice", where=", ".join(sources))
        found[target.name] = target
    return list(found.values())


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


def _read(path: Path, readers: tuple[Path, ...]) -> Table:
    """Read a file and what it is like; `readers` are the files that led here."""
    table = parse(read_text(path), str(path))
    if "name" in table:
        raise ConfigError("unknown key 'name'", where=path.name, next_step="a target is named by its file")
    if isinstance(table.get("vela_config"), str):
        table["vela_config"] = beside(table["vela_config"], path.parent)
    if "like" not in table:
        return table
    like = table.pop("like")
    if not isinstance(like, str):
        raise ConfigError(f"{like!r} is no name", where=f"{path.name}: like", allowed="a target, or a .toml file")
    readers = (*readers, path.resolve())
    others = files_in(TARGETS, own_folder(), path.parent, without=readers)
    try:
        base = find(beside(like, path.parent), {**{each.stem: each for each in readers}, **others}, "target")
    except ConfigError as error:
        raise ConfigError(
            error.what, where=f"{path.name}: like", allowed=error.allowed, next_step=error.next_step
        ) from None
    if base.resolve() in readers:
        circle = ", ".join(each.name for each in (*readers, base))
        raise ConfigError(f"goes in a circle: {circle}", where=f"{path.name}: like")
    return {**_read(base, readers), **table}
