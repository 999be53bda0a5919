"""What transports share whose far side is a POSIX shell: a scratch folder, programs, files, and nothing left behind."""

from __future__ import annotations

import abc
import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Self

from edgekd.errors import TargetError
from edgekd.transports import Finished

CONNECT_S = 30.0
_COPY_S = 600.0
_GRACE_S = 5.0
_MARK = "edgekd-connected"
# Lives as long as the connection: when its input ends, however this process ended, the scratch folder goes. Android
# hangs up on it then.
_HOLD = """
trap '' HUP
d=$(mktemp -d "{parent}/edgekd-XXXXXX") || exit 1
p={python}
printf '%s\\n%s\\n%s\\n' {mark} "$d" "$p"
cat >/dev/null
rm -rf "$d"
"""
# When the input ends, so does the program: this process gave up, was killed, or is out of reach.
_RUN = (
    "trap '' HUP; cd {folder} || exit 125; exec 3<&0; {program} 3<&- & p=$!; "
    '{{ cat <&3; kill -KILL -$$ || kill -KILL "$p"; }} >/dev/null 2>&1 & w=$!; wait "$p"; c=$?; kill "$w"; exit "$c"'
)


class ShellTransport(abc.ABC):
    """Runs programs through a client such as ssh, with one session that holds the connection and the scratch folder.

    Args:
        target: Its name, for errors.
        parent: Folder over there that takes the scratch folder; a shell's word.
        python: A shell's expression for the interpreter over there.
    """

    def __init__(self, target: str, *, parent: str, python: str) -> None:
        self._target, self._pushed = target, 0
        self._local = Path(tempfile.mkdtemp(prefix="edgekd-"))
        try:
            self._hold, self._session = self._open(_HOLD.format(parent=parent, python=python, mark=_MARK))
        except BaseException:
            shutil.rmtree(self._local, ignore_errors=True)
            raise

    @abc.abstractmethod
    def _command(self, script: str, *, first: bool) -> list[str]:
        """The client's command line that gives a script to a shell over there; the first one opens the connection."""

    @abc.abstractmethod
    def _refusal(self, said: str) -> TargetError:
        """The error for what the client said when it could not connect."""

    @abc.abstractmethod
    def _may_be_lost(self, done: Finished) -> bool:
        """Whether the client may have said this, and not the program."""

    def _open(self, script: str) -> tuple[IO[bytes], subprocess.Popen[bytes]]:
        said = self._local / "said"
        stdin, hold = os.pipe()
        held = open(hold, "wb")  # noqa: PTH123, SIM115 - a descriptor, as long as the connection
        argv = self._command(script, first=True)
        with contextlib.ExitStack() as stack:
            stack.callback(held.close)
            with said.open("wb") as log, open(stdin, "rb") as read:  # noqa: PTH123 - a descriptor
                try:
                    session = subprocess.Popen(
                        argv, stdin=read, stdout=subprocess.PIPE, stderr=log, start_new_session=True
                    )
                except FileNotFoundError:
                    raise TargetError(
                        f"no '{argv[0]}' on the path", where=self._target, next_step="install it"
                    ) from None
            stack.callback(session.kill)
            timer = threading.Timer(CONNECT_S, session.kill)
            timer.start()
            stack.callback(timer.cancel)
            # A login shell may print before.
            lines = (line.decode("utf-8", "replace").rstrip("\r\n") for line in session.stdout or ())
            if not any(line == _MARK for line in lines):
                session.communicate()
                raise self._refusal(said.read_text(encoding="utf-8", errors="replace"))
            self._scratch, self.python = next(lines, ""), next(lines, "")
            if not self.python:
                raise self._refusal("the connection is lost")
            timer.cancel()
            stack.pop_all()
        return held, session

    def run(self, argv: Sequence[str], timeout_s: float) -> Finished:
        """Run a program in the scratch folder there.

        Raises:
            TargetError: It took longer than `timeout_s`, or the connection is lost; all that it started is killed.
        """
        script = _RUN.format(folder=shlex.quote(self._scratch), program=shlex.join(argv))
        stdin, hold = os.pipe()
        with open(stdin, "rb") as read, open(hold, "wb") as write:  # noqa: PTH123 - descriptors
            return self._call(script, timeout_s, name=argv[0], stdin=read, hold=write.close)

    def push(self, local: Path) -> str:
        """Copy a file into the scratch folder there.

        Raises:
            TargetError: It can't be read, there is no room for it, or the connection is lost.
        """
        folder = f"{self._scratch}/{self._pushed}"
        remote = f"{folder}/{local.name}"
        self._pushed += 1
        script = f"mkdir {shlex.quote(folder)} && exec cat > {shlex.quote(remote)}"
        try:
            with local.open("rb") as file:
                done = self._call(script, _COPY_S, stdin=file)
        except OSError as error:
            raise TargetError(f"can't copy {local}: {error.strerror}", where=self._target) from None
        self._succeed(done, f"can't copy {local}")
        return remote

    def pull(self, remote: str, local: Path) -> None:
        """Copy a file back.

        Raises:
            TargetError: There is no such file, or the connection is lost.
        """
        try:
            with local.open("wb") as file:
                done = self._call(f"exec cat {shlex.quote(remote)}", _COPY_S, stdout=file)
        except OSError as error:
            raise TargetError(f"can't fetch {remote}: {error.strerror}", where=self._target) from None
        self._succeed(done, f"can't fetch {remote}")

    def close(self) -> None:
        """End the connection, and with it the scratch folder there."""
        self._hold.close()
        _end(self._session)
        if self._session.stdout:
            self._session.stdout.close()
        shutil.rmtree(self._local, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(
        self,
        script: str,
        timeout_s: float,
        *,
        name: str = "cat",
        stdin: IO[bytes] | int = subprocess.DEVNULL,
        stdout: IO[bytes] | int = subprocess.PIPE,
        hold: Callable[[], None] = lambda: None,
    ) -> Finished:
        """Run a shell script there; `hold` is called where it must end before its time."""
        argv = self._command(script, first=False)
        process = subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, start_new_session=True)
        with process:
            try:
                printed, said = process.communicate(timeout=timeout_s)
            except BaseException as error:  # Ctrl-C too must not leave it running
                hold()
                _end(process)
                if isinstance(error, subprocess.TimeoutExpired):
                    took = f"'{name}' took longer than {timeout_s:g} s"
                    raise TargetError(took, where=self._target) from None
                raise
        done = Finished(
            code=process.returncode,
            stdout=(printed or b"").decode("utf-8", "replace"),
            stderr=said.decode("utf-8", "replace"),
        )
        if self._session.poll() is not None or (self._may_be_lost(done) and self._ends_soon()):
            step = f"see that it is on and in reach, then: edgekd targets check {self._target}"
            raise TargetError("the connection is lost", where=self._target, next_step=step)
        return done

    def _ends_soon(self) -> bool:
        try:
            self._session.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _succeed(self, done: Finished, what: str) -> None:
        if done.code:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.code}"])[-1]
            step = "make room there" if "No space left" in last else None
            raise TargetError(f"{what}: {last}", where=self._target, next_step=step)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let it end by itself, else kill it."""
    try:
        process.wait(timeout=_GRACE_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
