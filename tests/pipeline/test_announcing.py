"""Where budgets are written, and where verdicts go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgekd.config import load_gate_spec
from edgekd.errors import ConfigError
from edgekd.pipeline.announcing import add_to_step_summary, announce, announcement, find_places, read_wishes
from edgekd.records import Place
from tests.announcers.verdicts import MIXED, check, release_of, run_of

BUDGETS = """\
# what we promise
[[budgets]]
metric = "file_size"
limit = "100 kB"

  [[ budgets ]]  # and fast
metric = "latency"
limit = "10 ms"

[[budgets]]
metric = "file_size"
limit = "100 kB"
"""


@pytest.fixture
def budgets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "ci" / "budgets.toml"
    file.parent.mkdir()
    file.write_text(BUDGETS)
    return file


def test_budgets_are_found_at_their_lines_from_where_edgekd_runs(budgets: Path) -> None:
    size, latency, _ = chosen = load_gate_spec(budgets).budgets
    assert find_places(budgets, chosen) == {
        size: Place(file="ci/budgets.toml", line=2),
        latency: Place(file="ci/budgets.toml", line=6),
    }


@pytest.mark.parametrize(
    "text",
    [
        'budgets = [{ metric = "file_size", limit = "1 kB" }]\n',
        'name = """\n[[budgets]]\n"""\n[[budgets]]\nmetric = "file_size"\nlimit = "1 kB"\n',
    ],
)
def test_where_it_is_not_clear_there_is_no_place(budgets: Path, text: str) -> None:
    budgets.write_text(text)
    assert find_places(budgets, load_gate_spec(budgets, of_recipe=True).budgets) == {}


def test_files_are_named_from_where_edgekd_runs(budgets: Path) -> None:
    run = run_of("student.fp32.onnx")
    absolute = replace(run, models=(replace(run.models[0], path=budgets.parents[1] / "runs" / "student.fp32.onnx"),))
    assert '"uri": "runs/student.fp32.onnx"' in announcement("sarif", release=MIXED, run=absolute, places={})
    elsewhere = replace(run, models=(replace(run.models[0], path=Path("/data/student.fp32.onnx")),))
    assert '"uri": "file:///data/student.fp32.onnx"' in announcement("sarif", release=MIXED, run=elsewhere, places={})


def test_everything_that_is_wrong_with_wishes_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        read_wishes(["junit", "sarrif=a.sarif", "badge=b.svg"])
    assert "'junit' is no format and file; allowed: FORMAT=FILE" in str(caught.value)
    assert "unknown announcer 'sarrif'" in str(caught.value)
    assert "did you mean 'sarif'?" in str(caught.value)


def test_one_file_that_can_t_be_written_leaves_the_others(budgets: Path) -> None:
    (budgets.parent / "file").touch()
    wishes = [("badge", budgets.parent / "file" / "badge.svg"), ("junit", budgets.parent / "new" / "junit.xml")]
    (error,) = announce(wishes, release=MIXED, run=run_of(), places={})
    assert str(error).startswith(f"{wishes[0][1]}: can't write it: ")
    assert wishes[1][1].read_text().startswith("<?xml")


def test_one_s_own_format_is_a_function_that_asks_for_what_it_needs(budgets: Path) -> None:
    (budgets.parents[1] / "chat.py").write_text("def say(*, release):\n    return f'{release.status}!'\n")
    wishes = read_wishes([f"chat:say={budgets.parent / 'said.txt'}"])
    assert announce(wishes, release=MIXED, run=run_of(), places={}) == []
    assert (budgets.parent / "said.txt").read_text() == "fail!"


def test_a_format_that_fails_leaves_the_others(budgets: Path) -> None:
    source = "from edgekd import EdgekdError\n\ndef say(*, release):\n    raise EdgekdError('no room')\n"
    (budgets.parents[1] / "full.py").write_text(source)
    (error,) = announce([("full:say", Path("a")), ("badge", Path("b.svg"))], release=MIXED, run=run_of(), places={})
    assert str(error) == "no room"
    assert Path("b.svg").exists()


def test_the_step_summary_is_added_to_and_stays_within_its_limit(
    budgets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = budgets.with_name("summary.md")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert add_to_step_summary(MIXED, run_of()) is None
    assert add_to_step_summary(MIXED, run_of()) is None
    assert summary.read_text(encoding="utf-8").count("## edgekd gate: ❌ fail") == 2
    many = release_of(*(check("fail", model=f"student-{i}.onnx") for i in range(10_000)))
    assert add_to_step_summary(many, run_of()) is None
    assert 900_000 < summary.stat().st_size <= 1_048_576


def test_without_a_step_summary_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    assert add_to_step_summary(MIXED, run_of()) is None


def test_a_step_summary_that_can_t_be_written_is_an_error(budgets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(budgets.parent))
    assert "can't write it" in str(add_to_step_summary(MIXED, run_of()))
