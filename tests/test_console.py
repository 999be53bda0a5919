"""What people see, line by line."""

import io
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from edgekd.console import (
    Terminal,
    checks_table,
    comparison_table,
    facts_table,
    measurements_table,
    plain_table,
    verdict_lines,
)
from edgekd.errors import StoreError
from edgekd.records import (
    Budget,
    Change,
    Check,
    Conditions,
    EpochRecord,
    Measurement,
    Release,
    Role,
    Run,
    Status,
    TermShare,
    Waiver,
)
from edgekd.units import METRICS

CHECK = Check(
    budget=Budget(metric="latency", statistic="p90", limit="10 ms"),
    model="student.[int8].tflite",
    target="host",
    unit="s",
    limit=0.01,
    observed=0.012,
    low=0.011,
    high=0.013,
    status="fail",
    reason="p90 of 100 runs [11 ms, 13 ms] is above the limit",
)


def release_of(*statuses: Status) -> Release:
    return Release(model_sha256s=("0",), checks=tuple(replace(CHECK, status=status) for status in statuses))


def test_every_budget_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().print(checks_table(release_of("fail", "pass", "inconclusive", "unmeasured")))
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if "latency p90" in line]
    assert [row.split()[0] for row in rows] == ["FAIL", "pass", "open", "NONE"]
    assert all("student.[int8].tflite" in row and "≤ 10 ms" in row and "12.0 ms" in row for row in rows)


@pytest.mark.parametrize(
    ("statuses", "word"),
    [
        (("pass",), "PASS"),
        (("pass", "fail"), "FAIL"),
        (("pass", "inconclusive"), "INCONCLUSIVE"),
        (("unmeasured", "inconclusive"), "UNMEASURED"),
        ((), "UNMEASURED"),
    ],
)
def test_the_verdict_comes_first(statuses: tuple[Status, ...], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().print(verdict_lines(release_of(*statuses)))
    first, *reasons = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{word}: ")
    assert len(reasons) == sum(status != "pass" for status in statuses)
    assert all("student.[int8].tflite" in reason and CHECK.reason in reason for reason in reasons)


def test_of_very_many_checks_those_are_shown_that_keep_the_release_back(capsys: pytest.CaptureFixture[str]) -> None:
    statuses: tuple[Status, ...] = ("pass",) * 300 + ("inconclusive",) * 100 + ("fail",) * 30
    release = replace(release_of(*statuses), strict=False)
    Terminal().print(checks_table(release), verdict_lines(release))
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split()[0] for line in lines if "≤ 10 ms" in line]
    assert rows == ["open"] * 10 + ["FAIL"] * 30
    assert sum(CHECK.reason in line for line in lines) == 40
    assert any("390 of 430 checks are not shown; 300 pass; --json has all" in line for line in lines)


def test_what_is_waived_or_let_pass_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    waiver = Waiver(metric="latency", owner="ann", reason="", expires="2027-01-01")
    idle = replace(waiver, metric="accuracy")
    waived = replace(CHECK, waiver=waiver)
    passed = replace(CHECK, status="pass")
    release = Release(model_sha256s=(), checks=(waived, passed), waivers=(waiver, idle))
    Terminal().print(checks_table(release), verdict_lines(release))
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines() if "≤ 10 ms" in line] == ["waived", "pass"]
    assert "PASS: every budget is met, but for 1 that is waived" in shown
    assert "the waiver of accuracy by ann is not needed: take it out" in shown
    Terminal().print(verdict_lines(replace(release_of("inconclusive"), strict=False)))
    assert "that keeps no release back (--lenient)" in capsys.readouterr().out


def test_what_changed_since_the_last_release_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    changes = tuple(Change(what=f"recipe: [a].{number}", before="1", after="2") for number in range(30))
    held = replace(release_of("pass"), baseline="v1 (main)", changes=changes)
    Terminal().print(verdict_lines(held))
    _, title, *lines = capsys.readouterr().out.splitlines()
    assert title == "changed since v1 (main):"
    assert lines == [*(f"  recipe: [a].{number}: 1 → 2" for number in range(20)), "  and 10 more"]
    Terminal().print(verdict_lines(replace(held, changes=())))
    assert "nothing is known to have changed since v1 (main)" in capsys.readouterr().out


def test_a_long_row_stays_whole_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    cells = tuple(f"column-{index}-{'x' * 30}" for index in range(8))
    Terminal().print(plain_table(cells, [cells]), facts_table({"key": "y" * 300}))
    out = capsys.readouterr().out
    assert all(cell in line for cell in cells for line in out.splitlines()[:2])
    assert "y" * 300 in out


def row_of(name: str, target: str, **samples: tuple[float, ...]) -> tuple[Measurement, ...]:
    return tuple(
        Measurement(
            model_sha256=name,
            model=name,
            format="tflite",
            precision="int8",
            role="student",
            target=target,
            metric=metric,
            unit=METRICS[metric].unit,
            samples=values,
            basis="emulated" if target == "cortex-m4" and METRICS[metric].unit == "s" else "measured",
        )
        for metric, values in samples.items()
    )


FILES = tuple(
    measurement
    for name in ("student.fp32.onnx", "student.[static_wi8_ai8].tflite")
    for target in ("host", "cortex-m4")
    for measurement in row_of(
        name,
        target,
        file_size=(123_400.0,),
        compressed_size=(56_700.0,),
        accuracy=(1.0, 1.0, 1.0, 0.0),
        latency=(0.002,) * 100,
        load_time=(0.011, 0.013, 0.012),
        first_inference=(0.021, 0.0234, 0.022),
        arena_size=(7_800.0,),
        peak_memory=(9_100_000.0,),
    )
)


def test_off_a_terminal_every_column_of_the_files_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().print(measurements_table(FILES))
    _, columns, *rows = capsys.readouterr().out.splitlines()
    names = "file size gzip parameters accuracy drop target p50 p90 load first arena memory"
    assert " ".join(columns.split()) == names
    cells = "student.fp32.onnx 123.4 kB 56.7 kB 75.00 % host 2 ms 2 ms 13.0 ms 23.4 ms 7.8 kB 9.1 MB"
    assert " ".join(rows[0].split()) == cells
    assert "~2 ms" in rows[1]
    assert "~13.0 ms  ~23.4 ms" in rows[1]


def test_what_a_compiler_estimates_is_marked_and_has_columns_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    npu = row_of("it.tflite", "npu", latency=(403e-6,), sram_size=(51_840.0,), flash_size=(79e3,), npu_share=(1.0,))
    Terminal().print(measurements_table([*FILES, *(replace(each, basis="estimated") for each in npu)]))
    _, columns, *rows, notes = capsys.readouterr().out.splitlines()
    assert columns.split()[-4:] == ["SRAM", "flash", "on", "NPU"]
    assert " ".join(rows[-1].split()) == "it.tflite npu ≈403.0 µs ≈51.8 kB ≈79.0 kB ≈100.00 %"
    assert notes.rstrip().endswith("≈: estimated by Vela   load, first: the largest of the few that were timed")


def test_times_that_prove_nothing_are_marked_and_the_reason_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    hot = Conditions(tainted="throttled")
    tainted = [
        replace(each, conditions=hot) if each.unit == "s" and each.target == "host" and "onnx" in each.model else each
        for each in FILES
    ]
    Terminal().print(measurements_table(tainted))
    _, _, onnx, _, tflite, _, notes, reason = capsys.readouterr().out.splitlines()
    assert "host !2 ms !2 ms !13.0 ms !23.4 ms 7.8 kB" in " ".join(onnx.split())
    assert "!" not in tflite
    assert "!: tainted, see below" in notes
    assert reason == (
        "tainted on host (throttled): latency, load time, first inference of student.fp32.onnx; "
        "take it again when the target is cool and well powered"
    )
    Terminal().print(measurements_table(FILES))
    assert "tainted" not in capsys.readouterr().out


@pytest.mark.parametrize("width", [200, 139, 120, 100, 80, 50])
def test_on_a_terminal_no_cell_is_cut(width: int) -> None:
    console = Console(width=width, file=io.StringIO())
    with console.capture() as captured:
        console.print(measurements_table(FILES))
    text = captured.get()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    columns = set(text.splitlines()[1].split())
    assert {"file", "size", "accuracy", "drop", "target", "p50"} <= columns
    # What tells least goes first, and only where it must.
    assert ({"load", "first"} <= columns) == (width >= 139)
    assert ({"p90", "gzip"} <= columns) == (width >= 120)
    if width >= 80:
        assert "student.[static_wi8_ai8].tflite" in text


def trained(name: str, role: Role, right: int, metric: str = "accuracy") -> Measurement:
    """A network that has the first so many of 100 test samples right."""
    return Measurement(
        model_sha256=name,
        model=name,
        format="torch",
        precision="fp32",
        role=role,
        target="training",
        metric=metric,
        unit="1",
        samples=(1.0,) * right + (0.0,) * (100 - right),
    )


TRAINED = (
    trained("teacher-0", "teacher", 96),
    trained("student", "student", 91),
    *(trained(f"student-seed-{seed}", "repeat", right) for seed, right in enumerate((91, 89, 90))),
    *(trained(f"control-seed-{seed}", "control", right) for seed, right in enumerate((86, 86, 86))),
)


def printed(capsys: pytest.CaptureFixture[str], **parts: Any) -> list[str]:
    Terminal().print(comparison_table(Run(name="run", folder=Path(), recipe="", **parts)))
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_after_the_table_a_line_says_what_distilling_gained(capsys: pytest.CaptureFixture[str]) -> None:
    _, _, *rows, _, last = printed(capsys, measurements=TRAINED)
    assert rows == ["teacher-0 96.00 %", "control (3 seeds) 86.00 % +10.00 pt", "student 91.00 % +5.00 pt"]
    # Differences of 5, 3 and 4 points: mean 4, sd 1, t(2) = 4.3027, so 4 -+ 4.3027 / sqrt(3); the gap is 10.
    assert last == (
        "distilling gained 4.00 pt (1.52 to 6.48; 3 seeds, paired t) and recovered 40 % (15 to 65 %) "
        "of the gap to the teacher"
    )


def test_without_a_control_a_line_says_how_to_have_one(capsys: pytest.CaptureFixture[str]) -> None:
    *_, last = printed(capsys, measurements=TRAINED[:2])
    assert last == "no control was trained: set distill.control = true to know what distilling gained"


def test_where_nothing_was_distilled_the_table_is_all(capsys: pytest.CaptureFixture[str]) -> None:
    for measurements in (TRAINED[1:2], tuple(replace(each, target="host") for each in TRAINED[:2])):
        *_, last = printed(capsys, measurements=measurements)
        assert last.startswith("drop: accuracy lost")


def test_a_loss_that_hardly_counts_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    terms = (
        TermShare(name="kl", weight=1, loss=0.9, gradient=0.995),
        TermShare(name="h[i]nt", weight=1, loss=0.1, gradient=0.005),
    )
    epoch = EpochRecord(epoch=0, learning_rate=0.1, train_loss=1, validation_loss=1, validation_score=0.5, terms=terms)
    *_, last = printed(capsys, measurements=TRAINED, histories={"student": (epoch,)})
    assert last.startswith("warning: h[i]nt has 0.5 % of the gradient of student, below 1 %")


def test_an_error_is_shown_by_its_name_and_not_in_percent(capsys: pytest.CaptureFixture[str]) -> None:
    errors = tuple(
        replace(each, metric="mean_squared_error", samples=tuple(2.5 - sample for sample in each.samples))
        for each in TRAINED
    )
    _, columns, *rows, note, last = printed(capsys, measurements=errors)
    assert "mean squared error" in columns
    assert rows == ["teacher-0 1.54", "control (3 seeds) 1.64 +0.1", "student 1.59 +0.05"]
    assert note.startswith("drop: mean squared error above the teacher's")
    assert last.startswith("distilling lowered the mean squared error by 0.04 (0.0152 to 0.0648; 3 seeds, paired t)")


def test_a_table_of_no_files_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().print(measurements_table(()))
    assert "Files" in capsys.readouterr().out


def test_json_mode_prints_the_result_alone(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(as_json=True)
    terminal.print("for people")
    terminal.say("for people")
    terminal.result({"path": Path("a") / "b", "checks": release_of("pass").checks})
    assert capsys.readouterr().out.startswith('{\n "path": "a/b"')


def test_what_is_printed_and_logged_is_in_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    with terminal.logging_to(tmp_path / "run"):
        terminal.say("[bold]not markup[/] :car:")
        logging.getLogger("edgekd").warning("careful: %s", "[red]")
    terminal.say("after")
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "[bold]not markup[/] :car:\n" in log
    assert "WARNING careful: [red]\n" in log
    assert "after" not in log
    assert "[bold]not markup[/] :car:\nafter\n" in capsys.readouterr().out


def test_a_log_is_added_to(tmp_path: Path) -> None:
    terminal = Terminal(as_json=True)
    for word in ("first", "second"):
        with terminal.logging_to(tmp_path):
            terminal.say(word)
    assert (tmp_path / "log.txt").read_text() == "first\nsecond\n"


def test_a_folder_that_can_not_be_made_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(StoreError, match=r"taken.*--out"), Terminal().logging_to(tmp_path / "taken" / "run"):
        pass


def test_off_a_terminal_progress_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr("edgekd.console.terminal.time.monotonic", lambda: clock[0])
    with Terminal().progress() as progress:
        progress.start("student", 100)
        progress.advance(50)  # a resumed training: these took no time
        for _ in range(50):
            clock[0] += 1
            progress.advance()
        progress.end()
    # One step a second: after 10 of 50 fresh steps, 40 are left.
    assert capsys.readouterr().err.splitlines()[:2] == ["student: 60%, 40 s left", "student: 70%, 30 s left"]
