"""Several machines at the same time, each a folder of this one, by the real runner."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from edgekd.errors import MeasurementError, ModelError, TargetError
from edgekd.progress import Silent
from edgekd.records import BenchmarkSpec, Model, Target
from edgekd.stages.benchmark import benchmark, describe_file
from edgekd.transports import Finished
from edgekd.transports.local import LocalTransport

QUICK = BenchmarkSpec(runs=3, time_limit_s=0.1)
DEADLINE_S = 60.0
# What a machine does with the number of a run, before the run itself; 0 looks for the runtime, 1 takes times.
Meanwhile = Callable[[str, int], object]


class Machine(LocalTransport):
    """A machine of its own, as far as edgekd can tell."""

    meanwhile: Meanwhile
    closed: list[str]

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.runs = 0

    def run(self, argv: Sequence[str], timeout_s: float) -> Finished:
        number, self.runs = self.runs, self.runs + 1
        Machine.meanwhile(self._target, number)
        return super().run(argv, timeout_s)

    def close(self) -> None:
        super().close()
        Machine.closed.append(self._target)


def connect(target: Target) -> Machine:
    return Machine(target)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    Machine.meanwhile, Machine.closed = staticmethod(lambda *_: None), []
    before = {*threading.enumerate()}
    yield
    assert not {*threading.enumerate()} - before, "a thread is left"


def machine(name: str, address: str | None = None) -> Target:
    return Target(
        name=name, description="", runtimes=("onnxruntime",), transport=f"{__name__}:connect", address=address
    )


@pytest.fixture
def models(tmp_path: Path) -> list[Model]:
    return [describe_file(write(tmp_path / f"{operator}.onnx", operator)) for operator in ("Abs", "Neg")]


def write(path: Path, operator: str, domain: str = "") -> Path:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"], domain=domain)], "g", ends[:1], ends[1:])
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=8), path)
    return path


def test_machines_measure_at_the_same_time_and_results_have_the_order_of_the_plan(models: list[Model]) -> None:
    meeting = threading.Barrier(2, timeout=DEADLINE_S)

    def meet(name: str, number: int) -> None:
        if number == 1:
            meeting.wait()  # breaks if one of them waits for the other to end
        if name == "first":
            time.sleep(0.2)

    Machine.meanwhile = staticmethod(meet)
    found = benchmark(models, targets=[machine("first"), machine("second")], spec=QUICK)
    order = [(each.target, each.model) for each in found if each.metric == "latency"]
    assert order == [(name, model.name) for name in ("first", "second") for model in models]


def test_targets_of_one_machine_take_turns(models: list[Model]) -> None:
    running: set[str] = set()

    def check(name: str, _: int) -> None:
        assert not running - {name}, "two at the same time"
        running.add(name)
        time.sleep(0.05)
        running.clear()

    Machine.meanwhile = staticmethod(check)
    targets = [machine("plain", "board.local"), machine("threaded", "board.local")]
    found = benchmark(models, targets=targets, spec=QUICK)
    assert {each.target for each in found} == {"file", "plain", "threaded"}


def test_a_machine_that_fails_leaves_the_others_alone(models: list[Model], caplog: pytest.LogCaptureFixture) -> None:
    meeting = threading.Barrier(2, timeout=DEADLINE_S)

    def fail(name: str, number: int) -> None:
        if number == 2:
            meeting.wait()
        if (name, number) == ("bad", 2):
            raise TargetError("the line broke", where=name)

    Machine.meanwhile = staticmethod(fail)
    failures: list[TargetError] = []
    found = benchmark(models, targets=[machine("bad"), machine("good")], spec=QUICK, on_failure=failures.append)
    assert [str(each) for each in failures] == ["bad: the line broke"]
    assert [(each.model, each.metric) for each in found if each.target == "bad"] == [("Abs.onnx", "latency")]
    assert {each.model for each in found if each.target == "good"} == {"Abs.onnx", "Neg.onnx"}
    assert [each.getMessage().split(";")[0] for each in caplog.records] == ["bad: the line broke"]


def test_a_file_that_all_machines_reject_is_an_error(tmp_path: Path) -> None:
    unknown = describe_file(write(tmp_path / "unknown.onnx", "NoSuchOperator", "own"))
    meeting = threading.Barrier(2, timeout=DEADLINE_S)
    Machine.meanwhile = staticmethod(lambda _, number: number == 1 and meeting.wait())
    with pytest.raises(ModelError, match="NoSuchOperator"):
        benchmark([unknown], targets=[machine("first"), machine("second")], spec=QUICK)


def test_a_file_that_one_machine_rejects_is_measured_on_the_other(
    shared_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("tflite_micro")
    hybrid = describe_file(shared_data / "models" / "dtln" / "model_quant_1.tflite")
    targets = [
        dataclasses.replace(machine(name), runtimes=(runtime,))
        for name, runtime in (("small", "tflite_micro"), ("large", "litert"))
    ]
    found = benchmark([hybrid], targets=targets, spec=QUICK)
    assert {each.target for each in found} == {"file", "large"}
    assert "is not measured on small" in caplog.text


@pytest.mark.parametrize("way", ["error", "ctrl_c"])
def test_what_ends_one_machine_ends_all(models: list[Model], way: str, caplog: pytest.LogCaptureFixture) -> None:
    def end(name: str, number: int) -> None:
        if (name, number) == ("first", 1):
            time.sleep(2)  # the other one takes times by now
            if way == "error":
                raise MeasurementError("nonsense", where=name)
            os.kill(os.getpid(), signal.SIGINT)

    Machine.meanwhile = staticmethod(end)
    begun = time.monotonic()
    with pytest.raises(MeasurementError if way == "error" else KeyboardInterrupt):
        benchmark(
            models,
            targets=[machine("first"), machine("second")],
            spec=BenchmarkSpec(runs=10**9, time_limit_s=DEADLINE_S, interval_width=0),
        )
    assert time.monotonic() - begun < DEADLINE_S / 2
    assert set(Machine.closed) == {"first", "second"}
    assert not caplog.records


def test_each_machine_tells_how_far_it_is(models: list[Model]) -> None:
    heard: list[Steps] = []

    class Steps(Silent):
        def __init__(self) -> None:
            self.task, self.total, self.count = "", 0, 0

        def start(self, task: str, total: int) -> None:
            self.task, self.total = task, total

        def advance(self, count: int = 1) -> None:
            self.count += count

        def beside(self) -> Steps:
            heard.append(Steps())
            return heard[-1]

    targets = [machine("first"), machine("plain", "board"), machine("threaded", "board")]
    benchmark(models, targets=targets, spec=QUICK, progress=Steps())
    assert [each.task for each in heard] == ["benchmark first", "benchmark plain, threaded"]
    assert [each.count for each in heard] == [each.total for each in heard]
