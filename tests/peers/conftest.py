"""Clients that can't live beside edgekd's own dependencies, each in an environment of its own.

They are made once, below EDGEKD_PEERS or the user's cache folder, by pip as it is set up here.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def environment(name: str, *packages: str) -> Path:
    """The interpreter of an environment with these packages; skips where they can't be installed."""
    folder = Path(os.environ.get("EDGEKD_PEERS") or Path.home() / ".cache" / "edgekd-peers") / name
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = folder / "installed.txt"
    wanted = "\n".join(packages)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not done.is_file() or done.read_text() != wanted:
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True, capture_output=True)
            command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
            installed = subprocess.run(command, capture_output=True, text=True, check=False)
            if installed.returncode:
                pytest.skip(f"pip can't install {', '.join(packages)}: {installed.stderr.strip().splitlines()[-1:]}")
            done.write_text(wanted)
    return python


def runner(python: Path) -> Callable[..., str]:
    def run(program: str, *arguments: object) -> str:
        done = subprocess.run(
            [python, "-c", program, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=250
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    return run


@pytest.fixture(scope="session")
def tflite_support() -> Callable[..., str]:
    """Runs a program where tflite-support is."""
    python = environment("tflite-support", "tflite-support==0.4.4", "protobuf<4", "numpy<2")
    _skip_without_libraries(python, "tflite_support.task.vision")
    return runner(python)


@pytest.fixture(scope="session")
def mediapipe() -> Callable[..., str]:
    """Runs a program where mediapipe is."""
    python = environment("mediapipe", "mediapipe==1.2.2")
    _skip_without_libraries(python, "mediapipe.tasks.python.vision")
    return runner(python)


def _skip_without_libraries(python: Path, module: str) -> None:
    imported = subprocess.run([python, "-c", f"import {module}"], capture_output=True, text=True, check=False)
    if "cannot open shared object file" in imported.stderr:
        # libusb-1.0-0 for the one, libgl1 and libgles2 for the other.
        pytest.skip(f"the system lacks a library: {imported.stderr.strip().splitlines()[-1]}")
    assert imported.returncode == 0, imported.stderr
