"""What transports share whose far side is a POSIX shell: a scratch folder, programs, files, and nothing left behind."""

from __future__ import annotations

import abc
import contextlib
import os
import secrets
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Self

from edgekd.errors import TargetError
from edgekd.transports import Finished
from edgekd.transports._far_shell import FarShell, end_process, finished
from edgekd.transports._running import Running

CONNECT_S = 30.0
_COPY_S = 600.0
# One client may learn that the connection is lost some time after another.
_LOST_S = 5.0
_MARK = "edgekd-connected"
# Lives as long as the connection, and ends shells when told their process group. When its input ends, however this
# process ended, all that runs there and the scratch folder go. Android hangs up on it then.
_HOLD = """
trap '' HUP
d=$(mktemp -d "{parent}/edgekd-XXXXXX") || exit 1
p={python}
printf '%s\\n%s\\n%s\\n' {mark} "$d" "$p"
end() {{ kill -KILL -"$1" || kill -KILL "$1"; rm -f "$d/.shell-$1"; }} 2>/dev/null
while read -r n; do end "$n"; done
for f in "$d"/.shell-*; do end "${{f##*-}}"; done
rm -rf "$d"
"""
# Last words go to both streams: what a program printed ends where they begin.
_LAST_WORDS = "echo; echo {token} {code}; {{ echo; echo {token}; }} >&2"
# Takes programs, a line each, until its input ends; by its file the one above knows it.
_SHELL = f"trap '' HUP; cd {{folder}} && : >.shell-$$ || exit 125; {_LAST_WORDS.replace('{code}', '$$')}; exec sh"
_RUN = f"(exec {{program}}) </dev/null; c=$?; {_LAST_WORDS.replace('{code}', '$c')}\n"


class ShellTransport(abc.ABC):
    """Runs programs through a client such as ssh, with one session that holds the connection and the scratch folder.

    Starting a client costs more than most programs: a shell over there is kept, and takes one program after the other.

    Args:
        target: Its name, for errors.
        parent: Folder over there that takes the scratch folder; a shell's word.
        python: A shell's expression for the interpreter over there.
    """

    def __init__(self, target: str, *, parent: str, python: str) -> None:
        self._target, self._pushed = target, 0
        self._token = secrets.token_hex(8)
        self._idle: list[FarShell] = []
        self._running = Running()
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
        shell = self._take()
        try:
            with self._running.noted(shell.process):
                done = shell.ask(_RUN.format(program=shlex.join(argv), token=self._token), timeout_s)
        except BaseException as error:  # Ctrl-C too must not leave it running
            with contextlib.suppress(OSError):  # a session that is gone has killed it
                self._hold.write(f"{shell.group}\n".encode())
                self._hold.flush()
            shell.end()
            if isinstance(error, TimeoutError):
                raise TargetError(f"'{argv[0]}' took longer than {timeout_s:g} s", where=self._target) from None
            raise
        if not shell.ended:
            self._idle.append(shell)
            return done
        return self._connected(done, cut_off=True)

    def _take(self) -> FarShell:
        """A shell over there that waits for a program."""
        while self._idle:
            shell = self._idle.pop()
            if shell.process.poll() is None:
                return shell
            shell.end()
        script = _SHELL.format(folder=shlex.quote(self._scratch), token=self._token)
        shell = FarShell(self._command(script, first=False), self._token)
        try:
            started = shell.ask("", CONNECT_S)
        except BaseException as error:
            shell.process.kill()
            shell.end()
            if isinstance(error, TimeoutError):
                raise self._refusal("") from None
            raise
        if shell.ended:
            raise self._refusal(self._connected(started, cut_off=True).stderr)
        shell.group = started.code
        return shell

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
        """End the connection, and with it what runs and the scratch folder there."""
        with contextlib.suppress(BrokenPipeError):  # of what a lost connection did not take
            self._hold.close()
        while self._idle:
            self._idle.pop().end()
        end_process(self._session)
        self._running.end()
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
        stdin: IO[bytes] | int = subprocess.DEVNULL,
        stdout: IO[bytes] | int = subprocess.PIPE,
    ) -> Finished:
        """Run a shell script there, by a client of its own."""
        argv = self._command(script, first=False)
        process = subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, start_new_session=True)
        with process, self._running.noted(process):
            try:
                printed, said = process.communicate(timeout=timeout_s)
            except BaseException as error:  # Ctrl-C too must not leave it running
                end_process(process)
                if isinstance(error, subprocess.TimeoutExpired):
                    raise TargetError(f"copying took longer than {timeout_s:g} s", where=self._target) from None
                raise
        return self._connected(finished(process.returncode, printed or b"", said))

    def _connected(self, done: Finished, *, cut_off: bool = False) -> Finished:
        """What a client said, unless the connection is lost, as it or an answer that was cut off may tell."""
        if self._session.poll() is not None or ((cut_off or self._may_be_lost(done)) and self._ends_soon()):
            step = f"see that it is on and in reach, then: edgekd targets check {self._target}"
            raise TargetError("the connection is lost", where=self._target, next_step=step)
        return done

    def _ends_soon(self) -> bool:
        try:
            self._session.wait(timeout=_LOST_S)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _succeed(self, done: Finished, what: str) -> None:
        if done.code:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.code}"])[-1]
            step = "make room there" if "No space left" in last else None
            raise TargetError(f"{what}: {last}", where=self._target, next_step=step)
