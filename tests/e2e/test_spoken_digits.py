"""Recipes for sound and for heartbeats, shortened, from the recordings to int8 files in TFLite Micro."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekd.config import load_recipe
from edgekd.datasets import open_dataset

Command = Callable[..., subprocess.CompletedProcess[str]]

SHORT = [
    *("--set", "teachers.0.train.epochs=2"),
    *("--set", "distill.epochs=2"),
    *("--set", "benchmark.runs=30"),
    *("--set", "benchmark.time_limit_s=0.3"),
]


def measured(folder: Path, **wanted: str) -> list[Any]:
    found = json.loads((folder / "benchmark" / "measurements.json").read_text())
    return [each for each in found if all(each[key] == value for key, value in wanted.items())]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "data", "metric"), [("spoken-digits", "fsdd", "accuracy"), ("ecg", "sensor_ecg5000", "auc")]
)
def test_an_int8_file_comes_out_and_is_measured_where_it_shall_run(
    edgekd: Command, shared_data: Path, tmp_path: Path, recipe: str, data: str, metric: str
) -> None:
    done = edgekd(
        "run", recipe, "--out", tmp_path / "run", *SHORT, cwd=tmp_path, env={"EDGEKD_DATA": str(shared_data / data)}
    )
    assert done.returncode in {0, 1, 4}, done.stdout + done.stderr  # two epochs need not meet the budgets
    file = tmp_path / "run" / "export" / "student.static_wi8_ai8.tflite"
    assert file.stat().st_size < 40_000
    (arena,) = measured(tmp_path / "run", model=file.name, target="cortex-m4", metric="arena_size")
    assert 1_000 < arena["samples"][0] < 64_000
    (quality,) = measured(tmp_path / "run", model=file.name, target="cortex-m4", metric=metric)
    assert len(quality["samples"]) >= 100


def test_speakers_of_the_recipe_are_in_one_split_each_and_the_front_end_is_told(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEKD_DATA", str(shared_data / "fsdd"))
    data = open_dataset(load_recipe("spoken-digits").recipe.data)
    speakers = [
        set(split.groups.tolist()) for split in (data.train, data.validation, data.test) if split.groups is not None
    ]
    assert [len(part) for part in speakers] == [4, 1, 1]
    assert set.union(*speakers) == set(range(6))
    assert data.input_shape == (1, data.front_end["frames"], data.front_end["bins"])
    assert len(data.front_end["mean"]) == len(data.front_end["deviation"]) == data.front_end["bins"]
