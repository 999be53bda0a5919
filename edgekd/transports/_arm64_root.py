"""Where the arm64 root file system lies, what is in it, and how its programs are started."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekd import store
from edgekd.errors import StoreError, TargetError
from edgekd.records import Target

# Of Raspberry Pi 5 and of phones since 2019: with dot products, without SVE and the instructions after it.
PROCESSOR = "cortex-a76"
EMULATORS = ("qemu-aarch64-static", "qemu-aarch64")
_FACTS = "root.json"
_SET_UP = "edgekd targets setup"


@dataclass(frozen=True, kw_only=True)
class Root:
    """What a root file system holds.

    Attributes:
        processor: That programs see, as QEMU calls it.
        python: Its version.
        wheels: Versions by distribution.
        packages: Debian's, versions by name.
    """

    processor: str
    python: str
    wheels: Mapping[str, str]
    packages: Mapping[str, str]


def root_folder(target: Target) -> Path:
    """The target's `address`, else a place among the caches.

    >>> root_folder(Target(name="far", description="", runtimes=(), address="roots/arm64")).as_posix()
    'roots/arm64'
    """
    return Path(target.address).expanduser() if target.address else store.cache_place("arm64-root")


def read_root(target: Target) -> Root:
    """Read what a root file system says of itself.

    Raises:
        TargetError: It is not there, or not one.
    """
    folder = root_folder(target)
    try:
        return store.read_json(folder / _FACTS, Root)
    except StoreError as error:
        raise TargetError(
            f"no arm64 root file system in {folder}" if not (folder / _FACTS).exists() else f"{folder}: {error.what}",
            where=target.name,
            next_step=f"make it: {_SET_UP} {target.name}",
        ) from None


def write_root(folder: Path, root: Root) -> None:
    """Write it last: a folder without it is none."""
    store.write_json(folder / _FACTS, root)


def find_emulator(folder: Path, target: str) -> Path:
    """Find QEMU on the path, else the one that the set-up unpacked.

    Raises:
        TargetError: There is none.
    """
    for name in EMULATORS:
        if found := shutil.which(name):
            return Path(found)
        if (folder / name).is_file():
            return folder / name
    raise TargetError(
        f"no {EMULATORS[0]} on the path or in {folder}",
        where=target,
        next_step=f"install qemu-user-static, or: {_SET_UP} {target}",
    )


def emulator_version(emulator: Path) -> str:
    """Say which QEMU it is; results may depend on it."""
    done = subprocess.run([emulator, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0].strip() or f"exit code {done.returncode}"


def command(emulator: Path, folder: Path, processor: str, argv: Sequence[str]) -> list[str]:
    """Put the emulator before a program; what the program opens is looked for in the root first.

    Raises:
        FileNotFoundError: There is no such program in the root.
    """
    name = argv[0]
    places = [folder / name.lstrip("/"), Path(name)] if "/" in name else [folder / "usr" / "bin" / name]
    program = next((place for place in places if place.is_file()), None)
    if program is None:
        raise FileNotFoundError(2, "no such program in the arm64 root file system")
    return [str(emulator), "-cpu", processor, "-L", str(folder), str(program), *argv[1:]]


def environment() -> dict[str, str]:
    """Variables of programs there: those of this process are of another Python and other libraries."""
    kept = {key: os.environ[key] for key in ("HOME", "TMPDIR") if key in os.environ}
    return {"PATH": "/usr/bin", "LC_ALL": "C.UTF-8", **kept}


def python_of(folder: Path) -> str:
    """The interpreter, by its full name: what it finds its modules by."""
    return str((folder / "usr" / "bin" / "python3").resolve())
