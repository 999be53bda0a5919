"""Gives another machine a Python environment with numpy and runtimes; it needs neither pip nor a network there."""

from __future__ import annotations

import json
import logging
import re
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from edgekd import store
from edgekd.errors import TargetError
from edgekd.transports import Finished, Transport
from edgekd.transports._setting_up import FarPython, SetUp, name_and_version, pip_download

OLDEST_PYTHON = (3, 9)
_LOG = logging.getLogger("edgekd")
_LOOK_S, _UNPACK_S = 60.0, 900.0
_LOOK = """
import json, os, platform, struct, sys
machine = platform.machine()
if struct.calcsize("P") == 4:  # 32-bit programs may run on a 64-bit kernel
    machine = {"aarch64": "armv7l", "armv8l": "armv7l", "x86_64": "i686"}.get(machine, machine)
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION")
except ValueError:
    libc = ""
print(json.dumps([sys.version_info[0], sys.version_info[1], sys.abiflags, machine, libc]))
"""
# Python takes a folder with a pyvenv.cfg for an environment; no module is needed to make one. A set-up that is killed
# leaves a folder that the next one removes. Prints what went wrong with each module.
_UNPACK = """
import fcntl, json, os, pathlib, shutil, subprocess, sys, tempfile, zipfile
archive, place, modules = sys.argv[1], pathlib.Path.home() / sys.argv[2], sys.argv[3:]
place.parent.mkdir(parents=True, exist_ok=True)
lock = open(place.parent / ".lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
for leftover in place.parent.glob(".partial-*"):
    shutil.rmtree(leftover)
scratch = pathlib.Path(tempfile.mkdtemp(prefix=".partial-", dir=place.parent))
new, wrong = scratch / "new", {}
try:
    python = pathlib.Path(sys.executable).resolve()
    site = new / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"
    with zipfile.ZipFile(archive) as wheels:
        for name in wheels.namelist():
            with wheels.open(name) as file, zipfile.ZipFile(file) as wheel:
                wheel.extractall(site)
    (new / "bin").mkdir()
    (new / "bin" / "python").symlink_to(python)
    (new / "pyvenv.cfg").write_text("home = {}\\ninclude-system-site-packages = false\\n".format(python.parent))
    for module in modules:
        done = subprocess.run([new / "bin" / "python", "-c", "import " + module], stderr=subprocess.PIPE)
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        if done.returncode:
            wrong[module] = said[-1] if said else "exit code {}".format(done.returncode)
    if "numpy" not in wrong and len(wrong) < len(modules) - 1:
        if place.exists():
            place.rename(scratch / "old")
        new.rename(place)
finally:
    shutil.rmtree(scratch)
print(json.dumps(wrong))
"""


def install(transport: Transport, asked: SetUp, runtimes: Mapping[str, str], place: str) -> None:
    """Make an environment over there, in place of one that is there; one that can't be made changes nothing.

    Args:
        transport: To a machine with `python3`.
        asked: What the set-up was asked for.
        runtimes: Modules by distribution, numpy apart. Those that can't be had are warned of, if there are others.
        place: Of the environment, below the home over there.

    Raises:
        TargetError: Python there is too old, or no runtime can be had for it.
    """
    python = _look(transport, asked)
    asked.progress.advance()
    with tempfile.TemporaryDirectory(prefix="edgekd-") as scratch:
        files = Path(scratch)
        wrong = _fetch(asked, python, ("numpy", *runtimes), files)
        wheels = sorted(files.glob("*.whl"))
        there = {name: runtimes[name] for name, _ in map(name_and_version, wheels) if name in runtimes}
        if "numpy" in wrong or not there:
            raise asked.error("; ".join(wrong.values()))
        asked.copy(wheels)
        with zipfile.ZipFile(files / "wheels.zip", "w") as archive:
            for wheel in wheels:
                archive.write(wheel, wheel.name)
        remote = transport.push(files / "wheels.zip")
        asked.progress.advance()
    modules = ["numpy", *there.values()]
    failed = json.loads(_run(transport, asked, _UNPACK, _UNPACK_S, remote, place, *modules))
    versions = dict(map(name_and_version, wheels))
    for name, module in (("numpy", "numpy"), *there.items()):
        if module in failed:
            wrong[name] = f"{name} {versions[name]} can't be imported by {python}: {failed[module]}"
    works = [name for name in there if name not in wrong]
    if "numpy" in wrong or not works:
        raise asked.error("; ".join(wrong.values()))
    asked.progress.advance()
    for problem in wrong.values():
        _LOG.warning("%s: %s; what works is %s", asked.target, problem, ", ".join(works))


def _look(transport: Transport, asked: SetUp) -> FarPython:
    """Find out which wheels the Python over there takes."""
    major, minor, flags, machine, libc = json.loads(_run(transport, asked, _LOOK, _LOOK_S))
    if (major, minor) < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        raise TargetError(f"its python3 is {major}.{minor}", where=asked.target, allowed=f"{oldest} or newer")
    glibc = re.fullmatch(r"glibc 2\.(\d+).*", libc or "")
    if not glibc:
        raise asked.error("its C library is not glibc, which wheels of runtimes need")
    return FarPython(version=f"{major}.{minor}", abi=f"cp{major}{minor}{flags}", machine=machine, glibc=int(glibc[1]))


def _run(transport: Transport, asked: SetUp, program: str, timeout_s: float, *words: str) -> str:
    """Give the last line that a program prints; a login shell may print before."""
    done: Finished = transport.run(["python3", "-c", program, *words], timeout_s)
    lines = (done.stderr if done.code else done.stdout).strip().splitlines() or [f"exit code {done.code}"]
    if done.code:
        step = (
            "make room there" if "No space left" in lines[-1] else "install python3 there" if done.code == 127 else None
        )
        raise TargetError(lines[-1], where=asked.target, next_step=step)
    return lines[-1]


def _fetch(asked: SetUp, python: FarPython, names: Iterable[str], files: Path) -> dict[str, str]:
    """Let pip fetch wheels no newer than this environment's; says for which distributions there are none."""
    wrong = {}
    for name in names:
        here = store.tool_versions(name)[name]
        bound = "" if asked.source or here == "absent" else f"<={here}"
        command = pip_download(python, [f"{name}{bound}"], files, source=asked.source)
        doing = f"downloading a wheel of {name}"
        done = asked.attempt(command, doing)
        # Without a network pip says the same of the distribution, after it has said this.
        if done.returncode and ("No matching distribution" not in done.stderr or "Retrying" in done.stderr):
            raise asked.failure(done, doing)
        if done.returncode:
            where = f" in {asked.source}" if asked.source else ""
            wrong[name] = f"there is no wheel of {name}{bound} for {python}{where}"
        asked.progress.advance()
    return wrong
