"""Energies of files on a machine that tells its power, by the real runner, up to gate and report."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgekd.records import BenchmarkSpec, Budget, Measurement, Model, Target
from edgekd.stages.benchmark import benchmark, describe_file
from edgekd.stages.benchmark.energy import joules_of, watts_of
from edgekd.stages.gate import gate
from edgekd.stages.report.summary import summarise
from tests.power import WATTS, write_vcgencmd

HOST = Target(name="host", description="", runtimes=("onnxruntime",))
SPEC = BenchmarkSpec(runs=60, time_limit_s=0.5)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "g", ends[:1], ends[1:])
    path = tmp_path / "abs.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return describe_file(path)


@pytest.fixture
def tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a `vcgencmd` that is found first."""
    write_vcgencmd(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "bin"


def energies(found: tuple[Measurement, ...]) -> list[Measurement]:
    return [each for each in found if each.metric == "energy"]


@pytest.mark.usefixtures("tells")
def test_energy_is_mean_power_times_latency_and_the_gate_judges_it(model: Model, tmp_path: Path) -> None:
    found = benchmark([model], targets=[HOST], spec=SPEC, folder=tmp_path / "kept")
    (energy,) = energies(found)
    assert (energy.unit, energy.basis, energy.conditions.tainted) == ("J", "measured", "")
    assert energy.conditions.energy_source == "pmic"
    assert energy.conditions.idle_w == pytest.approx(WATTS, rel=0.02)
    assert energy.conditions.running_w == pytest.approx(WATTS, rel=0.02)
    lines = (tmp_path / "kept" / "host" / "abs.onnx.energy.jsonl").read_text().splitlines()
    told = next(each for each in map(json.loads, lines) if each["event"] == "energy")
    expected = [WATTS * each["s"] / each["runs"] for each in told["parts"]]
    np.testing.assert_allclose(energy.samples, expected, rtol=0.02)
    assert 5 <= len(energy.samples) <= 10, "on a busy machine fewer fit into the time"

    figure = summarise(energy).figure
    assert figure is not None
    assert figure.low is not None
    assert figure.low <= figure.value == pytest.approx(np.mean(energy.samples))
    limits = {f"{2e3 * np.max(energy.samples):f} mJ": "pass", f"{1e6 * np.min(energy.samples) / 2:f} uJ": "fail"}
    for limit, status in limits.items():
        (check,) = gate(found, budgets=[Budget(metric="energy", limit=limit, target="host")]).checks
        assert (check.status, check.unit) == (status, "J")
        assert "energy of 10 runs" in check.reason
        assert "J with 95 % interval [" in check.reason


def test_a_machine_that_tells_nothing_meets_no_budget_on_energy(model: Model) -> None:
    found = benchmark([model], targets=[HOST], spec=SPEC)
    if told := energies(found):
        pytest.skip(f"this machine tells its power ({told[0].conditions.energy_source}); no other one is at hand")
    (check,) = gate(found, budgets=[Budget(metric="energy", limit="5 mJ")]).checks
    assert check.status == "unmeasured"


@pytest.mark.usefixtures("tells")
def test_what_stands_in_for_a_target_does_not_tell_its_energy(model: Model) -> None:
    chip = dataclasses.replace(HOST, name="chip", time_basis="emulated")
    assert energies(benchmark([model], targets=[chip], spec=SPEC)) == []


def test_the_energy_of_a_throttled_machine_proves_nothing(
    model: Model, tells: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_vcgencmd(tells, flags="0x50005")
    monkeypatch.setattr("edgekd.stages.benchmark.session.cool_down", lambda *_, **__: False)
    found = benchmark([model], targets=[HOST], spec=SPEC)
    assert energies(found)[0].conditions.tainted == "under-voltage, throttled"
    (check,) = gate(found, budgets=[Budget(metric="energy", limit="5 J")]).checks
    assert (check.status, "is tainted" in check.reason) == ("unmeasured", True)


def test_a_gauge_that_stands_still_is_no_evidence() -> None:
    still = [{"s": 0.1 * number, "runs": 7, "j": 0.1 * number * 3.21} for number in range(1, 10)]
    assert joules_of({"parts": still}) == []
    moved = [*still, {"s": 0.5, "runs": 10, "j": 0.5 * 3.3}]
    assert joules_of({"parts": moved})[-1] == pytest.approx(0.165)
    assert joules_of({}) == []


def test_power_is_of_what_was_read() -> None:
    parts: list[dict[str, float | None]] = [{"s": 1.0, "j": 3.0}, {"s": 3.0, "j": 1.0}, {"s": 9.0, "j": None}]
    assert watts_of(parts) == 1.0
    assert watts_of(parts[2:]) is None
    assert watts_of([]) is None
