"""A recipe on three clouds of points, so few that its training takes no time."""

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgekd import pipeline
from edgekd.config import load_recipe

RECIPE = """
name = "clouds"
[data]
source = "npz"
path = "clouds.npz"
validation = 0.25
[[teachers]]
model = "mlp"
hidden = [32]
train = { epochs = 3, batch_size = 16 }
[student]
model = "mlp"
hidden = [6]
[distill]
epochs = 3
batch_size = 16
[export]
formats = ["onnx"]
precisions = ["fp32"]
[benchmark]
runs = 20
time_limit_s = 0.1
[[budgets]]
metric = "file_size"
limit = "1 MB"
"""
FEATURES, CLASSES, TEST = 6, 3, 150


def make_clouds(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count)
    inputs = random.normal(0, 0.4, (count, FEATURES)).astype(np.float32)
    inputs[np.arange(count), labels] += 1.5
    return inputs, labels


def write_recipe(folder: Path) -> Path:
    (x_train, y_train), (x_test, y_test) = make_clouds(400, 0), make_clouds(TEST, 1)
    np.savez(folder / "clouds.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    (folder / "clouds.toml").write_text(RECIPE)
    return folder / "clouds.toml"


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The recipe's file, in the working folder; its data has a test split of its own."""
    monkeypatch.chdir(tmp_path)
    return write_recipe(tmp_path)


@pytest.fixture(scope="session")
def packaged_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the recipe up to its packages, made once: exporting takes its time."""
    place = tmp_path_factory.mktemp("packaged")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("default")  # of exporters
        patch.setenv("EDGEKD_CACHE", str(place / "cache"))
        patch.chdir(place)
        return pipeline.run(load_recipe(str(write_recipe(place))), folder=place / "run", until="package").run.folder


@pytest.fixture
def packaged(packaged_once: Path, recipe: Path) -> Path:
    """A copy of that run, beside the recipe: the same command goes on there."""
    return Path(shutil.copytree(packaged_once, recipe.parent / "run"))


@pytest.fixture
def run(recipe: Path) -> Callable[..., pipeline.Outcome]:
    """Run the recipe, up to the student by default."""

    def begin(*overrides: str, out: str = "run", until: str = "distill") -> pipeline.Outcome:
        return pipeline.run(load_recipe(str(recipe), overrides), folder=recipe.parent / out, until=until)

    return begin
