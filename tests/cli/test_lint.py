"""`edgekd lint`: a table for people, JSON for machines, exit 1 for errors only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def lint(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgekd", "lint", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_clean_files_exit_0(shared_data: Path) -> None:
    path = shared_data / "models/tflm/hello_world_int8.tflite"
    done = lint(path, "--target", "cortex-m4", "--target", "ethos-u55-128")
    assert (done.returncode, done.stdout) == (0, "0 errors, 0 warnings in 1 file for cortex-m4, ethos-u55-128\n")


def test_warnings_alone_exit_0(shared_data: Path) -> None:
    done = lint(shared_data / "models/tflm/micro_speech_quantized.tflite")  # on this machine
    assert done.returncode == 0, done.stderr
    assert "XNNPACK does not take SOFTMAX of int8" in done.stdout
    assert done.stdout.endswith("0 errors, 1 warning in 1 file for host\n")


def test_errors_exit_1_and_are_json_for_machines(shared_data: Path) -> None:
    hybrid, clean = (shared_data / "models" / name for name in ("dtln/model_quant_1.tflite", "dtln/model_1.tflite"))
    done = lint(hybrid, clean, "--target", "cortex-m4", "--json")
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert {(each["rule"], each["severity"], each["model"], each["target"]) for each in found} == {
        ("hybrid_operator", "error", "model_quant_1.tflite", "cortex-m4")
    }
    assert all(each["layer"] and each["what"] and each["next_step"] for each in found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.tflite"], "missing.tflite: no such file"),
        (["pyproject.toml", "--target", "cortex-m5"], "unknown target 'cortex-m5'"),
        ([], "Missing argument 'MODEL...'"),
    ],
)
def test_mistakes_exit_2(arguments: list[str], message: str) -> None:
    done = lint(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
