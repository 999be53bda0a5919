"""An Android phone, by Google's adb: over USB, or over the network once it is paired."""

from __future__ import annotations

import re
import subprocess
import time

from edgekd.errors import ConfigError, TargetError
from edgekd.records import Target
from edgekd.transports import Finding, Finished, find_room
from edgekd.transports._shell import CONNECT_S, ShellTransport

# The one folder that adb's shell may write to and run programs from.
_PARENT = "/data/local/tmp"
_TRIES, _BETWEEN_TRIES_S = 8, 0.3
# What else than `device` a phone can be, and what helps.
_STATES = {
    "unauthorized": "unlock it and allow USB debugging for this computer",
    "authorizing": "unlock it and allow USB debugging for this computer",
    "offline": "plug it in again, or: adb reconnect",
    "no permissions": "install your system's udev rules for Android, or: adb kill-server, and again as root",
}
_PROBE = (
    'echo "$(getprop ro.product.model), Android $(getprop ro.build.version.release), $(getprop ro.product.cpu.abi)"; '
    "df -k . | tail -n 1"
)


def connect(target: Target) -> AdbTransport:
    """Find the phone, and make a scratch folder there.

    Args:
        target: Its `address` is the serial that `adb devices` shows, or `host:port` of one on the network; without one
            it is the only phone there is.

    Raises:
        ConfigError: An address that is an option.
        TargetError: There is no phone, more than one and no address, or it does not let this computer in.

    >>> connect(Target(name="phone", description="", runtimes=(), address="-a"))
    Traceback (most recent call last):
    edgekd.errors.ConfigError: phone: address '-a'; allowed: a serial of 'adb devices', or host:port
    """
    address = target.address or ""
    if address.startswith("-"):
        allowed = "a serial of 'adb devices', or host:port"
        raise ConfigError(f"address '{address}'", where=target.name, allowed=allowed)
    return AdbTransport(target.name, _find(target.name, address))


def _find(target: str, address: str) -> str:
    """The serial of a phone that is ready."""
    phones = _phones(target, address)
    if re.fullmatch(r".+:\d+", address):
        # One that was out of reach stays `offline` for a while.
        for _ in range(_TRIES):
            if phones.get(address) in ("device", "unauthorized"):
                break
            _adb(target, "disconnect", address, check=False)
            said = _adb(target, "connect", address, check=False).strip()
            # Of a locked phone adb says "failed to authenticate", and goes on asking it.
            if re.match("cannot|unable|failed to (?!authenticate)", said):
                step = "is it on, in this network, and wireless debugging on? then: adb pair, adb connect"
                raise TargetError(f"adb: {said.splitlines()[-1]}", where=target, next_step=step)
            time.sleep(_BETWEEN_TRIES_S)
            phones = _phones(target, address)
    if not phones:
        missing = f"no phone '{address}'" if address else "no phone"
        step = "plug it in and allow USB debugging (Settings, Developer options), then: adb devices"
        raise TargetError(missing, where=target, next_step=step)
    if len(phones) > 1:
        step = f'give the target the serial of one: address = "{next(iter(phones))}"'
        raise TargetError(f"{len(phones)} phones: {', '.join(phones)}", where=target, next_step=step)
    ((serial, state),) = phones.items()
    if state != "device":
        raise TargetError(f"{serial} is {state}", where=target, next_step=_STATES.get(state, "adb reconnect"))
    return serial


def _phones(target: str, address: str) -> dict[str, str]:
    """States by serial, of the one with this address or of all."""
    shown = re.finditer(r"^(\S+)\t(no permissions|\w+)", _adb(target, "devices"), re.MULTILINE)
    return {str(each[1]): str(each[2]) for each in shown if address in ("", each[1])}


def _adb(target: str, *words: str, check: bool = True) -> str:
    try:
        done = subprocess.run(["adb", *words], capture_output=True, text=True, check=False, timeout=CONNECT_S)
    except FileNotFoundError:
        step = "install Android's platform tools (on Debian: apt-get install adb)"
        raise TargetError("no 'adb' on the path", where=target, next_step=step) from None
    except subprocess.TimeoutExpired:
        raise TargetError(
            f"adb did not answer within {CONNECT_S:g} s", where=target, next_step="adb kill-server"
        ) from None
    if check and done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise TargetError(f"adb: {last}", where=target, next_step="adb kill-server, then try again")
    return done.stdout


class AdbTransport(ShellTransport):
    """Runs programs on a phone, as adb's shell user.

    Args:
        target: Its name, for errors.
        serial: Of a phone that is ready.
    """

    def __init__(self, target: str, serial: str) -> None:
        self._serial = serial
        if "shell_v2" not in _adb(target, "-s", serial, "features").split():
            raise TargetError(f"{serial} gives no exit codes", where=target, allowed="Android 7 or newer")
        super().__init__(target, parent=_PARENT, python="python3")

    def _command(self, script: str, *, first: bool) -> list[str]:  # noqa: ARG002 - every one is the same to adb
        return ["adb", "-s", self._serial, "shell", "-T", script]

    def _refusal(self, said: str) -> TargetError:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        return TargetError(f"adb: {lines[-1] if lines else 'no answer'}", where=self._target, next_step="adb reconnect")

    def _may_be_lost(self, done: Finished) -> bool:
        return done.code in (0, 1, 255) and "error: " in done.stderr

    def check(self) -> tuple[Finding, ...]:
        """Look at the phone and the room in the scratch folder."""
        phone, _, disk = self.run(["sh", "-c", _PROBE], CONNECT_S).stdout.partition("\n")
        free = re.search(r"(\d+)\s+\d+%", disk)
        return (
            Finding(name="connection", right=True, detail=f"adb {self._serial}"),
            Finding(name="phone", right=True, detail=phone),
            find_room(int(free[1]) * 1024 if free else 0, self._scratch, "make room there"),
        )
