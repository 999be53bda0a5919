"""`edgekd gate` in CI, through the installed command: exit codes, files, annotations."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgekd import registry, store
from edgekd.records import Measurement, Model

FORMATS = {
    "junit": "<testsuites",
    "sarif": '"version": "2.1.0"',
    "markdown": "## edgekd gate: ",
    "openmetrics": "# EOF",
    "badge": "<svg ",
    "github": "::",
}
WRITE = [word for name in FORMATS for word in ("--write", f"{name}=out/{name}")]


def call(*arguments: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgekd", "gate", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder in which a run has one file of 1,000 bytes, right on 90 of 100 samples."""
    folder = tmp_path / "runs" / "tiny"
    (folder / "export").mkdir(parents=True)
    file = folder / "export" / "student.fp32.onnx"
    file.write_bytes(bytes(1000))
    known: dict[str, Any] = {"format": "onnx", "precision": "fp32", "role": "student"}
    sha256 = store.sha256_of(file)
    model = Model(name=file.name, path=Path("export") / file.name, sha256=sha256, size_bytes=1000, **known)
    values: tuple[tuple[str, str, str, tuple[float, ...]], ...] = (
        ("file_size", "file", "B", (1000.0,)),
        ("accuracy", "host", "1", (1.0,) * 90 + (0.0,) * 10),
    )
    measured = [
        Measurement(
            model_sha256=sha256, model=file.name, target=target, metric=metric, unit=unit, samples=samples, **known
        )
        for metric, target, unit, samples in values
    ]
    store.write_json(folder / "export" / "models.json", [model])
    store.write_json(folder / "export" / "measurements.json", measured)
    written = [folder / "export" / name for name in ("models.json", "measurements.json")]
    store.RunFolder(folder).finish("export", "", written)
    (folder / "recipe.toml").write_text(
        '[[budgets]]\nmetric = "file_size"\nlimit = "2 kB"\n\n[[budgets]]\nmetric = "accuracy"\nlimit = "70 %"\n'
    )
    return tmp_path


@pytest.mark.parametrize(
    ("change", "code", "status"),
    [
        ('budgets.0.limit="2 kB"', 0, "pass"),
        ('budgets.0.limit="500 B"', 1, "fail"),
        ('budgets.1.limit="90 %"', 4, "inconclusive"),
        ('budgets.1.metric="exact_match"', 1, "unmeasured"),
    ],
)
def test_the_exit_code_is_the_verdict_s_with_files_and_without(run: Path, change: str, code: int, status: str) -> None:
    assert call("runs/tiny", "--set", change, cwd=run).returncode == code
    done = call("runs/tiny", "--set", change, *WRITE, "--annotate", "--json", cwd=run)
    assert done.returncode == code, done.stderr
    assert json.loads(done.stdout)["status"] == status
    for name, sign in FORMATS.items():
        assert sign in (run / "out" / name).read_text(encoding="utf-8")
    assert f"edgekd: {status}" in (run / "out" / "badge").read_text()


def test_annotations_go_to_stderr_with_the_budget_s_line_and_the_summary_to_its_file(run: Path) -> None:
    summary = run / "summary.md"
    change = ("--set", 'budgets.1.limit="99 %"')
    done = call("runs/tiny", *change, "--annotate", cwd=run, GITHUB_STEP_SUMMARY=str(summary))
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("::")]
    assert line.startswith("::error title=fail%3A accuracy at least 99 %25,file=runs/tiny/recipe.toml,line=5::")
    assert "❌ fail" in summary.read_text(encoding="utf-8")
    assert call("runs/tiny", *change, cwd=run, GITHUB_STEP_SUMMARY=str(summary)).returncode == 1
    assert summary.read_text(encoding="utf-8").count("edgekd gate:") == 1


def test_a_file_that_can_t_be_written_is_an_error_that_hides_no_refusal(run: Path) -> None:
    (run / "file").touch()
    blocked = ("--write", "junit=file/junit.xml", "--write", "badge=badge.svg")
    done = call("runs/tiny", *blocked, cwd=run)
    assert done.returncode == 2
    assert "PASS" in done.stdout
    assert done.stderr.splitlines() == ["error: file/junit.xml: can't write it: File exists"]
    assert (run / "badge.svg").exists()
    assert call("runs/tiny", *blocked, "--set", 'budgets.0.limit="1 B"', cwd=run).returncode == 1
    assert call("runs/tiny", *blocked, "--set", 'budgets.1.limit="90 %"', cwd=run).returncode == 4


def test_help_names_every_format(tmp_path: Path) -> None:
    assert set(FORMATS) == set(registry.names("announcers"))
    shown = call("--help", cwd=tmp_path).stdout
    assert [name for name in FORMATS if name not in shown.partition("--annotate")[0]] == []


def test_a_wish_that_is_none_is_refused_before_anything_is_judged(run: Path) -> None:
    done = call("runs/tiny", "--write", "junitt=a.xml", cwd=run)
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown announcer 'junitt'" in done.stderr
    assert "did you mean 'junit'?" in done.stderr


def test_a_folder_of_files_needs_budgets_and_nothing_else(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "models/mlperf_tiny/image_classification/pretrainedResnet_quant.tflite"
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / source.name).write_bytes(source.read_bytes())
    assert "no recipe here, so no budgets" in call("models", cwd=tmp_path).stderr
    (tmp_path / "b.toml").write_text(
        '[[budgets]]\nmetric = "compressed_size"\nlimit = "90 kB"\nprecision = "static_*"\n'
    )
    done = call("models", "--budgets", "b.toml", "--write", "sarif=s.json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    done = call("models", "--budgets", "b.toml", "--set", 'budgets.0.limit="1 kB"', "--annotate", cwd=tmp_path)
    assert done.returncode == 1
    assert "file=b.toml,line=1::pretrainedResnet_quant.tflite on file: " in done.stderr
