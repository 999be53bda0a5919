"""Logs that others recorded, read as they meant them; `logs` has them with their sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd.runtimes._benchmark_log import ROUNDED, Timings, read_delegate, read_flags, read_log
from tests.runtimes.interpreter_benchmark import encode

LOGS = Path(__file__).with_name("logs")
MB = 2**20


def recorded(name: str) -> str:
    return (LOGS / f"{name}.txt").read_text(encoding="utf-8")


def test_every_log_says_where_it_is_from() -> None:
    for log in LOGS.iterdir():
        assert log.read_text(encoding="utf-8").startswith("# "), log


@pytest.mark.parametrize(
    ("name", "load_ns", "first_ns", "smallest", "largest", "added_mb"),
    [
        ("classic_xnnpack", 614_333_000, 905_463_000, 898_007_000, 906_121_000, 150.141),
        ("classic_plain", 5_579_000, 1_357_602_000, 1_238_588_000, 1_252_566_000, 109.832),
        ("classic_2020", 855_000, 49_060_000, 32_641_000, 34_005_000, 12.8672),
        ("unconsumed_flag", 18_738_000, 140_706_000, 73_909_000, 75_323_000, 64.8633),
        ("litert", 23_744_730_000, 7_441_040_000, 7_416_400_000, 7_448_860_000, 6391.74),
    ],
)
def test_times_are_those_of_the_log(
    name: str, load_ns: int, first_ns: int, smallest: int, largest: int, added_mb: float
) -> None:
    log = read_log(recorded(name))
    assert log.runs
    assert (log.load_ns, log.first_ns) == (load_ns, first_ns)
    assert (log.runs.smallest, log.runs.largest) == (smallest, largest)
    assert log.added_bytes == pytest.approx(added_mb * MB, abs=1)


def test_a_summary_of_many_runs_is_no_sample() -> None:
    for name, count in (("classic_xnnpack", 50), ("litert", 10)):
        runs = read_log(recorded(name)).runs
        assert runs
        assert (runs.count, runs.samples()) == (count, [])


@pytest.mark.parametrize(
    ("line", "samples"),
    [
        ("count=1 curr=905463 p5=905463 median=905463 p95=905463", [905463]),
        ("INFO: count=2 first=121 curr=115 min=115 max=121 avg=118 std=3", [121, 115]),
        ("INFO: count=2 first=115 curr=121 min=115 max=121 avg=118 std=3 p5=115 median=121 p95=121", [115, 121]),
        ("count=2 curr=78(all same)", [78, 78]),
    ],
)
def test_a_summary_of_one_or_two_runs_is_all_of_them(line: str, samples: list[int]) -> None:
    runs = read_log(f"count=5 first=9 curr=8 min=7 max=9 avg=8 std=1\n{line}").runs
    assert runs
    assert runs.samples() == [us * 1000 for us in samples]


@pytest.mark.parametrize(
    ("name", "delegate"),
    [
        ("classic_xnnpack", "XNNPACK"),
        ("unconsumed_flag", "XNNPACK in 22 parts"),
        ("classic_plain", None),
        ("classic_2020", None),
    ],
)
def test_a_delegate_is_what_took_operators_not_what_was_created(name: str, delegate: str | None) -> None:
    assert read_log(recorded(name)).delegate == delegate
    nothing = (
        "INFO: Though XNNPACK delegate is explicitly applied, the model graph will not be executed by the delegate."
    )
    assert read_log(f"INFO: XNNPACK delegate created.\n{nothing}").delegate == "none"


def test_what_went_wrong_is_the_first_error() -> None:
    assert read_log(recorded("unknown_operator")).complaint.startswith("Didn't find op for builtin opcode 'MUL'")
    assert read_log(recorded("refused_delegate")).complaint == "Failed to apply XNNPACK delegate."
    assert read_log("ERROR: [file.cc:12] it broke\nERROR: Benchmarking failed.").complaint == "it broke"
    assert read_log(recorded("classic_xnnpack")).complaint == ""


def test_flags_that_were_ignored_are_named() -> None:
    assert read_log(recorded("unconsumed_flag")).unknown_flags == "--allow_fp16"
    assert read_log("WARN: Unconsumed cmdline flags: --a=1 --b").unknown_flags == "--a=1 --b"
    assert read_log(recorded("classic_xnnpack")).unknown_flags == ""


def test_a_result_file_has_what_the_log_rounds() -> None:
    # By the wire format, not by the schema that is being tested.
    latency = encode({1: 0.0795, 2: 0.078, 3: 0.081, 8: 530.25, 9: 124.02})
    content = encode({2: latency, 3: encode({1: 3000, 2: 12484}), 4: encode({1: 4.2, 2: 2, 3: 17})})
    log = read_log("INFO: [benchmark_litert_model.h:104] Inference (min):      0.08 ms", content)
    assert log.runs
    assert (log.load_ns, log.first_ns, log.warmups) == (530_250_000, 124_020_000, 17)
    assert (log.runs.samples(), log.runs.unit) == ([78_000, 81_000], 1000)
    assert log.added_bytes == 12484 * 1024


def test_lines_in_microseconds_come_before_all_others() -> None:
    content = encode({2: encode({2: 9.0, 3: 9.0, 8: 9.0, 9: 9.0}), 4: encode({2: 2, 3: 1})})
    log = read_log("Initialized session in 0.53ms.\ncount=1 curr=124\ncount=2 first=5 curr=6 min=5 max=6", content)
    assert log.runs
    assert (log.load_ns, log.first_ns, log.runs.samples()) == (530_000, 124_000, [5000, 6000])


def test_what_litert_prints_is_known_to_be_rounded() -> None:
    runs = read_log(recorded("litert")).runs
    assert runs
    assert runs.unit == ROUNDED == 10_000


@pytest.mark.parametrize("content", [b"\xff\xff", b"\x12\x7f"])
def test_a_broken_file_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match="pars"):
        read_log("", content)
    with pytest.raises(ValueError, match="pars"):
        read_delegate(content)


def test_a_log_of_nothing_says_nothing() -> None:
    log = read_log("sh: not found")
    assert (log.load_ns, log.first_ns, log.runs, log.added_bytes, log.delegate) == (None,) * 5


def test_delegates_are_counted_in_the_file_of_the_runtime() -> None:
    # In LiteRT's own words it is written and read in test_benchmark_model.py, in another process.
    assert read_delegate(b"") == "none"
    taken = encode({3: encode({8: encode({1: b"TfLiteXNNPackDelegate"})})})
    left = encode({3: encode({2: b"CONV_2D"})})
    assert read_delegate(encode({2: taken}) + encode({2: taken}) + encode({2: left})) == "XNNPACK in 2 parts"


def test_no_flags_are_read_from_other_lines() -> None:
    assert read_flags("INFO: STARTING!\nERROR: unknown --graph\n") == frozenset()


def test_order_is_kept_where_it_is_known() -> None:
    assert Timings(count=2, smallest=1, largest=2, first=2).samples() == [2, 1]
    assert Timings(count=2, smallest=1, largest=2, first=1).samples() == [1, 2]
    assert Timings(count=1, smallest=1, largest=1).samples() == [1]
