"""What is left of a benchmark when a target fails, by the real runner over a line that breaks on demand."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from pydantic import TypeAdapter

from edgekd.errors import TargetError
from edgekd.records import BenchmarkSpec, Model, Target
from edgekd.stages.benchmark import benchmark, describe_file
from edgekd.transports import Finished
from edgekd.transports.local import LocalTransport

QUICK = BenchmarkSpec(runs=3, time_limit_s=0.1)
TARGETS = Path(__file__).parents[3] / "targets"
HOST = Target(name="host", description="", runtimes=("onnxruntime",))


class BreakingTransport(LocalTransport):
    """Fails at the push or the run that the target's address names; "run 2" is the third."""

    opened: list[BreakingTransport]

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.breaks_at, self.calls = target.address, {"push": 0, "run": 0}
        BreakingTransport.opened.append(self)

    def _count(self, what: str) -> None:
        number, self.calls[what] = self.calls[what], self.calls[what] + 1
        if self.breaks_at == f"{what} {number}":
            raise TargetError("the line broke", where=self._target, next_step="plug it in")

    def push(self, local: Path) -> str:
        self._count("push")
        return super().push(local)

    def run(self, argv: Sequence[str], timeout_s: float) -> Finished:
        self._count("run")
        return super().run(argv, timeout_s)


def connect(target: Target) -> BreakingTransport:
    return BreakingTransport(target)


@pytest.fixture(autouse=True)
def _none_opened() -> None:
    BreakingTransport.opened = []


def breaking(where: str, name: str = "far") -> Target:
    return dataclasses.replace(HOST, name=name, transport=f"{__name__}:connect", address=where)


@pytest.fixture
def models(tmp_path: Path) -> list[Model]:
    """Two files that differ."""
    made = []
    for operator in ("Abs", "Neg"):
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in ("x", "y")]
        graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"])], "g", ends[:1], ends[1:])
        path = tmp_path / f"{operator}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        made.append(describe_file(path))
    return made


class Counter:
    def __init__(self) -> None:
        self.total = self.count = 0

    def start(self, task: str, total: int) -> None:
        del task
        self.total = total

    def advance(self, count: int = 1) -> None:
        self.count += count

    def end(self) -> None:
        pass


def test_a_target_that_breaks_on_the_way_costs_only_its_own_rest(
    models: list[Model], caplog: pytest.LogCaptureFixture
) -> None:
    heard = Counter()
    # Run 0 looks for the runtime, 1 is latency, 2 memory.
    found = benchmark(models, targets=[breaking("run 2"), HOST], spec=QUICK, progress=heard)
    far, host = ([(each.model, each.metric) for each in found if each.target == name] for name in ("far", "host"))
    assert far == [("Abs.onnx", "latency")]
    assert {model for model, _ in host} == {"Abs.onnx", "Neg.onnx"}
    assert [each.getMessage() for each in caplog.records] == [
        (
            "far: the line broke; plug it in; the rest of far is not measured: "
            "look at it with 'edgekd targets check far' and try again"
        )
    ]
    assert heard.count == heard.total
    assert not BreakingTransport.opened[0]._scratch.exists()


def test_it_is_an_error_where_nothing_was_measured(models: list[Model]) -> None:
    with pytest.raises(TargetError, match="far: the line broke; plug it in") as caught:
        benchmark(models, targets=[breaking("run 1")], spec=QUICK)
    assert caught.value.exit_code == 3


def test_an_unreachable_target_is_found_out_before_anything_is_measured(models: list[Model]) -> None:
    first, second = breaking("never", "first"), breaking("run 0", "second")
    with pytest.raises(TargetError, match="second: the line broke"):
        benchmark(models, targets=[first, second], spec=QUICK)
    assert [each.calls["run"] for each in BreakingTransport.opened] == [1, 1]


def test_a_push_that_fails_while_connecting_leaves_nothing_behind(models: list[Model]) -> None:
    with pytest.raises(TargetError, match="the line broke"):
        benchmark(models, targets=[breaking("push 0")], spec=QUICK)
    (transport,) = BreakingTransport.opened
    assert not transport._scratch.exists()


def test_without_a_memory_event_peak_memory_is_unmeasured(
    models: list[Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The runner's process finds no /proc/self/status, as on macOS.
    (tmp_path / "sitecustomize.py").write_text(
        "import pathlib\nreal = pathlib.Path.read_text\n"
        "def read_text(self, *args, **kwargs):\n"
        "    if str(self) == '/proc/self/status': raise FileNotFoundError\n"
        "    return real(self, *args, **kwargs)\n"
        "pathlib.Path.read_text = read_text\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    metrics = {each.metric for each in benchmark(models[:1], targets=[HOST], spec=QUICK) if each.target == "host"}
    assert metrics == {"latency", "load_time", "first_inference"}


def test_a_file_larger_than_the_flash_is_not_measured(models: list[Model], caplog: pytest.LogCaptureFixture) -> None:
    content = tomllib.loads((TARGETS / "cortex-m4.toml").read_text())
    chip = TypeAdapter(Target).validate_python({"name": "cortex-m4", **content})
    size = models[0].size_bytes
    # The chip's own runtime reads no ONNX; flash is looked at whatever the runtime.
    tiny = dataclasses.replace(chip, runtimes=("onnxruntime",), flash_bytes=size - 1)
    found = benchmark(models[:1], targets=[tiny], spec=QUICK)
    assert {each.target for each in found} == {"file"}
    assert [each.getMessage() for each in caplog.records] == [
        (
            f"Abs.onnx on cortex-m4: it has {size} bytes; "
            f"the target has {size - 1} bytes of flash; it is not measured there"
        )
    ]
    enough = dataclasses.replace(tiny, flash_bytes=size)
    assert "latency" in {each.metric for each in benchmark(models[:1], targets=[enough], spec=QUICK)}


def test_the_int8_resnet_does_not_fit_a_small_chip(shared_data: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("tflite_micro")
    path = shared_data / "models/mlperf_tiny/image_classification/pretrainedResnet_quant.tflite"
    chip = Target(name="small", description="", runtimes=("tflite_micro",), ram_bytes=655_360, flash_bytes=65_536)
    found = benchmark([describe_file(path)], targets=[chip], spec=QUICK)
    assert not [each for each in found if each.metric in {"latency", "arena_size"}]
    assert "has 65536 bytes of flash" in caplog.text
