"""This machine."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from edgekd.errors import TargetError
from edgekd.records import Target
from edgekd.transports import Finding, Finished, find_room
from edgekd.transports._running import Running, kill_group

ON_THIS_MACHINE = True


def connect(target: Target) -> LocalTransport:
    r"""Make a scratch folder on this machine.

    Args:
        target: Its name is used in errors.

    >>> from edgekd.records import Target
    >>> with connect(Target(name="host", description="", runtimes=())) as transport:
    ...     transport.run(["echo", "a b", "$HOME"], timeout_s=10).stdout
    'a b $HOME\n'
    """
    return LocalTransport(target)


class LocalTransport:
    """Runs programs on this machine, in a temporary folder.

    Args:
        target: Its name is used in errors.
    """

    def __init__(self, target: Target) -> None:
        self.python: str = sys.executable
        self._target = target.name
        self._scratch = Path(tempfile.mkdtemp(prefix="edgekd-"))
        self._pushed = 0
        self._running = Running()

    def push(self, local: Path) -> str:
        """Link a file into the scratch folder, or copy it where the file system can't link.

        Raises:
            TargetError: It can't be read or copied.
        """
        folder = self._scratch / str(self._pushed)
        remote = folder / local.name
        try:
            folder.mkdir()
            self._pushed += 1
            try:
                os.link(local.resolve(strict=True), remote)
            except OSError:
                shutil.copyfile(local, remote)
        except OSError as error:
            raise TargetError(f"can't copy {local}: {error.strerror}", where=self._target) from None
        return str(remote)

    def run(self, argv: Sequence[str], timeout_s: float) -> Finished:
        """Run a program in the scratch folder.

        Raises:
            TargetError: It could not be started or took longer than `timeout_s`; its whole process group is killed.
        """
        try:
            # A session of its own: what the program starts in turn is in its group and dies with it.
            process = subprocess.Popen(
                self._command(argv),
                env=self._environment(),
                cwd=self._scratch,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise TargetError(f"can't run '{argv[0]}': {error.strerror}", where=self._target) from None
        with process, self._running.noted(process):
            try:
                stdout, stderr = process.communicate(timeout=timeout_s)
            except BaseException as error:  # Ctrl-C too must not leave it running
                kill_group(process)
                if isinstance(error, subprocess.TimeoutExpired):
                    took = f"'{argv[0]}' took longer than {timeout_s:g} s"
                    raise TargetError(took, where=self._target) from None
                raise
        return Finished(
            code=process.returncode,
            stdout=stdout.decode("utf-8", "replace"),
            stderr=stderr.decode("utf-8", "replace"),
        )

    def _command(self, argv: Sequence[str]) -> Sequence[str]:
        """What this machine starts to run a program; emulation starts an emulator."""
        return argv

    def _environment(self) -> Mapping[str, str] | None:
        """Environment variables of programs; none are this process's own."""
        return None

    def pull(self, remote: str, local: Path) -> None:
        """Copy a file back.

        Raises:
            TargetError: There is no such file.
        """
        try:
            shutil.copyfile(remote, local)
        except OSError as error:
            raise TargetError(f"can't fetch {remote}: {error.strerror}", where=self._target) from None

    def check(self) -> tuple[Finding, ...]:
        """Look at Python and the room in the scratch folder."""
        free = shutil.disk_usage(self._scratch).free
        return (
            Finding(name="python", right=True, detail=f"{platform.python_version()} at {self.python}"),
            find_room(free, str(self._scratch.parent), "set TMPDIR to a folder with more room"),
        )

    def close(self) -> None:
        """End what still runs, and remove the scratch folder."""
        self._running.end()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
