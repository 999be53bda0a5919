"""The installed command, and a recipe so small that it can be run again and again."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from edgekd import registry

Command = Callable[..., subprocess.CompletedProcess[str]]

# The number of threads decides in which order sums are made, so it is part of what equal bytes depend on.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}

DATA = '''
"""Three clouds of points."""
import numpy as np
from edgekd.datasets import Source, Split


def load(*, samples: int = 1500) -> Source:
    random = np.random.default_rng(7)
    labels = random.integers(0, 3, samples)
    inputs = random.normal(0, 0.5, (samples, 16)).astype(np.float32)
    inputs[np.arange(samples), labels] += 1.5
    return Source(train=Split(inputs=inputs, labels=labels), classes=("a", "b", "c"), scale=1.0)
'''

NETWORK = '''
"""A network of the user's own; dropout makes its training depend on random numbers."""
from torch import nn


def build(*, classes: int, input_shape: tuple[int, ...], width: int = 48) -> nn.Module:
    return nn.Sequential(
        nn.Linear(input_shape[0], width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.2),
        nn.Linear(width, width), nn.ReLU(), nn.Linear(width, classes),
    )
'''

RECIPE = """
name = "tiny"
[data]
source = "clouds:load"
validation = 0.2
[[teachers]]
model = "own:build"
width = 96
train = { epochs = 12, batch_size = 32 }
[student]
model = "own:build"
[distill]
epochs = 40
weak_teachers = "warn"
batch_size = 16
[export]
formats = ["onnx"]
precisions = ["fp32"]
[benchmark]
targets = ["host"]
runs = 20
time_limit_s = 0.2
[[budgets]]
metric = "file_size"
limit = "1 MB"
"""


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables of commands; teachers' caches lie where no user's and no other session's do."""
    return {**ENVIRONMENT, "EDGEKD_CACHE": str(tmp_path_factory.mktemp("caches"))}


@pytest.fixture(scope="session")
def edgekd(environment: dict[str, str]) -> Command:
    """Run the installed command as a user does."""

    def run(
        *arguments: object, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 280
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "edgekd", *map(str, arguments)],
            cwd=cwd,
            env={**environment, **(env or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    return run


@pytest.fixture(scope="session")
def start(environment: dict[str, str]) -> Callable[..., subprocess.Popen[str]]:
    """Start the installed command in a process group of its own, which a test may kill."""

    def begin(*arguments: object, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "edgekd", *map(str, arguments)],
            cwd=cwd,
            env={**environment, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return begin


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny recipe and the modules that it names."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "clouds.py").write_text(DATA)
    (folder / "own.py").write_text(NETWORK)
    (folder / "tiny.toml").write_text(RECIPE)
    return folder


def _may_differ(file: Path) -> bool:
    """Cards hold measured times, and records their hashes; ORT files follow addresses where these can't be fixed."""
    unlike = {"README.md", "packages.json", "stage.json"}
    addresses = registry.load("packagers", "ort")._fixed_addresses()
    return "package" in file.parts and (file.name in unlike or (file.suffix == ".ort" and not addresses))


@pytest.fixture(scope="session")
def hashes() -> Callable[[Path], dict[str, str]]:
    """Hash all that must be the same bytes in every run of a recipe."""

    def of(folder: Path) -> dict[str, str]:
        return {
            file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
            for stage in ("teachers", "assistants", "distill", "export", "package")
            for file in sorted((folder / stage).rglob("*"))
            if file.is_file() and not _may_differ(file)
        }

    return of
