"""A machine reached by the system's OpenSSH, with the user's own configuration, agent, jump hosts and known hosts."""

from __future__ import annotations

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

from edgekd.errors import ConfigError, TargetError
from edgekd.records import Target
from edgekd.transports import Finding, Finished

# Where `set_up` puts Python packages; without it the machine's own Python runs the runner.
VENV = ".cache/edgekd/venv"
OLDEST_PYTHON = (3, 9)
_ENOUGH_FREE_BYTES = 200 * 10**6
_CONNECT_S = 30.0
_COPY_S = 600.0
_GRACE_S = 5.0
_OPTIONS = {
    "BatchMode": "yes",  # nobody is there to type a password
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "ClearAllForwardings": "yes",
    "RequestTTY": "no",
    "LogLevel": "ERROR",
}
_OF_SSH_ITSELF = 255
_MARK = "edgekd-connected"
# Lives as long as the connection: when its input ends, however this process ended, the scratch folder goes.
_HOLD = f"""
d=$(mktemp -d "${{TMPDIR:-/tmp}}/edgekd-XXXXXX") || exit 1
p="$HOME/{VENV}/bin/python"
[ -x "$p" ] || p=python3
printf '%s\\n%s\\n%s\\n' {_MARK} "$d" "$p"
cat >/dev/null
rm -rf "$d"
"""
# What ssh says, and what helps; the first that is found.
_NEXT_STEPS = {
    "REMOTE HOST IDENTIFICATION HAS CHANGED": "if you know why, forget the old one: ssh-keygen -R HOST",
    "Host key verification failed": "connect once by hand and compare the fingerprint: ssh {address}",
    "Permission denied": "give it your key: ssh-copy-id {address}",
    "Could not resolve hostname": "add 'Host {address}' to ~/.ssh/config, or give the target an address",
    "Connection refused": "is sshd running there, and is the port right?",
    "timed out": "is it on, and in this network?",
    "No route to host": "is it on, and in this network?",
}
_PROBE = """
import platform, shutil, sys
print(*sys.version_info[:2], shutil.disk_usage(".").free, platform.python_version(), platform.machine(), sep="\\n")
"""


def connect(target: Target) -> SshTransport:
    """Connect, and make a scratch folder there.

    Args:
        target: Its `address` is what ssh takes: a host of ~/.ssh/config, `user@host` or `ssh://user@host:port`; without
            one it is the target's name.

    Raises:
        ConfigError: An address that is an option.
        TargetError: It can't be reached; says what ssh says, and what helps.

    >>> connect(Target(name="pi", description="", runtimes=(), address="-oProxyCommand=true"))
    Traceback (most recent call last):
    edgekd.errors.ConfigError: pi: address '-oProxyCommand=true'; allowed: a host of ~/.ssh/config, user@host, ...
    """
    address = target.address or target.name
    if address.startswith("-"):
        allowed = "a host of ~/.ssh/config, user@host, or ssh://user@host:port"
        raise ConfigError(f"address '{address}'", where=target.name, allowed=allowed)
    return SshTransport(target.name, address)


class SshTransport:
    """Runs programs on another machine; all commands share one connection.

    Args:
        target: Its name, for errors.
        address: That ssh takes.
    """

    def __init__(self, target: str, address: str) -> None:
        self._target, self._address, self._pushed = target, address, 0
        self._local = Path(tempfile.mkdtemp(prefix="edgekd-"))
        try:
            self._master = self._open()
        except BaseException:
            self._hold.close()
            shutil.rmtree(self._local, ignore_errors=True)
            raise

    def _ssh(self, command: str, **options: str) -> list[str]:
        given = {**_OPTIONS, "ControlPath": str(self._local / "c"), **options}
        words = [word for key, value in given.items() for word in ("-o", f"{key}={value}")]
        # Whatever the login shell is: it has only to start another.
        return ["ssh", *words, "--", self._address, f"exec sh -c {shlex.quote(command)}"]

    def _open(self) -> subprocess.Popen[bytes]:
        said = self._local / "said"
        stdin, hold = os.pipe()
        self._hold = open(hold, "wb")  # noqa: PTH123, SIM115 - a descriptor, as long as the connection
        with said.open("wb") as log, open(stdin, "rb") as read:  # noqa: PTH123 - a descriptor
            argv = self._ssh(_HOLD, ControlMaster="yes", ControlPersist="no")
            try:
                master = subprocess.Popen(argv, stdin=read, stdout=subprocess.PIPE, stderr=log, start_new_session=True)
            except FileNotFoundError:
                step = "install OpenSSH's client"
                raise TargetError("no 'ssh' on the path", where=self._target, next_step=step) from None
        timer = threading.Timer(_CONNECT_S, master.kill)
        timer.start()
        try:
            lines = (line.decode("utf-8", "replace").rstrip("\n") for line in master.stdout or ())
            # A login shell may print before.
            if any(line == _MARK for line in lines):
                self._scratch, self.python = next(lines), next(lines)
                return master
        finally:
            timer.cancel()
        master.communicate()
        raise self._refusal(said.read_text(encoding="utf-8", errors="replace"))

    def _refusal(self, said: str) -> TargetError:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        step = next(
            (step for words, step in _NEXT_STEPS.items() if words in said), "try it by hand: ssh {address} true"
        )
        what = lines[-1] if lines else f"no answer within {_CONNECT_S:g} s"
        return TargetError(f"ssh: {what}", where=self._target, next_step=step.format(address=self._address))

    def run(self, argv: Sequence[str], timeout_s: float) -> Finished:
        """Run a program in the scratch folder there.

        Raises:
            TargetError: It took longer than `timeout_s`, or the connection is lost; all that it started is killed.
        """
        # When the input ends, so does the program: this process gave up, was killed, or is out of reach.
        script = (
            f"cd {shlex.quote(self._scratch)} || exit 125; exec 3<&0; {shlex.join(argv)} 3<&- & p=$!; "
            '{ cat <&3; kill -KILL 0; } >/dev/null 2>&1 & w=$!; wait "$p"; c=$?; kill "$w"; exit "$c"'
        )
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

    def check(self) -> tuple[Finding, ...]:
        """Look at Python and the room in the scratch folder there."""
        setup = f"edgekd targets setup {self._target}"
        reached = Finding(name="connection", right=True, detail=f"ssh {self._address}")
        done = self.run([self.python, "-c", _PROBE], _CONNECT_S)
        if done.code:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.code}"])[-1]
            return reached, Finding(name="python", right=False, detail=last, next_step="install python3 there")
        major, minor, free, version, machine = done.stdout.split("\n")[:5]
        young = (int(major), int(minor)) >= OLDEST_PYTHON
        return (
            reached,
            Finding(
                name="python",
                right=young,
                detail=f"{version} on {machine} at {self.python}",
                next_step=""
                if young
                else f"install Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or newer, then: {setup}",
            ),
            Finding(
                name="scratch folder",
                right=int(free) >= _ENOUGH_FREE_BYTES,
                detail=f"{int(free) / 1e6:.0f} MB free in {self._scratch}",
                next_step="" if int(free) >= _ENOUGH_FREE_BYTES else "make room there",
            ),
        )

    def close(self) -> None:
        """End the connection, and with it the scratch folder there."""
        self._hold.close()
        _end(self._master)
        if self._master.stdout:
            self._master.stdout.close()
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
        # Without the shared connection ssh would make one of its own, where nothing of ours is.
        argv = self._ssh(script, ControlMaster="no", ProxyCommand="false")
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
        if process.returncode == _OF_SSH_ITSELF and self._is_lost():
            step = f"see that it is on and in reach, then: edgekd targets check {self._target}"
            raise TargetError("the connection is lost", where=self._target, next_step=step)
        return Finished(
            code=process.returncode,
            stdout=(printed or b"").decode("utf-8", "replace"),
            stderr=said.decode("utf-8", "replace"),
        )

    def _is_lost(self) -> bool:
        """A program may end with the exit code that ssh has for itself."""
        try:
            self._master.wait(timeout=1)
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
