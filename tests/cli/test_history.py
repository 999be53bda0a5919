"""`edgekd history`, and what `edgekd gate` adds to it, through the installed command."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgekd.cli import edgekd
from edgekd.history import append, read
from edgekd.records import Measurement
from edgekd.store import write_json
from tests.history.gates import figure, gate, unbudgeted

# Of three gates below, as a terminal without colours shows it.
SHOWN = """\
runs/history.sqlite: 3 gates

Gates
time (UTC)           recipe  run    commit     edgekd        checks
2026-11-29 12:03:00  digits  try-1  000000000  0.1.0   FAIL  1 fail, 1 pass
2026-11-29 12:02:00  digits  try-1  000000000  0.1.0   pass  2 pass
2026-11-29 12:01:00  digits  try-1  000000000  0.1.0   pass  1 pass

Trends of digits
metric                 file            target  trend   latest    before     first    limit
accuracy               student.tflite  host    ▁█▅    97.50 %  -0.50 pt  +0.50 pt
accuracy_drop teacher  student.tflite  host    ▁█     3.40 pt  +0.90 pt  +0.90 pt   ≤ 3 pt  FAIL
file_size              student.tflite  file    ▁▁█    31.7 kB   +10.0 %   +10.0 %  ≤ 40 kB  pass
"""
NO_CI = {"GITHUB_SHA": "", "CI_COMMIT_SHA": "", "EDGEKD_HISTORY": ""}


def call(*arguments: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgekd", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **NO_CI, **env},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A folder with a history of three gates in `runs`."""
    sizes, accuracies, drops = (28_800.0, 28_800.0, 31_680.0), (0.97, 0.98, 0.975), (None, 0.025, 0.034)
    for number, (size, accuracy, drop) in enumerate(zip(sizes, accuracies, drops, strict=True), start=1):
        figures = [figure(size), unbudgeted(accuracy, metric="accuracy", target="host", unit="1")]
        status = "fail" if drop and drop > 0.03 else "pass"
        if drop:
            known = {"metric": "accuracy_drop", "reference": "teacher", "target": "host", "unit": "1"}
            figures.append(figure(drop, **known, limit=0.03, written="3 pt", status=status))
        append(tmp_path / "runs" / "history.sqlite", gate(number, *figures, status=status))
    return tmp_path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder in which a benchmark has one file of 1,000 bytes, and budgets."""
    folder = tmp_path / "runs" / "tiny"
    folder.mkdir(parents=True)
    size = Measurement(
        model_sha256="5e1f",
        model="student.tflite",
        format="tflite",
        precision="fp32",
        role="student",
        target="file",
        metric="file_size",
        unit="B",
        samples=(1000.0,),
    )
    write_json(folder / "measurements.json", [size])
    (tmp_path / "b.toml").write_text('[[budgets]]\nmetric = "file_size"\nlimit = "2 kB"\n')
    return tmp_path


def test_gates_and_trends_are_tables(kept: Path) -> None:
    done = call("history", cwd=kept)
    assert (done.returncode, done.stderr) == (0, "")
    shown = "\n".join(line.rstrip() for line in done.stdout.splitlines()) + "\n"
    assert shown == SHOWN


def test_what_is_shown_is_chosen(kept: Path) -> None:
    done = call("history", "runs", "--metric", "*_size", "--target", "f*", "--model", "student*", "--last", 2, cwd=kept)
    assert "runs/history.sqlite: 2 gates" in done.stdout
    (line,) = [line.split() for line in done.stdout.splitlines() if line.startswith(("acc", "file_size"))]
    assert line[3:6] == ["▁█", "31.7", "kB"]


def test_machines_get_json_or_csv(kept: Path) -> None:
    found = json.loads(call("history", "--json", cwd=kept).stdout)
    assert [each["status"] for each in found["gates"]] == ["pass", "pass", "fail"]
    trend = next(each for each in found["trends"] if each["metric"] == "accuracy_drop")
    assert (trend["change_since_before"], trend["change_since_first"]) == ("+0.90 pt", "+0.90 pt")
    assert [(each["observed"], each["limit"], each["status"]) for each in trend["points"]] == [
        (0.025, 0.03, "pass"),
        (0.034, 0.03, "fail"),
    ]
    rows = list(csv.DictReader(call("history", "--csv", cwd=kept).stdout.splitlines()))
    assert len(rows) == 8
    assert [row["observed"] for row in rows if row["metric"] == "file_size"] == ["28800.0", "28800.0", "31680.0"]
    assert {row["check"] for row in rows if row["metric"] == "accuracy"} == {""}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gone.sqlite",), "gone.sqlite: no history here; each `edgekd gate RUN` adds to it"),
        (("runs", "--metric", "acuracy"), "no trend of 'acuracy'; allowed: accuracy, accuracy_drop, file_size; did"),
        (("text",), "text: can't use it as a history: file is not a database"),
    ],
)
def test_what_can_t_be_shown_is_one_line(kept: Path, arguments: tuple[str, ...], words: str) -> None:
    (kept / "text").write_text("not a database\n" * 50)
    done = call("history", *arguments, cwd=kept)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [("--csv", "--json"), ("--csv", "--export", "mlflow=x"), ("--export", "mlflow=x", "--metric", "latency")],
)
def test_options_that_exclude_each_other_are_refused(arguments: tuple[str, ...]) -> None:
    done = CliRunner().invoke(edgekd, ["history", *arguments])
    assert (done.exit_code, done.stdout) == (2, "")
    assert " with " in done.stderr


def test_a_gate_is_added_once_whatever_it_says(run: Path) -> None:
    file = run / "runs" / "history.sqlite"
    known = ("gate", "runs/tiny", "--budgets", "b.toml")
    assert [call(*known, cwd=run).returncode for _ in range(2)] == [0, 0]
    done = call(*known, "--set", 'budgets.0.limit="1 B"', "--json", cwd=run)
    assert (done.returncode, json.loads(done.stdout)["status"], done.stderr) == (1, "fail", "")
    assert [each.status for each in read(file)] == ["pass", "fail"]


def test_a_gate_is_kept_elsewhere_or_not_at_all(run: Path) -> None:
    known = ("gate", "runs/tiny", "--budgets", "b.toml")
    assert call(*known, "--no-history", cwd=run).returncode == 0
    assert call(*known, "--history", "kept/here.sqlite", cwd=run).returncode == 0
    assert len(read(run / "kept" / "here.sqlite")) == 1
    assert [each.name for each in (run / "runs").iterdir()] == ["tiny"]


@pytest.mark.parametrize(("limit", "code"), [("2 kB", 0), ("1 B", 1)])
def test_a_history_that_can_t_be_written_changes_no_verdict(run: Path, limit: str, code: int) -> None:
    (run / "file").touch()
    known = ("gate", "runs/tiny", "--budgets", "b.toml", "--set", f'budgets.0.limit="{limit}"')
    done = call(*known, "--history", "file/history.sqlite", cwd=run)
    assert done.returncode == code
    assert done.stderr.splitlines() == [
        "warning: this gate is not in the history: file: can't write it: File exists",
    ]


def test_names_that_can_t_be_printed_are_not_printed(kept: Path) -> None:
    append(kept / "runs" / "history.sqlite", gate(9, run="a\x1b[2Jb\n::error::", recipe="\u202eevil"))
    for option in ((), ("--csv",)):
        assert not {"\x1b", "\u202e"} & {*call("history", *option, cwd=kept).stdout}
