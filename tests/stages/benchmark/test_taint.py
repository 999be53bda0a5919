"""When times are worth nothing: by what Raspberry Pis and Linux document, and on a host that says so of itself."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgekd.records import BenchmarkSpec, Budget, Measurement, Model, Target
from edgekd.stages.benchmark import benchmark, describe_file, taint
from edgekd.stages.benchmark.taint import cool_down, find_taint
from edgekd.stages.gate import gate
from tests.transports.programs import write_program
from tests.transports.sshd import Server

HOST = Target(name="host", description="", runtimes=("onnxruntime",))
SPEC = BenchmarkSpec(runs=60, time_limit_s=0.2)


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({}, {}, ""),
        # It is past, and was so before.
        ({"throttled": "0x50000"}, {"throttled": "0x50000"}, ""),
        ({"throttled": "0x0"}, {"throttled": "0x10000"}, "under-voltage"),
        ({"throttled": "0x50005"}, {"throttled": "0x50000"}, "under-voltage, throttled"),
        ({"throttled": "0xf000f"}, {}, "under-voltage, frequency capped, throttled, soft temperature limit"),
        ({"throttled": "0xe0008"}, {"throttled": "0xe0008"}, "soft temperature limit"),
        ({"throttled": None, "governor": "a"}, {"throttled": None, "governor": "b"}, "governor changed"),
        ({"frequency_limits_hz": [2, 3]}, {"frequency_limits_hz": [2, 1]}, "frequency limit changed"),
        ({"too_hot": []}, {"too_hot": ["soc", "cpu"]}, "cpu too hot, soc too hot"),
    ],
)
def test_taints(before: Mapping[str, Any], after: Mapping[str, Any], found: str) -> None:
    assert find_taint(before, after) == found


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        # Getting hot is what a long run is for; it is told by its curve.
        ({"throttled": "0x0"}, {"throttled": "0xe000e"}, ""),
        ({"too_hot": [], "frequency_limits_hz": [2]}, {"too_hot": ["cpu"], "frequency_limits_hz": [1]}, ""),
        ({"throttled": "0x4"}, {"throttled": "0x4"}, "throttled"),
        ({"too_hot": ["cpu"]}, {"too_hot": ["cpu"]}, "cpu too hot"),
        ({"throttled": "0x0"}, {"throttled": "0x50000"}, "under-voltage"),
        ({"governor": "a"}, {"governor": "b"}, "governor changed"),
    ],
)
def test_a_long_run_may_heat_the_target(before: Mapping[str, Any], after: Mapping[str, Any], found: str) -> None:
    assert find_taint(before, after, may_heat=True) == found


def test_waiting_ends_with_the_taint_or_with_the_time() -> None:
    slept: list[float] = []

    def cools_after(looks: int) -> bool:
        slept.clear()
        states = [{"throttled": "0x4"}] * looks + [{"throttled": "0x40000"}]
        return cool_down(lambda: states[len(slept)], limit_s=60, sleep=slept.append, clock=lambda: sum(slept))

    assert cools_after(0)
    assert slept == []
    assert cools_after(3)
    assert sum(slept) == 3 * slept[0]
    assert not cools_after(1000)
    assert sum(slept) <= 60


@pytest.fixture
def model(tmp_path: Path) -> Model:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "g", ends[:1], ends[1:])
    path = tmp_path / "abs.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return describe_file(path)


@pytest.fixture
def flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of what `vcgencmd` answers, a line each time; the last one for ever. No waiting between two looks."""
    path = tmp_path / "flags"
    write_program(
        tmp_path / "bin" / "vcgencmd",
        '[ "$1" = get_throttled ] || exit 1\n'
        f'echo "throttled=$(head -n 1 {path})"\n[ "$(wc -l <{path})" -lt 2 ] || sed -i 1d {path}',
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(taint, "_LOOK_EVERY_S", 0.0)
    return path


def measure(*models: Model) -> dict[tuple[str, str], Measurement]:
    found = benchmark(models, targets=[HOST], spec=SPEC)
    return {(each.model, each.metric): each for each in found if each.target == "host"}


def status(measurements: Mapping[tuple[str, str], Measurement], metric: str, limit: str) -> tuple[str, str]:
    (check,) = gate(list(measurements.values()), budgets=[Budget(metric=metric, limit=limit)]).checks
    return check.status, check.reason


def test_a_tainted_run_is_rejected_and_repeated(model: Model, flags: Path, caplog: pytest.LogCaptureFixture) -> None:
    # Before and after the first run, one look that is still hot, and all that follow.
    flags.write_text("0x0\n0x40004\n0x40004\n0x40000\n")
    found = measure(model)
    assert [record.getMessage() for record in caplog.records] == [
        "abs.onnx on host: throttled; it rests, then times are taken again"
    ]
    conditions = found["abs.onnx", "latency"].conditions
    assert (conditions.throttled_before, conditions.throttled_after, conditions.tainted) == ("0x40000", "0x40000", "")
    assert status(found, "latency", "1 s")[0] == "pass"


def test_what_does_not_end_meets_no_budget_and_is_waited_for_once(
    model: Model, flags: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags.write_text("0x50005\n")
    looks: list[None] = []

    def give_up(look: object, **_: object) -> bool:
        looks.append(None)
        return cool_down(look, limit_s=-1)  # type: ignore[arg-type]

    monkeypatch.setattr("edgekd.stages.benchmark.session.cool_down", give_up)
    other = model.path.with_name("other.onnx")
    other.write_bytes(model.path.read_bytes())
    found = measure(model, describe_file(other))
    assert len(looks) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "abs.onnx on host: under-voltage, throttled; it rests, then times are taken again",
        "abs.onnx on host: under-voltage, throttled; times from there prove nothing",
        "other.onnx on host: under-voltage, throttled; times from there prove nothing",
    ]
    tainted = {metric for (_, metric), each in found.items() if each.conditions.tainted}
    assert tainted == {"latency", "load_time", "first_inference"}
    first = {key: each for key, each in found.items() if key[0] == "abs.onnx"}
    assert status(first, "latency", "1 s") == (
        "unmeasured",
        (
            "latency of abs.onnx on host is tainted (under-voltage, throttled); "
            "take it again when the target is cool and well powered"
        ),
    )
    assert status(first, "peak_memory", "1 GB")[0] == "pass"
    assert np.isfinite(found["abs.onnx", "latency"].samples).all()


def test_a_long_run_that_ends_throttled_is_evidence(model: Model, flags: Path) -> None:
    # Before and after: latency, memory, five loads but those two, then the long run.
    flags.write_text("0x0\n" * (2 * 5 + 1) + "0x40004\n")
    found = benchmark([model], targets=[HOST], spec=dataclasses.replace(SPEC, time_limit_s=30, sustained_s=0.5))
    (long_run,) = (each for each in found if each.metric == "sustained_latency")
    assert (long_run.conditions.throttled_before, long_run.conditions.throttled_after) == ("0x0", "0x40004")
    assert long_run.conditions.tainted == ""
    assert gate(found, budgets=[Budget(metric="sustained_latency", statistic="p50", limit="1 s")]).status == "pass"


def test_flags_are_those_of_the_machine_that_is_measured(
    model: Model, ssh: Target, sshd: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgekd.stages.benchmark.session.cool_down", lambda *_, **__: False)
    program = sshd.folder / "home" / "bin" / "vcgencmd"
    write_program(program, "echo throttled=0x50005")
    try:
        found = benchmark([model], targets=[ssh], spec=SPEC)
    finally:
        program.unlink()
    (latency,) = (each for each in found if each.metric == "latency")
    assert latency.conditions.tainted == "under-voltage, throttled"
