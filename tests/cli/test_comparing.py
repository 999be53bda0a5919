"""`edgekd compare`, through the installed command."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MODEL = "models/mlperf_tiny/image_classification/pretrainedResnet_quant.tflite"
LARGER = "models/mlperf_tiny/image_classification/pretrainedResnet_large_int8.tflite"


def call(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgekd", "compare", *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_a_larger_network_is_refused_and_the_other_way_round_it_passes(shared_data: Path) -> None:
    slower = call(shared_data / MODEL, shared_data / LARGER, "--time-limit", 200)
    assert slower.returncode == 1, slower.stderr
    # How much larger it is in time depends on the processor: from twice on it is said in times.
    assert re.search(rf"{Path(LARGER).name} (takes [\d.]+ times as long as|is [\d.]+ % slower than) ", slower.stdout)
    assert f" {Path(MODEL).name} (" in slower.stdout
    assert "slower by more than the threshold of 1 %" in slower.stdout
    faster = call(shared_data / LARGER, shared_data / MODEL, "--time-limit", 200, "--json")
    assert faster.returncode == 0, faster.stderr
    found = json.loads(faster.stdout)
    assert (found["status"], found["verdict"]) == ("pass", "faster")
    assert found["reason"].startswith(f"{Path(MODEL).name} is ")
    assert 0 < found["low"] <= found["ratio"] <= found["high"] < 1 / 1.01


def test_too_little_time_is_inconclusive(shared_data: Path, tmp_path: Path) -> None:
    shutil.copy(shared_data / MODEL, tmp_path / "copy.tflite")
    out = tmp_path / "kept"
    done = call(shared_data / MODEL, tmp_path / "copy.tflite", "--time-limit", 0.1, "--out", out)
    assert done.returncode == 4, done.stderr
    assert "inconclusive at the threshold of 1 %; needs about 7 more processes" in done.stdout
    assert {file.name for file in out.iterdir()} == {"comparison.json", "host"}
    assert len(json.loads((out / "comparison.json").read_text())["processes"]) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("gone.tflite", "gone.onnx"), 2, "gone.tflite: no such file"),
        (("gone.tflite", "gone.onnx", "--threshold", "fast"), 2, "--threshold: 'fast' is no share; allowed: a number"),
        (("gone.tflite", "gone.onnx", "--threshold", "2"), 2, "--threshold: '2' is no share"),
        (("gone.tflite", "gone.onnx", "--target", "hots"), 2, "did you mean 'host'?"),
        (("{model}", "{model}", "--target", "{target}"), 3, "nowhere"),
    ],
)
def test_what_can_t_be_compared_is_one_line(
    shared_data: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    target = tmp_path / "far.toml"
    target.write_text('description = "gone"\ntransport = "ssh"\naddress = "nowhere.invalid"\nruntimes = ["litert"]\n')
    done = call(*(each.format(model=shared_data / MODEL, target=target) for each in arguments))
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
