"""What set-ups share: what one was asked for, the commands it runs, and wheels for another machine's Python."""

from __future__ import annotations

import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekd.errors import TargetError, write_error
from edgekd.progress import Progress

# Distributions that runtimes are in, each with the module that proves it.
RUNTIMES = {"numpy": "numpy", "onnxruntime": "onnxruntime", "ai-edge-litert": "ai_edge_litert.interpreter"}
_PATIENCE_S = 600.0
# Wheels for any newer C library run; the oldest that wheels are made for now is of 2014.
_OLDEST_GLIBC = 17


@dataclass(frozen=True, kw_only=True)
class FarPython:
    """A Python on another machine, as names of wheels call it.

    Attributes:
        version: `3.11`.
        abi: `cp311`.
        machine: `aarch64`.
        glibc: Minor version of its C library: 36 is 2.36.
    """

    version: str
    abi: str
    machine: str
    glibc: int

    def __str__(self) -> str:
        return f"Python {self.version} on {self.machine} with glibc 2.{self.glibc}"


@dataclass(frozen=True, kw_only=True)
class SetUp:
    """What a set-up was asked for, and the commands that it runs.

    Attributes:
        target: For errors.
        source: A folder with what would be downloaded, or none.
        keep: A folder that gets a copy of what went in, or none.
        way_out: The next step that always is there.
    """

    target: str
    source: Path | None
    keep: Path | None
    progress: Progress
    way_out: str

    def call(self, argv: Sequence[str], doing: str, *, env: Mapping[str, str] | None = None) -> str:
        """Run a command; its last words are the error's."""
        done = self.attempt(argv, doing, env=env)
        if done.returncode:
            raise self.failure(done, doing)
        return done.stdout

    def attempt(
        self, argv: Sequence[str], doing: str, *, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command that may fail."""
        try:
            return subprocess.run(
                argv, capture_output=True, text=True, errors="replace", check=False, env=env, timeout=_PATIENCE_S
            )
        except FileNotFoundError:
            raise self.error(f"{doing} needs '{argv[0]}', which is not here") from None
        except subprocess.TimeoutExpired:
            raise self.error(f"{doing} took longer than {_PATIENCE_S:g} s") from None

    def failure(self, done: subprocess.CompletedProcess[str], doing: str) -> TargetError:
        """The error of a command that failed."""
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith(("E:", "ERROR:"))]
        last = (errors or lines or [f"exit code {done.returncode}"])[-1].strip()
        return self.error(f"{doing} failed: {last}")

    def error(self, what: str) -> TargetError:
        """An error that says the way out."""
        return TargetError(what, where=self.target, next_step=self.way_out)

    def copy(self, files: Iterable[Path]) -> None:
        """Keep files, if that was asked for."""
        if not self.keep:
            return
        try:
            self.keep.mkdir(parents=True, exist_ok=True)
            for file in files:
                shutil.copy2(file, self.keep)
        except OSError as error:
            raise write_error(self.keep, error) from error


def pip_download(python: FarPython, wanted: Iterable[str], files: Path, *, source: Path | None = None) -> list[str]:
    """Say how pip is asked for wheels that suit another machine's Python.

    Args:
        python: That shall import them.
        wanted: Distributions, with bounds on their versions.
        files: Folder that gets the wheels.
        source: A folder to take them from; without one they come from where pip is configured to look.

    >>> far = FarPython(version="3.11", abi="cp311", machine="aarch64", glibc=17)
    >>> " ".join(pip_download(far, ["numpy"], Path("wheels"))[2:])
    'pip download -q --no-deps --only-binary=:all: -d wheels --implementation cp --python-version 3.11 --abi cp311
    --abi abi3 --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 --platform linux_aarch64 numpy'
    """
    machine = python.machine
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(python.glibc, _OLDEST_GLIBC - 1, -1)]
    platforms += [f"manylinux2014_{machine}", f"linux_{machine}"]
    return [
        *(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", str(files)),
        *(("--no-index", "--find-links", str(source)) if source else ()),
        *("--implementation", "cp", "--python-version", python.version, "--abi", python.abi, "--abi", "abi3"),
        *(word for platform in platforms for word in ("--platform", platform)),
        *wanted,
    ]


def name_and_version(file: Path) -> tuple[str, str]:
    """Read what both Debian's and Python's file names begin with.

    >>> name_and_version(Path("zlib1g_1%3a1.2.13_arm64.deb"))
    ('zlib1g', '1:1.2.13')
    >>> name_and_version(Path("ai_edge_litert-2.3.0-cp311.whl"))
    ('ai-edge-litert', '2.3.0')
    """
    if file.suffix == ".whl":
        name, version, *_ = file.name.split("-")
        return name.replace("_", "-").lower(), version
    name, version, *_ = urllib.parse.unquote(file.name).split("_")
    return name, version
