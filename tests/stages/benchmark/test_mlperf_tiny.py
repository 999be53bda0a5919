"""Serial logs of MLPerf Tiny that others recorded, read as they meant them; `logs` has parts with their sources."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import MeasurementError
from edgekd.stages.benchmark.mlperf_tiny import SerialLog, parse_log, parse_summary

LOGS = Path(__file__).with_name("logs")
BOARD = "device_logs/NUCLEO_U575ZI_Q"


def recorded(name: str) -> str:
    """A log without the line that says where it is from."""
    return (LOGS / name).read_text(encoding="utf-8").partition("\n")[2]


def read(name: str) -> SerialLog:
    return parse_log(recorded(name), name)


def test_every_log_says_where_it_is_from_and_under_what_licence() -> None:
    for log in LOGS.iterdir():
        first = log.read_text(encoding="utf-8").partition("\n")[0]
        assert first.startswith("# mlcommons/tiny"), log
        assert "(Apache-2.0)" in first, log


def test_single_inferences_are_those_of_the_log() -> None:
    log = read("kws_accuracy.txt")
    assert (log.session, log.runner, log.model) == ("20240309165238", "3.0.10", "kws01")
    assert log.firmware == "ULPMark for tinyML Firmware V0.0.1"
    assert [(each.sample, each.size_bytes, each.count) for each in log.answers] == [
        ("tst_000000_Stop_7.bin", 490, 1),
        ("tst_000001_Left_2.bin", 490, 1),
        ("tst_000002_Right_6.bin", 490, 1),
    ]
    assert log.answers[0].elapsed_us == 212541736 - 212510928
    assert [np.argmax(each.outputs) for each in log.answers] == [7, 2, 6]
    assert log.answers[0].line == 39
    assert log.clock_ratio is None  # of half a second nothing can be said


def test_windows_are_those_of_the_log_and_of_its_summary() -> None:
    log = read("kws_performance_log.txt")
    assert [each.elapsed_us for each in log.answers] == [11624042, 11622660, 11621337, 11624034, 11619322]
    assert {each.count for each in log.answers} == {400}
    assert log.clock_ratio == pytest.approx((187497573 - 128491169) / 1e6 / (179.590 - 121.073), rel=1e-12)
    summary = parse_summary(recorded("kws_performance_results.txt"), "results.txt")
    assert summary.median_throughput == 34.416
    assert [each.runtime_s for each in summary.windows] == [11.624, 11.623, 11.621, 11.624, 11.619]
    assert (summary.top1, summary.auc) == (None, None)


def test_a_target_that_repeats_commands_and_breaks_lines_is_understood() -> None:
    log = read("phone_performance.txt")
    assert log.firmware == "ULPMark for tinyML Firmware V0.0.1"
    (answer,) = log.answers
    assert (answer.count, answer.elapsed_us) == (120000, 3183186721 - 3172932105)
    assert answer.outputs[11] == 0.563


def test_a_clock_that_starts_again_goes_on() -> None:
    text = recorded("kws_accuracy.txt").replace("m-lap-us-212510928", "m-lap-us-4294960000")
    text = text.replace("m-lap-us-212541736", "m-lap-us-23512")
    assert parse_log(text, "log.txt").answers[0].elapsed_us == 2**32 - 4294960000 + 23512


@pytest.mark.parametrize("task", ["ad", "ic", "kws", "vww"])
def test_whole_logs_hold_what_is_found_in_them_in_another_way(shared_data: Path, task: str) -> None:
    for kind in ("accuracy", "performance"):
        path = shared_data / BOARD / task / kind / "log.txt"
        if not path.exists():
            assert (task, kind) == ("ad", "accuracy")
            continue
        text = path.read_text()
        log = parse_log(text, str(path))
        laps = np.array([int(lap) for lap in re.findall(r"m-lap-us-(\d+)", text)][1:]).reshape(-1, 2)
        elapsed = np.where(laps[:, 1] < laps[:, 0], laps[:, 1] + 2**32, laps[:, 1]) - laps[:, 0]
        assert [each.elapsed_us for each in log.answers] == elapsed.tolist()
        outputs = [[float(each) for each in row.split(",")] for row in re.findall(r"m-results-\[(.+)\]", text)]
        assert [list(each.outputs) for each in log.answers] == outputs
        assert log.clock_ratio == pytest.approx(1.0085, abs=5e-4)  # this board's oscillator


@pytest.mark.parametrize("name", ["kws_accuracy.txt", "kws_performance_log.txt", "phone_performance.txt"])
def test_no_log_that_was_cut_short_is_read(name: str) -> None:
    lines = recorded(name).splitlines(keepends=True)
    for kept in range(len(lines) - 1):  # the last one only says where the session was saved
        with pytest.raises(MeasurementError):
            parse_log("".join(lines[:kept]), "log.txt")


def test_a_line_that_is_lost_changes_nothing_or_is_noticed() -> None:
    text, whole = recorded("kws_accuracy.txt"), read("kws_accuracy.txt")
    lines = text.splitlines(keepends=True)
    wanted = [(each.sample, each.elapsed_us, each.outputs) for each in whole.answers]
    read_anyway = 0
    for lost in range(len(lines)):
        try:
            log = parse_log("".join(lines[:lost] + lines[lost + 1 :]), "log.txt")
        except MeasurementError:
            continue
        read_anyway += 1
        assert [(each.sample, each.elapsed_us, each.outputs) for each in log.answers] == wanted
    assert 0 < read_anyway < len(lines) / 2


FIRST_LAP, SECOND_LAP = "dut: m-lap-us-212510928", "dut: m-lap-us-212541736"
RESULTS, INFER = "0.996,0.000,0.000,0.000,0.000]\n", 'Command "dut infer 1 0"'


@pytest.mark.parametrize(
    ("old", "new", "at", "words"),
    [
        (
            "00203.636 session:",
            "session:",
            "m-session-start",
            "'session: m-session-start-id[20240309165238]' is no line",
        ),
        (
            "m-session-stop-id[20240309165238]",
            "m-session-stop-id[1]",
            "stop-id",
            "session 20240309165238 begins, 1 ends",
        ),
        ("[ML Performance 1.0.1]-code[ulp-mlperf]", "[ML Energy 1.0.1]-code[ulp-ml]", "", "it is of 'ML Energy 1.0.1'"),
        ("m-model-[kws01]", "m-model-[ic01]", "", "the target runs 'ic01', the runner asked for 'kws01'"),
        ("m-model-[kws01]", "m-modl-[kws01]", "", "it says nothing of its model"),
        (FIRST_LAP, "dut: e-[Unknown command: infer]", FIRST_LAP, "the target reported 'e-[Unknown command: infer]'"),
        (FIRST_LAP, "dut: m-lap-us-2125x", FIRST_LAP, "the target said 'm-lap-us-2125x' where 'm-lap-us-N' is due"),
        (SECOND_LAP, "dut: m-lap-us-212510928", SECOND_LAP, "the laps are 0 µs apart, their lines 0.030 s"),
        (SECOND_LAP, "dut: m-lap-us-215541736", SECOND_LAP, "the laps are 3030808 µs apart, their lines 0.030 s"),
        ("infer-start-1\n", "infer-start-2\n", "m-warmup-start-0", "0 + 2 inferences where 0 + 1 were asked for"),
        (RESULTS, "0.996,0.000,0.0\n", RESULTS, "' where 'm-results-[X]' is due"),
        (RESULTS, "0.996,0.000,0.000,0.000]\n", "", "results of 11 and 12 numbers in one log"),
        ("m-bload-done", "m-bload-failed", 'Command "bload', "'tst_000000_Stop_7.bin' did not reach the target"),
        ("00204.395 dut", "00204.495 dut", SECOND_LAP, "time goes back, from 204.495 to 204.425 s"),
        ("i[6]-command", "i[7]-command", "i[6]-command", "step 7 where step 6 is due"),
        (INFER, 'Command "dut infer 9 0"', INFER, "the command 'dut infer 9 0', which was not announced"),
    ],
)
def test_what_is_wrong_with_a_log_is_one_line_that_names_its_place(old: str, new: str, at: str, words: str) -> None:
    text = recorded("kws_accuracy.txt")
    line = text[: text.index(at)].count("\n") + 1
    assert old in text
    with pytest.raises(MeasurementError) as caught:
        parse_log(text.replace(old, new, 1), "kws/log.txt")
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"kws/log.txt:{line}: " if at else "kws/log.txt: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("count", ["0", "x", "1" * 5000])
def test_a_count_that_is_none_is_refused(count: str) -> None:
    with pytest.raises(MeasurementError, match=f"log.txt:39: 'dut infer {count[:50]}.*' without an input or a number"):
        parse_log(recorded("kws_accuracy.txt").replace("dut infer 1 0", f"dut infer {count} 0"), "log.txt")


def test_two_sessions_in_one_file_are_refused() -> None:
    text = recorded("kws_accuracy.txt")
    with pytest.raises(MeasurementError, match="a second session begins"):
        parse_log(text + text.replace("\n00", "\n10").replace("00203.636", "10203.636", 1), "log.txt")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "results.txt: neither accuracy nor windows with their median are in it"),
        ("Median: 3", "results.txt:1: 'Median: 3' is no line of a summary"),
        ("00001.000 ulp-mlperf: Cannot compute", "neither accuracy nor windows"),
        ("00001.000 ulp-mlperf: Median throughput is 34.416 inf./sec.", "neither accuracy nor windows"),
    ],
)
def test_a_summary_that_says_nothing_is_refused(text: str, words: str) -> None:
    with pytest.raises(MeasurementError) as caught:
        parse_summary(text, "results.txt")
    assert words in str(caught.value)
