"""Measurements of real files, by the real runner, on this machine."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import logging
import os
import subprocess
import sys
import tomllib
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper
from pydantic import TypeAdapter

from edgekd import registry
from edgekd.errors import DataError, MeasurementError, ModelError, TargetError
from edgekd.progress import Silent
from edgekd.records import BenchmarkSpec, Measurement, Model, Target, Task, TensorSpec
from edgekd.stages.benchmark import benchmark, choose_samples, describe_file, fit_layout, profile

QUICK = BenchmarkSpec(runs=5, time_limit_s=0.2)
TARGETS = Path(__file__).parents[2] / "targets"
RESNET8 = "models/mlperf_tiny/image_classification/pretrainedResnet_quant.tflite"
HYBRID = "models/dtln/model_quant_1.tflite"


def read_target(name: str) -> Target:
    content = tomllib.loads((TARGETS / f"{name}.toml").read_text())
    return TypeAdapter(Target).validate_python({"name": name, **content})


HOST = read_target("host")
MCU = dataclasses.replace(read_target("cortex-m4"), accuracy_samples=None)


def by_metric(measurements: tuple[Measurement, ...], target: str | None = None) -> dict[str, Measurement]:
    return {each.metric: each for each in measurements if target in (None, each.target)}


@pytest.fixture
def channel_means(tmp_path: Path) -> Model:
    """An ONNX file that scores three classes by the mean of three channels."""
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 8, 6]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3]),
    ]
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["p"]), helper.make_node("Flatten", ["p"], ["y"])]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    path = tmp_path / "means.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return describe_file(path)


def images(count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    x = np.random.default_rng(0).random((count, 3, 8, 6), dtype=np.float32)
    return x, x.astype(np.float64).mean(axis=(2, 3)).argmax(axis=1)


# --- what comes out ------------------------------------------------------------------------------


def test_all_metrics_of_an_onnx_file(channel_means: Model, tmp_path: Path) -> None:
    x, labels = images(20)
    labels[:5] = (labels[:5] + 1) % 3  # five answers that the file can't give
    found = benchmark(
        [channel_means], targets=[HOST], spec=QUICK, inputs=x, labels=labels, folder=tmp_path / "benchmark"
    )
    metrics = by_metric(found)
    assert len(metrics) == len(found) == 11
    assert metrics["accuracy"].samples == (0.0,) * 5 + (1.0,) * 15
    assert len(metrics["latency"].samples) == QUICK.runs
    assert metrics["latency"].warmup
    assert metrics["peak_memory"].samples[0] > 0
    assert len(metrics["load_time"].samples) == len(metrics["first_inference"].samples) == 3
    assert all(0 < sample < 60 for name in ("latency", "load_time") for sample in metrics[name].samples)
    assert {each.model_sha256 for each in found} == {channel_means.sha256}
    assert {each.unit for each in found} == {"s", "B", "1", ""}
    assert metrics["recall"].labels == tuple(labels)
    right = np.array(metrics["recall"].samples) == labels
    assert right.tolist() == [False] * 5 + [True] * 15
    assert metrics["calibration_error"].labels == metrics["accuracy"].samples
    assert {each.basis for each in found} == {"measured"}
    assert all(each.started_at.endswith("+00:00") for each in found)
    conditions = metrics["latency"].conditions
    assert (conditions.runtime, conditions.threads) == ("onnxruntime", 1)
    assert (conditions.host, conditions.arch) == (os.uname().nodename, os.uname().machine)
    assert conditions.cpu
    assert conditions.runtime_version
    kept = sorted(file.name for file in (tmp_path / "benchmark" / "host").iterdir())
    assert kept == [f"means.onnx.{end}" for end in ("accuracy.jsonl", "latency.jsonl", "memory.jsonl", "outputs.npy")]


def test_sizes_need_no_target(channel_means: Model) -> None:
    metrics = by_metric(benchmark([channel_means], targets=[]))
    content = channel_means.path.read_bytes()
    assert metrics["file_size"].target == "file"
    assert list(metrics["file_size"].samples) == [len(content)]
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    assert list(metrics["compressed_size"].samples) == [len(compressor.compress(content) + compressor.flush())]
    # Another build of the same library.
    other = pa.Codec("zstd", compression_level=19).compress(content, asbytes=True)
    assert metrics["zstd_size"].samples[0] == pytest.approx(len(other), rel=0.02)
    assert dict(zip(metrics["operators"].parts, metrics["operators"].samples, strict=True)) == {
        "GlobalAveragePool": 1,
        "Flatten": 1,
    }


def test_load_is_sampled_five_times_where_that_is_quick(channel_means: Model) -> None:
    spec = BenchmarkSpec(runs=2, time_limit_s=60)
    metrics = by_metric(benchmark([channel_means], targets=[HOST], spec=spec))
    assert len(metrics["load_time"].samples) == len(metrics["first_inference"].samples) == 5


def test_a_long_run_gives_its_first_and_its_last_part(channel_means: Model) -> None:
    spec = dataclasses.replace(QUICK, sustained_s=1.5)
    found = by_metric(benchmark([channel_means], targets=[HOST], spec=spec))["sustained_latency"]
    assert found.unit == "s"
    assert found.warmup
    assert found.samples
    assert found.conditions.runtime == "onnxruntime"
    starts = [each.start_s for each in found.course]
    assert starts == sorted(starts)
    assert starts[0] == 0 < starts[-1] < 1.5
    # Each second has some of the same inferences.
    assert {sample for each in found.course for sample in each.samples} <= {*found.warmup, *found.samples}
    assert all(1 <= len(each.samples) <= 20 for each in found.course)


def test_operators_have_names_and_times(channel_means: Model) -> None:
    found = profile([channel_means], target=HOST)
    assert [each.operator for each in found] == ["GlobalAveragePool", "Flatten"]
    assert {(each.model, each.model_sha256, each.target) for each in found} == {
        ("means.onnx", channel_means.sha256, "host")
    }
    assert all(0 <= seconds < 60 for each in found for seconds in each.samples)


def test_operators_of_a_tflite_file(shared_data: Path) -> None:
    found = profile([describe_file(shared_data / RESNET8)], target=HOST)
    assert sum(each.operator.startswith("Convolution") for each in found) == 9
    assert {each.target for each in found} == {"host"}


def test_files_that_can_t_be_profiled_are_named(shared_data: Path) -> None:
    with pytest.raises(
        MeasurementError, match=r"^pretrainedResnet_quant.tflite on cortex-m4: tflite_micro does not tell"
    ):
        profile([describe_file(shared_data / RESNET8)], target=MCU)
    with pytest.raises(ModelError, match=r"no runtime of cortex-m4 reads onnx; allowed: tflite_micro"):
        profile([dataclasses.replace(describe_file(shared_data / RESNET8), format="onnx")], target=MCU)


def test_threads_of_the_spec_win(channel_means: Model) -> None:
    spec = dataclasses.replace(QUICK, threads=2)
    assert by_metric(benchmark([channel_means], targets=[HOST], spec=spec))["latency"].conditions.threads == 2


def test_a_microcontroller_gives_real_memory_and_emulated_times(shared_data: Path) -> None:
    pytest.importorskip("tflite_micro")
    metrics = by_metric(benchmark([describe_file(shared_data / RESNET8)], targets=[MCU], spec=QUICK), MCU.name)
    assert metrics.keys() == {"latency", "arena_size", "load_time", "first_inference"}
    assert abs(metrics["arena_size"].samples[0] - 55_984) <= 64
    assert metrics["arena_size"].basis == "measured"
    assert {metrics[name].basis for name in ("latency", "load_time", "first_inference")} == {"emulated"}


def test_int8_resnet_is_as_accurate_as_published(shared_data: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    with np.load(shared_data / "cifar10/cifar10_jpeg_bytes.npz") as data:
        content, offsets, labels = (data[key] for key in ("test_bytes", "test_offsets", "y_test"))
    picked = choose_samples(labels, 300)
    x = np.stack(
        [np.asarray(image.open(io.BytesIO(content[offsets[i] : offsets[i + 1]].tobytes())), np.float32) for i in picked]
    ).transpose(0, 3, 1, 2)
    model = describe_file(shared_data / RESNET8)
    metrics = by_metric(benchmark([model], targets=[HOST], spec=QUICK, inputs=x, labels=labels[picked]), HOST.name)
    right = metrics["accuracy"].samples
    assert len(right) == 300
    # 86.5 to 87.0 % on targets, on lossless images. JPEG costs another published network 10.7 points; 300 samples ± 5.
    assert abs(np.mean(right) - (0.8675 - 0.107)) < 0.05


def test_a_file_agrees_with_itself_on_the_samples_that_both_targets_saw(channel_means: Model) -> None:
    x, labels = images(40)
    labels[::2] = (labels[::2] + 1) % 3  # agreement is not accuracy
    few, fewer = (
        dataclasses.replace(HOST, name=name, accuracy_samples=count) for name, count in (("few", 12), ("host", 30))
    )
    found = benchmark([channel_means], targets=[few, fewer], spec=QUICK, inputs=x, labels=labels)
    (agreement,) = (each for each in found if each.metric == "agreement")
    shared = set(choose_samples(labels, 12)) & set(choose_samples(labels, 30))
    assert agreement.target == "few"
    assert agreement.samples == (1.0,) * len(shared)
    assert (agreement.unit, agreement.basis, agreement.model) == ("1", "measured", "means.onnx")
    alone = benchmark([channel_means], targets=[few], spec=QUICK, inputs=x, labels=labels)
    assert "agreement" not in {each.metric for each in alone}


def test_at_most_as_many_samples_as_the_target_takes(channel_means: Model) -> None:
    x, labels = images(60)
    few = dataclasses.replace(HOST, accuracy_samples=10)
    wrong = (labels + 1) % 3
    picked = choose_samples(labels, 10)
    wrong[picked] = labels[picked]
    samples = by_metric(benchmark([channel_means], targets=[few], spec=QUICK, inputs=x, labels=labels))["accuracy"]
    assert samples.samples == (1.0,) * 10


# --- what can't be measured ----------------------------------------------------------------------


def test_a_file_changed_since_its_record_was_made(channel_means: Model) -> None:
    channel_means.path.write_bytes(channel_means.path.read_bytes() + b"\0")
    with pytest.raises(MeasurementError, match=r"means\.onnx on host: the file there is another one"):
        benchmark([channel_means], targets=[HOST], spec=QUICK)


@pytest.mark.parametrize("name", ["noise.onnx", "noise.tflite"])
def test_random_bytes_are_one_line(tmp_path: Path, channel_means: Model, name: str) -> None:
    (tmp_path / name).write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(ModelError):
        describe_file(tmp_path / name)
    noise = forge(channel_means, tmp_path / name)
    with pytest.raises(ModelError) as caught:
        benchmark([noise], targets=[HOST], spec=QUICK)
    assert str(caught.value).startswith(f"{name} on host: ")
    assert "\n" not in str(caught.value)


def forge(like: Model, path: Path) -> Model:
    """A record of a file that nothing could read."""
    content = path.read_bytes()
    return dataclasses.replace(
        like,
        name=path.name,
        path=path,
        format="onnx" if path.suffix == ".onnx" else "tflite",
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
    )


def test_a_file_that_is_gone(channel_means: Model) -> None:
    channel_means.path.unlink()
    with pytest.raises(ModelError, match="No such file"):
        benchmark([channel_means], targets=[HOST], spec=QUICK)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose modules take the place of installed ones in the runner's process."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


@pytest.mark.parametrize(
    ("death", "hint"), [("SIGSEGV", ""), ("SIGKILL", "; it may need more than the target's 5000000 bytes of RAM")]
)
def test_a_runtime_that_crashes_is_one_line(channel_means: Model, stand_in: Path, death: str, hint: str) -> None:
    (stand_in / "onnxruntime.py").write_text(
        f"import os, signal\n__version__ = '0'\ndef SessionOptions(): os.kill(os.getpid(), signal.{death})\n"
    )
    small = dataclasses.replace(HOST, ram_bytes=5_000_000)
    with pytest.raises(ModelError) as caught:
        benchmark([channel_means], targets=[small], spec=QUICK)
    assert str(caught.value) == f"means.onnx on host: the runtime crashed ({death}) while loading it{hint}"


def test_a_file_larger_than_a_board_s_ram_is_not_sent_there(
    channel_means: Model, caplog: pytest.LogCaptureFixture
) -> None:
    small = dataclasses.replace(HOST, name="small", ram_bytes=100)
    found = benchmark([channel_means], targets=[small], spec=QUICK)
    assert {each.target for each in found} == {"file"}
    size = channel_means.size_bytes
    assert caplog.messages == [
        f"means.onnx on small: it has {size} bytes; the target has 100 bytes of RAM; it is not measured there"
    ]
    # A chip's files lie in its flash.
    chip = dataclasses.replace(small, flash_bytes=size)
    assert any(each.target == "small" for each in benchmark([channel_means], targets=[chip], spec=QUICK))


@pytest.mark.parametrize(
    ("target", "module", "command"),
    [(MCU, "tflite_micro", "pip install 'edgekd[micro]'"), (HOST, "ai_edge_litert", "pip install ai-edge-litert")],
)
def test_a_missing_runtime_says_how_to_get_it(
    channel_means: Model, stand_in: Path, target: Target, module: str, command: str
) -> None:
    (stand_in / f"{module}.py").write_text(f"raise ModuleNotFoundError(\"No module named '{module}'\")")
    model = dataclasses.replace(channel_means, format="tflite")  # found out before the file is looked at
    with pytest.raises(TargetError) as caught:
        benchmark([model], targets=[target], spec=QUICK)
    assert caught.value.exit_code == 3
    assert str(caught.value) == f"{target.name}: '{module}' can't be imported: No module named '{module}'; {command}"


def test_a_python_that_does_not_start(channel_means: Model, stand_in: Path) -> None:
    (stand_in / "json.py").write_text("raise SystemExit('no such codec')")
    with pytest.raises(TargetError, match=r"the runner did not start .*no such codec"):
        benchmark([channel_means], targets=[HOST], spec=QUICK)


def test_a_target_that_is_away_leaves_the_others_alone(channel_means: Model, caplog: pytest.LogCaptureFixture) -> None:
    away = Target(
        name="away", description="", transport="ssh", address="ssh://nobody@127.0.0.1:1", runtimes=("onnxruntime",)
    )
    failures: list[TargetError] = []
    found = benchmark([channel_means], targets=[away, HOST], spec=QUICK, on_failure=failures.append)
    assert {each.target for each in found} == {"file", "host"}
    (failure,) = failures
    assert "away" in str(failure)
    rest = "; the rest of away is not measured: look at it with 'edgekd targets check away' and try again"
    assert caplog.messages == [f"{failure}{rest}"]
    with pytest.raises(TargetError, match="away"):
        benchmark([channel_means], targets=[away], spec=QUICK, on_failure=failures.append)
    assert (len(failures), len(caplog.messages)) == (1, 1)


def test_a_file_that_no_target_reads_is_warned_about(channel_means: Model, caplog: pytest.LogCaptureFixture) -> None:
    found = benchmark([channel_means], targets=[MCU], spec=QUICK)
    assert {each.target for each in found} == {"file"}
    assert "no runtime of cortex-m4 reads onnx" in caplog.text


def test_a_file_that_another_target_reads_is_skipped_in_silence(
    channel_means: Model, caplog: pytest.LogCaptureFixture
) -> None:
    found = benchmark([channel_means], targets=[HOST, MCU], spec=QUICK)
    assert {each.target for each in found} == {"file", "host"}
    assert not caplog.records


def test_pairs_that_are_known_not_to_run_are_left_out(channel_means: Model) -> None:
    other = dataclasses.replace(channel_means, name="other.onnx")
    found = benchmark([channel_means, other], targets=[HOST], spec=QUICK, unfit=[("other.onnx", "host")])
    assert {each.model for each in found if each.target == "host"} == {channel_means.name}
    # Its size is a fact wherever it runs.
    assert {each.model for each in found if each.metric == "file_size"} == {channel_means.name, "other.onnx"}


def test_a_rejected_file_is_an_error_only_where_nothing_else_runs_it(
    shared_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("tflite_micro")
    model = describe_file(shared_data / HYBRID)
    with pytest.raises(ModelError, match=r"on cortex-m4: TFLite Micro can't run it: .*prepare"):
        benchmark([model], targets=[MCU], spec=QUICK)
    for targets in ([HOST, MCU], [MCU, HOST]):
        caplog.clear()
        found = benchmark([model], targets=targets, spec=QUICK)
        assert {each.target for each in found} == {"file", "host"}
        assert "is not measured on cortex-m4" in caplog.text


def test_a_file_too_big_for_the_ram_still_gives_its_arena(shared_data: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("tflite_micro")
    small = dataclasses.replace(MCU, ram_bytes=50_000)
    found = by_metric(benchmark([describe_file(shared_data / RESNET8)], targets=[small], spec=QUICK), small.name)
    assert found.keys() == {"arena_size"}
    assert found["arena_size"].samples[0] > 50_000
    assert "the target has 50000 bytes of RAM" in caplog.text


def test_inputs_and_labels_come_together(channel_means: Model) -> None:
    x, labels = images(4)
    with pytest.raises(DataError, match="as many labels"):
        benchmark([channel_means], targets=[HOST], spec=QUICK, inputs=x)
    with pytest.raises(DataError, match="accuracy needs inputs and as many labels"):
        benchmark([channel_means], targets=[HOST], spec=QUICK, inputs=x, labels=labels[:3])
    with pytest.raises(DataError, match="accuracy needs inputs"):
        benchmark([channel_means], targets=[HOST], spec=QUICK, labels=labels)


@pytest.mark.parametrize(
    ("task", "labels", "words"),
    [
        ("single_label", np.zeros((4, 3), int), r"labels of shape \(4, 3\) for single_label; allowed: \(N,\)"),
        ("single_label", np.array([0, 1, -1, 2]), "1 of 4 samples have no label"),
        ("multi_label", np.zeros(4, int), r"labels of shape \(4,\) for multi_label; allowed: \(N, outputs\)"),
        ("regression", np.zeros(4), "for regression"),
        ("reconstruction", np.zeros((4, 3)), "for reconstruction"),
    ],
)
def test_labels_must_be_those_of_the_task_before_anything_is_measured(
    channel_means: Model, task: Task, labels: NDArray[np.generic], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        benchmark([channel_means], targets=[], inputs=images(4)[0], labels=labels, task=task)


# --- how it goes ---------------------------------------------------------------------------------


class Recorder(Silent):
    def __init__(self) -> None:
        self.total, self.count, self.ended = 0, 0, 0

    def start(self, task: str, total: int) -> None:
        assert task == "benchmark"
        self.total = total

    def advance(self, count: int = 1) -> None:
        self.count += count

    def end(self) -> None:
        self.ended += 1


def test_progress_reaches_its_total(channel_means: Model) -> None:
    heard = Recorder()
    benchmark([channel_means], targets=[HOST], spec=QUICK, progress=heard)
    assert heard.count == heard.total > 0
    assert heard.ended == 1


def test_nothing_is_printed_and_no_training_stack_is_imported(
    channel_means: Model, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        benchmark([channel_means], targets=[HOST], spec=QUICK)
    assert capfd.readouterr() == ("", "")
    program = (
        "import sys, edgekd.stages.benchmark; heavy = {'torch', 'tensorflow', 'onnxruntime', 'onnx', 'ai_edge_litert'};"
        "sys.exit(str(heavy & sys.modules.keys()) if heavy & sys.modules.keys() else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# --- parts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "precision"),
    [
        (RESNET8, "static_wi8_ai8"),
        ("models/mlperf_tiny/image_classification/pretrainedResnet.tflite", "fp32"),
        ("models/dtln/model_1.onnx", "fp32"),
        ("models/dtln/model_quant_1.tflite", "dynamic_wi8_afp32"),
        ("models/tflm/hello_world_int8.tflite", "static_wi8_ai8"),
        ("models/ai_edge_quantizer/conv_fc_mnist_srq_a8w8.tflite", "static_wi8_ai8"),
    ],
)
def test_precision_is_guessed_from_the_file(shared_data: Path, file: str, precision: str) -> None:
    model = describe_file(shared_data / file)
    assert model.precision == precision
    assert model.size_bytes == (shared_data / file).stat().st_size


@given(labels=st.lists(st.integers(0, 5), min_size=1, max_size=200), limit=st.integers(1, 220))
def test_chosen_samples_are_spread_over_the_classes(labels: list[int], limit: int) -> None:
    array = np.array(labels)
    chosen = choose_samples(array, limit)
    assert len(chosen) == min(limit, len(array))
    assert (np.diff(chosen) > 0).all()
    for label in set(labels):
        share = np.mean(array == label) * len(chosen)
        assert abs((array[chosen] == label).sum() - share) <= 1 + len(chosen) / len(array)


def test_classes_that_take_turns_are_all_chosen() -> None:
    chosen = choose_samples(np.arange(1000) % 10, 100)
    assert np.bincount(chosen % 10, minlength=10).tolist() == [10] * 10


def test_labels_of_several_outputs_are_spread_too() -> None:
    values = np.random.default_rng(0).normal(size=(1000, 1))
    chosen = choose_samples(values, 11)
    ranks = np.sort(values[chosen, 0].argsort().argsort())
    assert ranks.tolist() == list(range(11))
    np.testing.assert_allclose(
        np.sort(values[chosen, 0]), np.quantile(values, np.linspace(0, 1, 11), method="nearest"), atol=0.02
    )
    sets = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 100)
    assert np.bincount(sets[choose_samples(sets, 40)] @ [2, 1]).tolist() == [10] * 4


@pytest.mark.parametrize(
    ("model_format", "wanted", "given_shape", "expected"),
    [
        ("tflite", (None, 8, 6, 3), (3, 8, 6), (8, 6, 3)),
        ("onnx", (None, 3, 8, 6), (3, 8, 6), (3, 8, 6)),
        ("onnx", (1, 8, 6, 3), (3, 8, 6), (8, 6, 3)),
        ("onnx", (1, 3, None, None), (3, 8, 6), (3, 8, 6)),
        ("tflite", (1, 28, 28, 1), (1, 28, 28), (28, 28, 1)),
        ("tflite", (1, 28, 28), (1, 28, 28), (28, 28)),
        ("tflite", (1, 640), (640,), (640,)),
        ("tflite", (1, 49, 10, 1), (49, 10), (49, 10, 1)),
    ],
)
def test_layout_follows_the_file(
    channel_means: Model,
    model_format: str,
    wanted: tuple[int | None, ...],
    given_shape: tuple[int, ...],
    expected: tuple[int, ...],
) -> None:
    spec = TensorSpec(name="x", shape=wanted, dtype="float32")
    model = TypeAdapter(Model).validate_python(
        {**dataclasses.asdict(channel_means), "format": model_format, "inputs": (dataclasses.asdict(spec),)}
    )
    x = np.random.default_rng(0).random((2, *given_shape), dtype=np.float32)
    fitted = fit_layout(x, model)
    assert fitted.shape == (2, *expected)
    if len(given_shape) == 3 and expected == (*given_shape[1:], given_shape[0]):
        np.testing.assert_array_equal(fitted, np.einsum("nchw->nhwc", x))
    else:
        np.testing.assert_array_equal(fitted.ravel(), x.ravel())


def test_a_cube_is_channels_last_in_tflite_only(channel_means: Model) -> None:
    spec = TensorSpec(name="x", shape=(1, 3, 3, 3), dtype="float32")
    x = np.arange(27, dtype=np.float32).reshape(1, 3, 3, 3)
    as_tflite = dataclasses.replace(channel_means, format="tflite", inputs=(spec,))
    as_onnx = dataclasses.replace(channel_means, inputs=(spec,))
    np.testing.assert_array_equal(fit_layout(x, as_tflite), x.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(fit_layout(x, as_onnx), x)


def test_samples_of_another_size_are_refused(channel_means: Model) -> None:
    with pytest.raises(DataError, match=r"means\.onnx: one sample is \(3, 9, 6\)"):
        fit_layout(np.zeros((1, 3, 9, 6), np.float32), channel_means)


@pytest.mark.parametrize("file", sorted(TARGETS.glob("*.toml")), ids=lambda file: file.stem)
def test_targets_that_ship_are_targets(file: Path) -> None:
    content = tomllib.loads(file.read_text())
    assert content.keys() <= {each.name for each in dataclasses.fields(Target)} - {"name"}
    target = read_target(file.stem)
    assert set(target.runtimes) <= set(registry.names("runtimes"))
    assert target.transport in registry.names("transports")


# --- accelerators --------------------------------------------------------------------------------


def npu(**changes: Any) -> Target:
    pytest.importorskip("ethosu", reason="install ethos-u-vela, which the extra npu brings")
    pytest.importorskip("tflite_micro")
    return dataclasses.replace(read_target("ethos-u55-128"), **changes)


def test_an_accelerator_s_figures_are_estimated_and_its_accuracy_is_measured(shared_data: Path) -> None:
    x = np.random.default_rng(0).normal(size=(12, 3, 32, 32)).astype(np.float32)
    labels = np.zeros(12, np.int64)
    model = describe_file(shared_data / RESNET8)
    target = npu(accuracy_samples=None)
    found = by_metric(benchmark([model], targets=[target], spec=QUICK, inputs=x, labels=labels), target.name)
    assert {metric: each.basis for metric, each in found.items()} == {
        "latency": "estimated",
        "sram_size": "estimated",
        "flash_size": "estimated",
        "npu_share": "estimated",
        "arena_size": "emulated",
        **dict.fromkeys(("accuracy", "recall", "calibration_error"), "measured"),
    }
    assert len(found["accuracy"].samples) == 12
    assert found["latency"].samples == pytest.approx([0.403e-3], abs=0.5e-6)
    assert found["latency"].conditions.delegate == "ethos-u55-128, Ethos_U55_High_End_Embedded, Shared_Sram"
    assert (found["latency"].conditions.runtime, found["accuracy"].conditions.runtime) == ("vela", "tflite_micro")
    slow = dataclasses.replace(target, system_config="Ethos_U55_Deep_Embedded")
    other = by_metric(benchmark([model], targets=[slow], spec=QUICK), slow.name)["latency"]
    with pytest.raises(MeasurementError, match=r"differ in conditions\.delegate"):
        found["latency"].merge(other)


def test_sram_that_the_target_does_not_have_is_one_line(shared_data: Path, caplog: pytest.LogCaptureFixture) -> None:
    small = npu(ram_bytes=50_000)
    found = by_metric(benchmark([describe_file(shared_data / RESNET8)], targets=[small], spec=QUICK), small.name)
    assert found.keys() == {"sram_size"}
    assert (found["sram_size"].basis, found["sram_size"].samples) == ("estimated", (51840.0,))
    assert caplog.messages == [
        "pretrainedResnet_quant.tflite on ethos-u55-128: it needs 51840 bytes of SRAM; the target has 50000"
    ]


def test_a_file_that_the_accelerator_does_not_take_says_so_and_still_runs(
    shared_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, target = describe_file(shared_data / "models/tflm/hello_world_float.tflite"), npu()
    found = by_metric(benchmark([model], targets=[target], spec=QUICK), target.name)
    assert found.keys() == {"npu_share", "arena_size"}
    assert found["npu_share"].samples == (0.0,)
    (message,) = caplog.messages
    assert "3 of its 3 operators do not run on ethos-u55-128: " in message


def test_a_configuration_that_vela_does_not_know_is_an_error(shared_data: Path) -> None:
    model = describe_file(shared_data / "models/tflm/hello_world_int8.tflite")
    with pytest.raises(TargetError, match=r"^ethos-u55-128: Vela: .*System_Config\.Nowhere not found") as caught:
        benchmark([model], targets=[npu(system_config="Nowhere")], spec=QUICK)
    assert "\n" not in str(caught.value)
