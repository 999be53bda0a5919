"""A recipe on three clouds of points, so few that its training takes no time."""

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


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The recipe's file, in the working folder; its data has a test split of its own."""
    (x_train, y_train), (x_test, y_test) = make_clouds(400, 0), make_clouds(TEST, 1)
    np.savez(tmp_path / "clouds.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    (tmp_path / "clouds.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "clouds.toml"


@pytest.fixture
def run(recipe: Path) -> Callable[..., pipeline.Outcome]:
    """Run the recipe, up to the student by default."""

    def begin(*overrides: str, out: str = "run", until: str = "distill") -> pipeline.Outcome:
        return pipeline.run(load_recipe(str(recipe), overrides), folder=recipe.parent / out, until=until)

    return begin
