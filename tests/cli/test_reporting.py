"""`edgekd report` through the installed command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgekd import store
from edgekd.records import Measurement


def call(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgekd", "report", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two benchmarks, of which the second is of a smaller file."""
    known: dict[str, Any] = {"format": "onnx", "precision": "fp32", "role": "student", "target": "file"}
    for name, size in (("one", 1000.0), ("two", 900.0)):
        size_of = Measurement(
            model_sha256=name, model="m[red].onnx", metric="file_size", unit="B", samples=(size,), **known
        )
        store.write_json(tmp_path / name / "measurements.json", [size_of])
    return tmp_path


def test_two_runs_are_compared(runs: Path) -> None:
    done = call("--compare", "one", "two", "--out", "site", cwd=runs)
    assert done.returncode == 0, done.stderr
    assert "m[red].onnx" in done.stdout
    assert "better" in done.stdout
    assert "Of what both runs measured, 1 got better." in done.stdout
    assert (runs / "site" / "comparison.html").exists()
    told = json.loads(call("--compare", "one", "two", "--json", cwd=runs).stdout)
    assert told["html_path"] == "two/comparison/comparison.html"
    assert told["differences"]["pairs"][0]["differences"][0]["outcome"] == "better"


def test_markdown_goes_to_a_file(runs: Path) -> None:
    done = call("one", "--markdown", "out/notes.md", "--json", cwd=runs)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["markdown_path"] == "out/notes.md"
    assert "### Files" in (runs / "out" / "notes.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--compare", "one"), "--compare takes two runs, and 1 came"),
        (("one", "two"), "a report is of one run; --compare takes two, and 2 came"),
        (("--compare", "one", "two", "--markdown", "a.md"), "--markdown is of one run"),
        (("one", "--out", "x"), "--out is for --compare"),
        (("--compare", "one", "three"), "three: not a run folder"),
        ((), "Missing argument"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[str, ...], complaint: str, runs: Path) -> None:
    done = call(*arguments, cwd=runs)
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr
