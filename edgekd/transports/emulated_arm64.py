"""An arm64 Linux on this machine: QEMU runs programs of a root file system, kernels and all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgekd import store
from edgekd.errors import TargetError
from edgekd.progress import Progress, Silent
from edgekd.records import Target
from edgekd.transports import Finding
from edgekd.transports._arm64_making import make_root
from edgekd.transports._arm64_root import (
    command,
    emulator_version,
    environment,
    find_emulator,
    python_of,
    read_root,
    root_folder,
)
from edgekd.transports._setting_up import RUNTIMES
from edgekd.transports.local import LocalTransport

ON_THIS_MACHINE = True


def connect(target: Target) -> EmulatedTransport:
    """Make a scratch folder on this machine; programs run from the root file system.

    Args:
        target: Its `address` is the folder of the root file system; without one it is among the caches.

    Raises:
        TargetError: The root file system or QEMU is missing; says how to get it.

    >>> connect(Target(name="arm64", description="", runtimes=(), address="nowhere"))
    Traceback (most recent call last):
    edgekd.errors.TargetError: arm64: no arm64 root file system in nowhere; make it: edgekd targets setup arm64
    """
    return EmulatedTransport(target)


class EmulatedTransport(LocalTransport):
    """Runs arm64 programs in a temporary folder of this machine; neither binfmt_misc nor root is needed.

    Args:
        target: Its `address` is the folder of the root file system.
    """

    def __init__(self, target: Target) -> None:
        self._root = read_root(target)
        self._folder = root_folder(target).resolve()
        self._emulator = find_emulator(self._folder, target.name)
        super().__init__(target)
        self.python = python_of(self._folder)

    def _command(self, argv: Sequence[str]) -> Sequence[str]:
        return command(self._emulator, self._folder, self._root.processor, argv)

    def _environment(self) -> Mapping[str, str]:
        return environment()

    def check(self) -> tuple[Finding, ...]:
        """Look at QEMU, at Python there, whether its packages are of this environment's versions, and at the disk."""
        again = f"edgekd targets setup {self._target}"
        try:
            done = self.run([self.python, "-c", "import platform; print(platform.machine())"], 60)
        except TargetError as error:
            runs, detail = False, error.what
        else:
            runs = done.stdout.strip() == "aarch64"
            detail = f"{self._root.python} on {self._root.processor}" if runs else done.stderr.strip()[-200:]
        here = store.tool_versions(*RUNTIMES)
        # Parity of files compares kernels, so all else must be equal.
        others = {name: version for name, version in self._root.wheels.items() if here.get(name) not in (version, None)}
        found = ", ".join(f"{name} {version}" for name, version in self._root.wheels.items())
        return (
            Finding(name="emulator", right=True, detail=f"{emulator_version(self._emulator)} at {self._emulator}"),
            Finding(name="python", right=runs, detail=detail, next_step="" if runs else again),
            Finding(
                name="packages",
                right=not others,
                detail=found + "".join(f"; {name} is {here[name]} on this machine" for name in others),
                next_step=again if others else "",
            ),
            *(each for each in super().check() if each.name != "python"),
        )


def set_up(
    target: Target, *, source: Path | None = None, keep: Path | None = None, progress: Progress | None = None
) -> None:
    """Make the root file system, in place of one that is there.

    Args:
        target: Its `address` says where; without one it is among the caches.
        source: A folder with Debian packages and wheels; without one they are downloaded.
        keep: A folder that what was downloaded is copied into, to be the `source` on a machine without network.
        progress: Hears how far it is.

    Raises:
        TargetError: Something can't be had, or does not run; what was there before stays.
    """
    make_root(root_folder(target), target.name, source=source, keep=keep, progress=progress or Silent())


def state(target: Target) -> Finding:
    """Say whether the root file system is there, in no time."""
    try:
        root = read_root(target)
        find_emulator(root_folder(target), target.name)
    except TargetError as error:
        return Finding(
            name=target.name, right=False, detail=error.what, next_step=f"edgekd targets setup {target.name}"
        )
    return Finding(name=target.name, right=True, detail=f"Python {root.python} in {root_folder(target)}")


def facts(target: Target) -> Mapping[str, object]:
    """All that outputs from there depend on, besides the file: for fingerprints.

    Raises:
        TargetError: It is not set up.
    """
    emulator = find_emulator(root_folder(target), target.name)
    return {"root": read_root(target), "emulator": emulator_version(emulator)}
