"""Scores of every task from real files, and what is left when a target fails, by the real runner."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from pydantic import TypeAdapter

from edgekd import stats
from edgekd.errors import DataError, TargetError
from edgekd.metrics import metrics_of
from edgekd.progress import Silent
from edgekd.records import BenchmarkSpec, Budget, Measurement, Model, Target, Task
from edgekd.stages.benchmark import benchmark, describe_file
from edgekd.stages.gate import gate
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


class Counter(Silent):
    def __init__(self) -> None:
        self.total = self.count = 0

    def start(self, task: str, total: int) -> None:
        del task
        self.total += total

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


def test_an_unreachable_target_is_found_out_once_and_leaves_the_others_alone(models: list[Model]) -> None:
    first, second = breaking("run 0", "first"), breaking("never", "second")
    failures: list[TargetError] = []
    found = benchmark(models, targets=[first, second], spec=QUICK, on_failure=failures.append)
    (failure,) = failures
    assert str(failure).startswith("first: the line broke")
    assert {each.target for each in found} == {"file", "second"}
    assert BreakingTransport.opened[0].calls["run"] == 1


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


# --- scores of every task --------------------------------------------------------------------------

LITERT = dataclasses.replace(HOST, runtimes=("onnxruntime", "litert"))
AUTOENCODER = "models/mlperf_tiny/anomaly_detection/ad01_{}.tflite"


def scores(found: Sequence[Measurement]) -> dict[str, Measurement]:
    known = {metric for task in get_args(Task) for metric in metrics_of(task)}
    return {each.metric: each for each in found if each.metric in known}


def run_litert(path: Path, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """Run a file sample by sample, with its integers turned into numbers by the formula of its quantization."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(str(path))
    interpreter.allocate_tensors()
    (source,), (end,) = interpreter.get_input_details(), interpreter.get_output_details()
    rows = []
    for sample in inputs[:, None]:
        if source["dtype"] is np.int8:
            scale, zero = source["quantization"]
            sample = np.clip(np.round(sample / scale) + zero, -128, 127).astype(np.int8)  # noqa: PLW2901 - as fed
        interpreter.set_tensor(source["index"], sample)
        interpreter.invoke()
        row = interpreter.get_tensor(end["index"])[0].astype(np.float64)
        if end["dtype"] is np.int8:
            scale, zero = end["quantization"]
            row = (row - zero) * scale
        rows.append(row)
    return np.stack(rows)


@pytest.mark.parametrize("kind", ["fp32", "int8"])
def test_a_published_autoencoder_is_scored_by_what_it_rebuilds(shared_data: Path, kind: str) -> None:
    path = shared_data / AUTOENCODER.format(kind)
    rng = np.random.default_rng(0)
    # Spectra as the published network was trained on are some -30 to 10 dB; anomalies are louder in a band.
    inputs = (rng.normal(-15, 4, (30, 1)) + rng.normal(0, 2, (30, 640))).astype(np.float32)
    labels = np.repeat([0, 1], 15)
    inputs[labels == 1, 100:200] += 25
    measured = benchmark(
        [describe_file(path)], targets=[LITERT], spec=QUICK, inputs=inputs, labels=labels, task="reconstruction"
    )
    found = scores(measured)
    errors = ((run_litert(path, inputs) - inputs.astype(np.float64)) ** 2).mean(axis=1)
    assert found.keys() == {"auc", "reconstruction_error"}
    np.testing.assert_allclose(found["auc"].samples, errors, rtol=1e-3)
    assert found["auc"].labels == tuple(map(float, labels))
    np.testing.assert_allclose(found["reconstruction_error"].samples, errors[:15], rtol=1e-3)
    assert found["reconstruction_error"].labels == ()
    area = pytest.importorskip("sklearn.metrics").roc_auc_score(labels, errors)
    assert stats.auc(found["auc"].samples, found["auc"].labels) == pytest.approx(area)
    budget = Budget(metric="auc", limit="70 %")
    (check,) = gate(measured, budgets=[budget]).checks
    assert check.status == "pass", check.reason


def test_without_anomalies_there_is_no_area(shared_data: Path) -> None:
    model = describe_file(shared_data / AUTOENCODER.format("fp32"))
    inputs = np.random.default_rng(0).normal(-15, 4, (5, 640)).astype(np.float32)
    found = benchmark(
        [model], targets=[LITERT], spec=QUICK, inputs=inputs, labels=np.zeros(5, int), task="reconstruction"
    )
    assert scores(found).keys() == {"reconstruction_error"}


@pytest.mark.parametrize(("kind", "largest"), [("float", 0.02), ("int8", 0.03)])
def test_a_published_regression_is_held_against_the_sine(shared_data: Path, kind: str, largest: float) -> None:
    path = shared_data / f"models/tflm/hello_world_{kind}.tflite"
    inputs = np.linspace(0, 2 * np.pi, 50, dtype=np.float32)[:, None]
    labels = np.sin(inputs)
    found = scores(
        benchmark([describe_file(path)], targets=[LITERT], spec=QUICK, inputs=inputs, labels=labels, task="regression")
    )
    outputs = run_litert(path, inputs)
    assert found.keys() == {"mean_squared_error", "mean_absolute_error", "spearman"}
    assert found["spearman"].labels == tuple(map(float, labels[:, 0]))
    np.testing.assert_allclose(found["mean_absolute_error"].samples, np.abs(outputs - labels)[:, 0], atol=1e-6)
    np.testing.assert_allclose(found["mean_squared_error"].samples, np.square(outputs - labels)[:, 0], atol=1e-6)
    assert {each.unit for each in found.values()} == {""}
    assert 0 < np.mean(found["mean_squared_error"].samples) < largest


@pytest.fixture
def thresholds(tmp_path: Path) -> Model:
    """An ONNX file whose three logits are its three inputs less 0.5."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in ("x", "y")]
    half = helper.make_tensor("half", TensorProto.FLOAT, [1], [0.5])
    graph = helper.make_graph([helper.make_node("Sub", ["x", "half"], ["y"])], "g", ends[:1], ends[1:], [half])
    path = tmp_path / "thresholds.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return describe_file(path)


def test_several_labels_are_scored_together_and_apart(thresholds: Model) -> None:
    inputs = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 1]], np.float32)
    labels = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]])
    found = scores(
        benchmark([thresholds], targets=[HOST], spec=QUICK, inputs=inputs, labels=labels, task="multi_label")
    )
    assert found["f1"].samples == pytest.approx((1, 2 / 3, 1, 0))
    assert found["exact_match"].samples == (1.0, 0.0, 1.0, 0.0)


def test_all_metrics_of_a_task_come_from_one_process(thresholds: Model) -> None:
    target = breaking("never")
    inputs, labels = np.zeros((4, 3), np.float32), np.zeros((4, 3), int)
    slow = dataclasses.replace(QUICK, time_limit_s=1e-3)  # no processes for load times alone
    benchmark([thresholds], targets=[target], spec=slow, inputs=inputs, labels=labels, task="multi_label")
    # One looks for the runtime; then latency, memory, scores.
    assert [each.calls["run"] for each in BreakingTransport.opened] == [4]


def test_outputs_of_another_width_than_labels_are_one_line(thresholds: Model) -> None:
    inputs = np.zeros((4, 3), np.float32)
    with pytest.raises(DataError) as caught:
        benchmark([thresholds], targets=[HOST], spec=QUICK, inputs=inputs, labels=np.zeros((4, 2)), task="regression")
    assert str(caught.value).startswith("thresholds.onnx on host: outputs of shape (4, 3) and labels of shape (4, 2)")


def test_errors_of_outputs_that_are_no_numbers_are_not_measured(
    thresholds: Model, caplog: pytest.LogCaptureFixture
) -> None:
    inputs = np.zeros((4, 3), np.float32)
    inputs[1, 2] = np.nan
    found = benchmark(
        [thresholds], targets=[HOST], spec=QUICK, inputs=inputs, labels=np.zeros((4, 3)), task="regression"
    )
    assert scores(found) == {}
    assert "latency" in {each.metric for each in found}
    assert "thresholds.onnx on host: 1 of 4 outputs are not finite" in caplog.text
