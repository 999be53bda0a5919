"""Where a run's history is, and that a verdict stands without it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgekd import history, pipeline
from edgekd.errors import StoreError
from edgekd.pipeline.history import recall, remember, with_past
from edgekd.records import Budget, Measurement, Release, Run
from edgekd.stages.gate import gate
from edgekd.store import write_json
from tests.history.gates import gate as past

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
SIZE = Measurement(
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


@pytest.fixture(autouse=True)
def _no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_SHA", "CI_COMMIT_SHA", "EDGEKD_HISTORY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "runs" / "try-1"
    place.mkdir(parents=True)
    (place / "recipe.toml").write_text('name = "digits"\n')
    write_json(place / "measurements.json", [SIZE])
    return place


def verdict(limit: str = "2 kB") -> Release:
    return gate([SIZE], budgets=[Budget(metric="file_size", limit=limit)])


def run_of(folder: Path) -> Run:
    return pipeline.open_run(folder)


def test_a_history_lies_beside_the_run_folder(folder: Path) -> None:
    assert remember(verdict(), run_of(folder), now=NOON) is None
    (found,) = history.read(folder.parent / "history.sqlite")
    assert (found.recipe, found.run, found.gated_at, found.status) == (
        "digits",
        "try-1",
        "2026-11-29T12:00:00Z",
        "pass",
    )


def test_another_one_is_named_by_option_or_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKD_HISTORY", "ci/named.sqlite")
    assert remember(verdict(), run_of(folder)) is None
    assert remember(verdict(), run_of(folder), file=Path("given.sqlite")) is None
    monkeypatch.setenv("EDGEKD_HISTORY", "off")
    assert remember(verdict(), run_of(folder)) is None
    assert [len(history.read(Path(name))) for name in ("ci/named.sqlite", "given.sqlite")] == [1, 1]
    assert not (folder.parent / "history.sqlite").exists()


def test_what_can_t_be_written_is_told(folder: Path) -> None:
    (folder.parent / "history.sqlite").mkdir()
    error = remember(verdict(), run_of(folder))
    assert isinstance(error, StoreError)
    assert "history.sqlite" in str(error)


def test_the_commit_is_that_of_ci_else_of_the_repository(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder.parent / "history.sqlite"

    def commit_of(limit: str) -> str:
        assert remember(verdict(limit), run_of(folder)) is None
        return history.read(file)[-1].commit

    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(folder.parents[2]))
    assert commit_of("2 kB") == ""
    identity = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        assert commit_of("3 kB") == ""  # no repository, then one without a commit
        subprocess.run(["git", *identity, *words], cwd=folder.parent, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True).stdout
    assert commit_of("4 kB") == head.strip()
    monkeypatch.setenv("CI_COMMIT_SHA", "c0ffee" * 6)
    assert commit_of("5 kB") == "c0ffee" * 6
    monkeypatch.setenv("GITHUB_SHA", "; rm -rf /")
    assert commit_of("6 kB") == "c0ffee" * 6


def test_without_git_there_is_no_commit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert remember(verdict(), run_of(folder)) is None
    assert history.read(folder.parent / "history.sqlite")[0].commit == ""


def test_a_path_means_a_history_a_folder_with_one_or_a_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder.parent / "history.sqlite"
    for number, recipe in enumerate(("digits", "ecg", "digits")):
        history.append(file, past(number, recipe=recipe))
    meanings: dict[Path | None, tuple[str | None, int]] = {
        None: (None, 3),
        file: (None, 3),
        folder.parent: (None, 3),
        folder: ("digits", 2),
    }
    for place, meaning in meanings.items():
        found = recall(place, last=9)
        assert (found.file.resolve(), found.recipe, len(found.gates)) == (file, *meaning)
    assert len(recall(folder, last=1).gates) == 1
    history.append(Path("named.sqlite"), past(1, recipe="digits"))
    monkeypatch.setenv("EDGEKD_HISTORY", "named.sqlite")
    assert [len(recall(place, last=9).gates) for place in (None, folder, folder.parent, file)] == [1, 1, 3, 3]
    with pytest.raises(StoreError, match=r"gone\.sqlite: no history here"):
        recall(Path("gone.sqlite"), last=9)


def test_a_report_that_is_written_again_shows_the_past_and_one_without_is_as_it_was(folder: Path) -> None:
    page = folder / "report" / "report.html"
    pipeline.rewrite_report(folder)
    without = page.read_bytes()
    remember(verdict(), run_of(folder))
    pipeline.rewrite_report(folder)
    assert page.read_bytes() == without  # one gate is no trend
    remember(verdict("3 kB"), run_of(folder))
    pipeline.rewrite_report(folder)
    assert b'id="chart-history"' in page.read_bytes()


def test_a_damaged_history_leaves_the_report_without(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder.parent / "history.sqlite").write_text("not a database\n" * 50)
    run, error = with_past(run_of(folder))
    assert (run.past_gates, isinstance(error, StoreError)) == ((), True)
    pipeline.rewrite_report(folder)
    assert "this report has no history" in caplog.text


def test_a_run_adds_its_gate_once_and_its_own_report_knows_nothing_of_it(
    packaged: Path, run: Callable[..., pipeline.Outcome]
) -> None:
    file = packaged.parent / "history.sqlite"
    run(until="report")
    first = (packaged / "report" / "report.html").read_bytes()
    assert len(history.read(file)) == 1
    assert run(until="report").made == ()
    assert len(history.read(file)) == 1
    history.append(file, past(1, recipe="clouds"))
    (packaged / "report" / "stage.json").unlink()
    assert run(until="report").made == ("report",)
    assert (packaged / "report" / "report.html").read_bytes() == first


def test_a_run_goes_on_where_its_history_can_t_be_written(
    packaged: Path, run: Callable[..., pipeline.Outcome], caplog: pytest.LogCaptureFixture
) -> None:
    (packaged.parent / "history.sqlite").mkdir()
    outcome = run(until="gate")
    assert outcome.run.release
    assert outcome.run.release.status == "pass"
    assert "this gate is not in the history" in caplog.text
