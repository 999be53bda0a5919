"""A machine reached by the system's OpenSSH, with the user's own configuration, agent, jump hosts and known hosts."""

from __future__ import annotations

import shlex
from pathlib import Path

from edgekd import registry
from edgekd.errors import ConfigError, TargetError
from edgekd.progress import Progress, Silent
from edgekd.records import Target
from edgekd.transports import Finding, Finished, find_room
from edgekd.transports._far_packages import OLDEST_PYTHON, install
from edgekd.transports._setting_up import RUNTIMES, SetUp
from edgekd.transports._shell import CONNECT_S, ShellTransport

# Below the home over there: an environment with numpy and the runtimes, for machines whose own Python lacks them.
VENV = ".cache/edgekd/venv"
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


def set_up(
    target: Target, *, source: Path | None = None, keep: Path | None = None, progress: Progress | None = None
) -> None:
    """Give the machine an environment with what the target's runtimes need, in place of one that is there.

    Args:
        target: Its runtimes decide what goes there.
        source: A folder of wheels; without one they are downloaded here, for the Python over there.
        keep: A folder that what was downloaded is copied into.
        progress: Hears how far it is.

    Raises:
        ConfigError: None of its runtimes runs in Python.
        TargetError: It can't be reached, its Python is too old, or no runtime can be had for it.
    """
    progress = progress or Silent()
    modules = [str(getattr(registry.load("runtimes", name), "REQUIRES", "")) for name in target.runtimes]
    wanted = {name: RUNTIMES.get(name, module) for module in modules if (name := module.replace("_", "-"))}
    if not wanted:
        raise ConfigError("none of its runtimes needs Python packages", where=target.name)
    way_out = f"edgekd targets setup {target.name} --from a folder of wheels, or: python3 -m venv ~/{VENV}, there"
    progress.start("set up", len(wanted) + 4)
    try:
        with connect(target) as transport:
            asked = SetUp(target=target.name, source=source, keep=keep, progress=progress, way_out=way_out)
            install(transport, asked, wanted, VENV)
    finally:
        progress.end()


class SshTransport(ShellTransport):
    """Runs programs on another machine; all commands share one connection.

    Args:
        target: Its name, for errors.
        address: That ssh takes.
    """

    def __init__(self, target: str, address: str) -> None:
        self._address = address
        own = f"$HOME/{VENV}/bin/python"
        super().__init__(target, parent="${TMPDIR:-/tmp}", python=f'$([ -x "{own}" ] && echo "{own}" || echo python3)')

    def _command(self, script: str, *, first: bool) -> list[str]:
        # Without the shared connection ssh would make one of its own, where nothing of ours is.
        shared = (
            {"ControlMaster": "yes", "ControlPersist": "no"}
            if first
            else {"ControlMaster": "no", "ProxyCommand": "false"}
        )
        options = {**_OPTIONS, "ControlPath": str(self._local / "c"), **shared}
        words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        # Whatever the login shell is: it has only to start another.
        return ["ssh", *words, "--", self._address, f"exec sh -c {shlex.quote(script)}"]

    def _refusal(self, said: str) -> TargetError:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        step = next(
            (step for words, step in _NEXT_STEPS.items() if words in said), "try it by hand: ssh {address} true"
        )
        what = lines[-1] if lines else f"no answer within {CONNECT_S:g} s"
        return TargetError(
            f"ssh: {what}", where=self._target, next_step=step.format(address=shlex.quote(self._address))
        )

    def _may_be_lost(self, done: Finished) -> bool:
        return done.code == _OF_SSH_ITSELF

    def check(self) -> tuple[Finding, ...]:
        """Look at Python and the room in the scratch folder there."""
        reached = Finding(name="connection", right=True, detail=f"ssh {self._address}")
        done = self.run([self.python, "-c", _PROBE], CONNECT_S)
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
                next_step="" if young else f"install Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or newer there",
            ),
            find_room(int(free), self._scratch, "make room there"),
        )
