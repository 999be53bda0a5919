"""A phone of the tests' daemon measures files, with the words of benchmark_model and LiteRT's own interpreter.

No benchmark_model can be had here: `interpreter_benchmark.py` says what it does in its place. The phone has two cores,
as this machine has at least.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd import registry, store
from edgekd.config import load_target
from edgekd.errors import DataError, MeasurementError, ModelError, TargetError
from edgekd.records import BenchmarkSpec, Budget, Measurement, Target
from edgekd.runtimes._machine import mask_of
from edgekd.stages.benchmark import benchmark, choose_samples, describe_file, profile
from edgekd.stages.gate import gate
from tests.transports import adbd as adbd_
from tests.transports import phone_says
from tests.transports.programs import write_program

CLUSTERS = {0: (1805000, 830000), 1: (2600000, 1460000)}
QUICK = BenchmarkSpec(runs=4, time_limit_s=60)


def put(phone: adbd_.Phone, kind: str, script: str = "") -> str:
    """A program over there, and its path as the target calls it."""
    name = f"interpreter_benchmark_{kind}"
    program = Path(__file__).with_name("interpreter_benchmark.py")
    write_program(phone.folder / "bin" / name, f'{script}\nexec "{sys.executable}" "{program}" {kind} "$@"')
    return f"/data/local/tmp/bin/{name}"


@pytest.fixture
def model(shared_data: Path) -> Path:
    return shared_data / "models/tflm/micro_speech_quantized.tflite"


@pytest.fixture
def mine(phone: Target, adbd: adbd_.Phone) -> Target:
    phone_says.lay_out(adbd.folder, CLUSTERS)
    return replace(phone, runtimes=("benchmark_model",), program=put(adbd, "classic"))


def samples_of(shape: Sequence[int], count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Random samples from -1 to 1, in the layout of a file, and labels that they don't have."""
    random = np.random.default_rng(0)
    return random.uniform(-1, 1, (count, *shape)).astype(np.float32), random.integers(0, 10, count)


def measure(model: Path, target: Target, spec: BenchmarkSpec = QUICK, folder: Path | None = None) -> list[Measurement]:
    found = benchmark([describe_file(model)], targets=[target], spec=spec, folder=folder)
    return [each for each in found if each.target == target.name]


def events_of(folder: Path, mode: str) -> list[dict[str, object]]:
    (log,) = folder.glob(f"phone/*.{mode}.jsonl")
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classic", "litert"])
def test_a_phone_gives_times_and_memory(
    kind: str, mine: Target, adbd: adbd_.Phone, model: Path, tmp_path: Path
) -> None:
    found = {each.metric: each for each in measure(model, replace(mine, program=put(adbd, kind)), folder=tmp_path)}
    assert set(found) == {"latency", "peak_memory", "load_time", "first_inference"}
    latency = found["latency"]
    assert (len(latency.samples), len(latency.warmup)) == (4, 2)
    # Whole microseconds, and those of this file on this machine.
    assert all(round(each * 1e6) == pytest.approx(each * 1e6) for each in latency.samples)
    assert 1e-6 <= min(latency.samples) < 0.1
    assert 10**5 < found["peak_memory"].samples[0] < 10**8
    assert 0 < found["first_inference"].samples[0] < 1
    conditions = latency.conditions
    assert conditions.runtime == "benchmark_model"
    assert conditions.runtime_version.startswith("sha256 ")
    assert (conditions.cpu, conditions.os.split(",")[0]) == ("Folder", "Android 15")
    assert (conditions.cores, conditions.governor, conditions.threads) == ("1", "schedutil", 1)
    assert (conditions.delegate or "").startswith("XNNPACK")
    assert all(each.conditions.delegate == conditions.delegate for each in found.values())
    before, after = (each for each in events_of(tmp_path, "latency") if each["event"] == "conditions")
    for each in (before, after):
        assert each["frequencies_hz"] == [1_460_000_000]
        assert (each["battery_percent"], each["plugged"], each["too_hot"]) == (84, "USB", [])
    # A file is what it was when it was hashed over there.
    (samples,) = (each for each in events_of(tmp_path, "latency") if each["event"] == "samples")
    assert samples["frequencies_hz"] == [1_460_000_000] * 3
    (hashed,) = (each for each in events_of(tmp_path, "latency") if each["event"] == "model")
    assert hashed["sha256"] == latency.model_sha256
    assert not list(adbd.folder.glob("edgekd-*"))


@pytest.mark.slow
def test_the_program_is_bound_to_the_fastest_cores(mine: Target, adbd: adbd_.Phone, model: Path) -> None:
    said = adbd.folder / "affinity"
    measure(model, replace(mine, program=put(adbd, "classic", f'taskset -p $$ >> "{said}"')))
    assert mask_of((1,)) in {line.split()[-1] for line in said.read_text().splitlines()}


@pytest.mark.slow
def test_where_cores_can_t_be_chosen_none_is_recorded(mine: Target, adbd: adbd_.Phone, model: Path) -> None:
    write_program(adbd.folder / "bin" / "taskset", "echo 'taskset: Operation not permitted' >&2; exit 1")
    try:
        (latency,) = (each for each in measure(model, mine) if each.metric == "latency")
    finally:
        (adbd.folder / "bin" / "taskset").unlink()
    assert latency.conditions.cores is None


@pytest.mark.slow
def test_a_hot_phone_says_so(mine: Target, adbd: adbd_.Phone, model: Path, tmp_path: Path) -> None:
    phone_says.lay_out(adbd.folder, CLUSTERS, thermal_status=3)
    measure(model, mine, folder=tmp_path)
    for each in events_of(tmp_path, "latency"):
        if each["event"] == "conditions":
            assert (each["thermal_status"], each["too_hot"]) == ("severe", ["phone"])


# An int8 file with int8 in and out, a float one, and one of uint8.
FILES = {
    "mlperf_tiny/image_classification/pretrainedResnet_quant.tflite": (32, 32, 3),
    "ai_edge_quantizer/conv_fc_mnist.tflite": (28, 28, 1),
    "mobilenet_v1_025/mobilenet_v1_0.25_224_quant.tflite": (224, 224, 3),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "shape"), FILES.items(), ids=["int8", "float", "uint8"])
def test_accuracy_is_that_of_this_machine_sample_by_sample(
    name: str, shape: tuple[int, ...], mine: Target, adbd: adbd_.Phone, shared_data: Path, tmp_path: Path
) -> None:
    described = describe_file(shared_data / "models" / name)
    inputs, labels = samples_of(shape, 12)
    if described.inputs[0].scale == 1:
        inputs = (inputs * 128 + 128).round()  # pixels
    few, host = replace(mine, accuracy_samples=4), load_target("host")
    chosen = choose_samples(labels, 4)
    found = benchmark([described], targets=[few, host], spec=QUICK, inputs=inputs, labels=labels, folder=tmp_path)
    there, here = ({each.metric: each for each in found if each.target == target.name} for target in (few, host))
    outputs = [np.load(tmp_path / target / f"{described.name}.outputs.npy") for target in ("phone", "host")]
    # The same kernels: not only the same predictions.
    np.testing.assert_array_equal(outputs[0], outputs[1][chosen])
    assert len({row.argmax() for row in outputs[1]}) > 1 or name.startswith("mobilenet")
    assert there["accuracy"].samples == tuple(here["accuracy"].samples[index] for index in chosen)
    assert (there["accuracy"].basis, there["accuracy"].conditions.runtime) == ("measured", "benchmark_model")
    assert there["agreement"].samples == (1.0,) * 4
    assert there["agreement"].conditions == there["accuracy"].conditions
    assert "agreement" not in here
    # A process of samples has loaded the file, too.
    assert len(there["load_time"].samples) == len(there["first_inference"].samples) == 5
    events = events_of(tmp_path, "accuracy")
    assert {each["event"] for each in events} == {
        *("environment", "model", "conditions", "load", "first_inference", "outputs", "done")
    }
    assert not list(adbd.folder.glob("edgekd-*"))


@pytest.mark.slow
def test_a_prediction_that_differs_from_this_machine_s_is_counted(mine: Target, adbd: adbd_.Phone, model: Path) -> None:
    # Of the second sample it says another class than the file does.
    count, end = adbd.folder / "count", 'case "$*" in *output_filepath*) ;; *) exec "$0.real" "$@" ;; esac'
    put(adbd, "classic")
    program = adbd.folder / "bin" / "interpreter_benchmark_classic"
    program.rename(program.with_name("turning.real"))
    turn = f"""{end}
"$0.real" "$@" || exit
echo >> "{count}"
[ "$(wc -l < "{count}")" != 2 ] || printf '\\200\\200\\200\\177' > output"""
    write_program(program.with_name("turning"), turn)
    inputs, labels = np.full((3, 1960), -13.0, np.float32), np.zeros(3, np.int64)
    target = replace(mine, program="/data/local/tmp/bin/turning")
    found = benchmark(
        [describe_file(model)], targets=[load_target("host"), target], spec=QUICK, inputs=inputs, labels=labels
    )
    (agreement,) = (each for each in found if each.metric == "agreement")
    host = next(each for each in found if (each.target, each.metric) == ("host", "accuracy"))
    phone = next(each for each in found if (each.target, each.metric) == ("phone", "accuracy"))
    assert (agreement.target, agreement.samples) == ("phone", (1.0, 0.0, 1.0))
    assert phone.samples == (host.samples[0], 1 - host.samples[1], host.samples[2])
    release = gate(found, budgets=[Budget(metric="agreement", limit="99 %", target="phone")])
    assert release.checks[0].status in ("fail", "inconclusive")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["year_2020", "litert"])
def test_a_program_without_outputs_gives_times_and_one_warning(
    kind: str, mine: Target, adbd: adbd_.Phone, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    inputs, labels = np.zeros((2, 1960), np.float32), np.zeros(2, np.int64)
    target = replace(mine, program=put(adbd, kind))
    with caplog.at_level(logging.WARNING, "edgekd"):
        found = benchmark([describe_file(model)], targets=[target], spec=QUICK, inputs=inputs, labels=labels)
    assert {each.metric for each in found if each.target == "phone"} == {
        *("latency", "peak_memory", "load_time", "first_inference")
    }
    (warning,) = (each.getMessage() for each in caplog.records if "no accuracy" in each.getMessage())
    assert warning.startswith(f"{model.name} on phone: benchmark_model there takes no samples")
    release = gate(found, budgets=[Budget(metric="accuracy", limit="50 %", target="phone")])
    assert release.status == "unmeasured"
    assert "no accuracy" in release.checks[0].reason


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "x:$(touch touched)`touch touched`",
        "a,b:c::d'; touch touched; '\"\\",
        "--graph=/nowhere",
        "x\n@ran\n9 0\n@sha256\nfff\nUnconsumed cmdline flags: --all\ncount=2 curr=1",
        "ü\t*\u2028",
    ],
)
def test_names_of_tensors_are_never_read_by_a_shell_or_a_flag(
    name: str, mine: Target, adbd: adbd_.Phone, model: Path, tmp_path: Path
) -> None:
    named = rename_input(model, tmp_path / "named.tflite", name)
    described = describe_file(named)
    assert described.inputs[0].name == name
    inputs, _ = samples_of((1960,), 2)
    runtime = registry.load("runtimes", "benchmark_model")
    job = runtime.prepare(model=named, target=mine, threads=1, mode="accuracy", runs=1, time_limit_s=1)
    events = {}
    for each in (named, model):
        np.save(tmp_path / "inputs.npy", inputs)
        with registry.function("transports", "adb")(mine) as transport:
            given = {**job, "model": transport.push(each), "inputs": str(tmp_path / "inputs.npy")}
            events[each] = runtime.run(transport, job=given, model=each)
        assert [each["event"] for each in events[each]][-3:] == ["outputs", "conditions", "done"]
    said, wanted = (next(e for e in events[each] if e["event"] == "outputs") for each in (named, model))
    assert said["sha256"] == wanted["sha256"]
    assert not [*adbd.folder.rglob("touched"), *Path().glob("touched"), *tmp_path.rglob("touched")]


def rename_input(model: Path, path: Path, name: str) -> Path:
    """A copy of a file whose input has another name."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    content = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model.read_bytes()))
    graph = content.subgraphs[0]
    graph.tensors[graph.inputs[0]].name = name
    builder = flatbuffers.Builder()
    builder.Finish(content.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("does", "words"),
    [
        (
            "[ ! -s outputs ] || { echo 'INFO: STARTING!'; kill -SEGV $$; }",
            "{model} on phone: benchmark_model: it ended by SIGSEGV; ",
        ),
        ("exit 0", "phone: samples don't come through benchmark_model there: cat: output: No such file or directory; "),
    ],
)
def test_where_a_sample_does_not_come_through_there_is_no_accuracy(
    does: str, words: str, mine: Target, adbd: adbd_.Phone, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    inputs, labels = samples_of((1960,), 3)
    target = replace(mine, program=put(adbd, "classic", f'case "$*" in *output_filepath*) {does} ;; esac'))
    with caplog.at_level(logging.WARNING, "edgekd"):
        found = benchmark([describe_file(model)], targets=[target], spec=QUICK, inputs=inputs, labels=labels)
    assert {each.metric for each in found if each.target == "phone"} == {"latency", "peak_memory"}
    (warning,) = (each.getMessage() for each in caplog.records)
    assert warning.startswith(words.format(model=model.name))


@pytest.mark.slow
def test_outputs_and_samples_of_another_size_are_errors(mine: Target, adbd: adbd_.Phone, model: Path) -> None:
    inputs, labels = samples_of((1960,), 3)
    short = 'case "$*" in *output_filepath*) echo "INFO: STARTING!"; printf 123 > output; exit 0 ;; esac'
    target = replace(mine, program=put(adbd, "classic", short))
    with pytest.raises(MeasurementError, match="benchmark_model there wrote 9 bytes for 3 samples, not 12"):
        benchmark([describe_file(model)], targets=[target], spec=QUICK, inputs=inputs, labels=labels)
    with pytest.raises(DataError, match="one sample is"):
        benchmark([describe_file(model)], targets=[mine], spec=QUICK, inputs=inputs[:, :99], labels=labels)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classic", "year_2020"])
def test_operators_have_names_and_times(kind: str, mine: Target, adbd: adbd_.Phone, model: Path) -> None:
    found = profile([describe_file(model)], target=replace(mine, program=put(adbd, kind)))
    assert [each.operator for each in found] == [
        *("Static Reshape (NC)", "Convolution (NHWC, QC8) IGEMM", "Static Reshape (NC)"),
        *("Fully Connected (NC, QS8, QC8W) GEMM", "SOFTMAX"),
    ]
    assert found[1].layer == "Delegate/Convolution (NHWC, QC8) IGEMM:1"
    assert {(each.model, each.target) for each in found} == {(model.name, "phone")}
    count = len(found[0].samples)
    assert count >= 1
    assert all(len(each.samples) == count for each in found)
    # The convolution is nearly all of it, and no sample is a mean: whole microseconds.
    sums = [sum(each.samples) for each in found]
    assert 0.5 < sums[1] / sum(sums) <= 1
    assert all(round(each * 1e6) == pytest.approx(each * 1e6) for each in found[1].samples)


@pytest.mark.parametrize(("kind", "words"), [("litert", "does not tell"), ("old", "does not tell")])
def test_programs_that_tell_nothing_of_operators(
    kind: str, words: str, mine: Target, adbd: adbd_.Phone, model: Path
) -> None:
    with pytest.raises(MeasurementError, match=words) as refused:
        profile([describe_file(model)], target=replace(mine, program=put(adbd, kind)))
    assert str(refused.value).endswith("TensorFlow's does (--enable_op_profiling), and litert on host")


@pytest.mark.slow
def test_few_samples_prove_no_quantile(mine: Target, model: Path) -> None:
    release = gate(measure(model, mine), budgets=[Budget(metric="latency", limit="1 s", statistic="p90")])
    assert release.status in ("unmeasured", "inconclusive")


@pytest.mark.slow
def test_any_other_machine_will_do(mine: Target, adbd: adbd_.Phone, model: Path) -> None:
    # The program is started by a shell: a child of a large process would have been as large as that before it began.
    here = replace(mine, name="here", transport="local", address=None, program=put(adbd, "classic"))
    here = replace(here, program=str(here.program).replace("/data/local/tmp", str(adbd.folder)))
    here = replace(here, runtimes=("benchmark_model", "litert"))
    inputs, labels = np.zeros((2, 1960), np.float32), np.zeros(2, np.int64)
    measured = benchmark([describe_file(model)], targets=[here], spec=QUICK, inputs=inputs, labels=labels)
    found = {each.metric: each for each in measured if each.target == "here"}
    assert set(found) == {"latency", "peak_memory", "load_time", "first_inference", "accuracy"}
    assert 10**5 < found["peak_memory"].samples[0] < 10**8
    # Outputs are the next one's that reads the file, which is started only once for all samples.
    assert {name: each.conditions.runtime for name, each in found.items()} == {
        **dict.fromkeys(found, "benchmark_model"),
        "accuracy": "litert",
    }


def test_what_it_can_t_tell_is_an_error_not_a_crash(mine: Target, model: Path) -> None:
    runtime = registry.load("runtimes", "benchmark_model")
    for mode in ("accuracy", "compare"):
        job = runtime.prepare(model=model, target=mine, threads=1, mode=mode, runs=1, time_limit_s=1)
        with registry.function("transports", "adb")(mine) as transport:
            *_, last = runtime.run(transport, job={**job, "model": transport.push(model)}, model=model)
        assert (last["event"], last["message"]) == ("error", f"benchmark_model can't be run for {mode}")


def test_a_state_alone_needs_no_program(mine: Target, model: Path) -> None:
    runtime = registry.load("runtimes", "benchmark_model")
    gone = replace(mine, program="/nowhere")
    job = runtime.prepare(model=model, target=gone, threads=1, mode="state", runs=1, time_limit_s=1)
    with registry.function("transports", "adb")(mine) as transport:
        state, done = runtime.run(transport, job=job, model=Path())
    assert (state["event"], state["when"], state["thermal_status"]) == ("conditions", "now", "none")
    assert state["frequencies_hz"] == [830_000_000, 1_460_000_000]
    assert done == {"event": "done"}


def refusal(model: Path, target: Target, kind: type[Exception], spec: BenchmarkSpec = QUICK) -> str:
    with pytest.raises(kind) as refused:
        measure(model, target, spec)
    text = str(refused.value)
    assert "\n" not in text
    return text


def test_no_program(mine: Target, model: Path) -> None:
    text = refusal(model, replace(mine, program="/data/local/tmp/bin/nothing"), TargetError)
    assert text.startswith("phone: no benchmark_model at ")
    assert text.endswith("bin/nothing; edgekd targets setup phone")
    assert refusal(model, replace(mine, program=None), TargetError).startswith("phone: no benchmark_model; edgekd")


def test_another_program(mine: Target, adbd: adbd_.Phone, model: Path) -> None:
    text = refusal(model, replace(mine, program_sha256="0" * 64), TargetError)
    assert "not 000000000000…, which the target pins" in text
    write_program(adbd.folder / "bin" / "other", "echo hello; exit 1")
    text = refusal(model, replace(mine, program="/data/local/tmp/bin/other"), TargetError)
    assert "bin/other does not answer as benchmark_model does: hello; is it for this processor?" in text


def test_a_flag_that_it_ignores_fails_the_run(mine: Target, adbd: adbd_.Phone, model: Path) -> None:
    text = refusal(model, replace(mine, program=put(adbd, "old")), TargetError)
    assert text.startswith("phone: benchmark_model there does not know --num_threads=1, and measures something else")
    assert "edgekd targets setup phone --from FOLDER" in text


def test_xnnpack_is_off_where_the_target_says_so(mine: Target, adbd: adbd_.Phone, model: Path) -> None:
    plain = replace(mine, xnnpack=False)
    (latency,) = (each for each in measure(model, plain, BenchmarkSpec(runs=2)) if each.metric == "latency")
    assert latency.conditions.delegate == "none"
    text = refusal(model, replace(plain, program=put(adbd, "litert")), TargetError)
    assert "does not know --use_xnnpack=false" in text


def test_a_model_that_it_rejects(mine: Target, model: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.tflite"
    half.write_bytes(model.read_bytes()[: model.stat().st_size // 2])
    described = replace(describe_file(model), path=half, name=half.name, sha256=store.sha256_of(half))
    with pytest.raises(ModelError, match=r"^half\.tflite on phone: benchmark_model: [^\n]+$"):
        benchmark([described], targets=[mine], spec=QUICK)


def test_a_model_that_kills_it(mine: Target, adbd: adbd_.Phone, model: Path) -> None:
    ends = 'case "$*" in *--help*) ;; *) echo "INFO: STARTING!"; kill -SEGV $$ ;; esac'
    text = refusal(model, replace(mine, program=put(adbd, "classic", ends)), ModelError)
    assert text == f"{model.name} on phone: benchmark_model: it ended by SIGSEGV"


def test_a_tool_that_prints_nothing_to_read(mine: Target, adbd: adbd_.Phone, model: Path) -> None:
    for words in ("INFO: STARTING!", "INFO: STARTING!\nInitialized session in 1ms.\ncount=9 curr=1\ncount=50 curr=1"):
        write_program(adbd.folder / "bin" / "silent", f"echo '{words}'")
        text = refusal(model, replace(mine, program="/data/local/tmp/bin/silent"), TargetError)
        assert text == "phone: benchmark_model there prints no times that edgekd can read"


def test_what_is_rounded_is_taken_where_it_says_enough(mine: Target, adbd: adbd_.Phone, model: Path) -> None:
    log = Path(__file__).with_name("logs") / "litert.txt"
    recorded = log.read_text(encoding="utf-8").replace("(10 runs)", "(2 runs)")
    (adbd.folder / "said").write_text(f"INFO: STARTING!\n{recorded}")
    write_program(adbd.folder / "bin" / "rounds", f'exec cat "{adbd.folder}/said"')
    target = replace(mine, program="/data/local/tmp/bin/rounds")
    found = {each.metric: each for each in measure(model, target, BenchmarkSpec(runs=2, time_limit_s=60))}
    assert sorted(found["latency"].samples) == [7.4164, 7.44886]
    assert found["load_time"].samples[0] == 23.74473
    assert found["peak_memory"].samples[0] == round(6391.74 * 2**20)
    # The same numbers of a small file say nothing.
    (adbd.folder / "said").write_text(
        f"INFO: STARTING!\n{recorded.replace('7416.40', '0.08').replace('7448.86', '0.09')}"
    )
    assert "rounds to 0.01 ms, and the file takes less than 1 ms" in refusal(model, target, MeasurementError)


def test_a_cable_that_is_pulled_out(mine: Target, adbd: adbd_.Phone, model: Path) -> None:
    running = adbd.folder / "running"
    waits = f'case "$*" in *--help*) ;; *) touch "{running}"; sleep 600 ;; esac'
    target = replace(mine, program=put(adbd, "classic", waits))

    def pull_out() -> None:
        while not running.exists():
            time.sleep(0.1)
        adbd.unplug()

    threading.Thread(target=pull_out, daemon=True).start()
    assert refusal(model, target, TargetError).startswith("phone: the connection is lost; see that it is on")


def test_no_room_there(mine: Target, adbd: adbd_.Phone, model: Path, tmp_path: Path) -> None:
    places = adbd.folder / "small"
    places.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", places], check=False)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        with adbd_.phone(places, adbd.server_port) as small:
            (places / "bin").symlink_to(adbd.folder / "bin")
            big = tmp_path / "big.tflite"
            big.write_bytes(model.read_bytes() + bytes(10**5))
            text = refusal(big, replace(mine, address=small.serial), TargetError)
            assert "No space left on device; make room there" in text
    finally:
        subprocess.run(["umount", places], check=True)


def call(*words: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "300", **more}
    return subprocess.run(
        [sys.executable, "-m", "edgekd", *words], capture_output=True, text=True, check=False, env=environment
    )


def write_target(path: Path, target: Target) -> Path:
    lines: Sequence[str] = (
        'description = "mine"',
        'transport = "adb"',
        f'address = "{target.address}"',
        'runtimes = ["benchmark_model"]',
        f'program = "{target.program}"',
    )
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.slow
def test_from_the_command_line(mine: Target, adbd: adbd_.Phone, model: Path, tmp_path: Path) -> None:
    mine_toml = write_target(tmp_path / "my-phone.toml", mine)
    looked = call("targets", "check", mine_toml)
    assert looked.returncode == 0, looked.stderr
    assert "runtime benchmark_model" in looked.stdout
    done = call("bench", model, "--target", mine_toml, "--runs", "2", "--json")
    assert done.returncode == 0, done.stderr
    latency = next(each for each in json.loads(done.stdout) if each["metric"] == "latency")
    assert (latency["target"], latency["basis"], len(latency["samples"])) == ("my-phone", "measured", 2)
    for program, code, words in (("/data/local/tmp/none", 3, "no benchmark_model"), (put(adbd, "old"), 3, "--num_thr")):
        write_target(mine_toml, replace(mine, program=program))
        failed = call("bench", model, "--target", mine_toml)
        assert failed.returncode == code
        assert words in failed.stderr.splitlines()[-1]
    looked = call("targets", "check", write_target(mine_toml, replace(mine, program="/data/local/tmp/none")))
    assert looked.returncode == 3


@pytest.mark.slow
def test_energy_is_what_the_battery_s_gauge_says_while_it_is_not_charged(
    mine: Target, adbd: adbd_.Phone, model: Path
) -> None:
    assert "energy" not in {each.metric for each in measure(model, mine)}
    phone_says.unplug(adbd.folder, microamperes=-200_000, microvolts=4_000_000)
    ended = threading.Event()

    def drain() -> None:  # 0.8 W at rest, and 1.6 to 2.4 W as long as a program runs
        while not ended.wait(0.1):
            busy = subprocess.run(["pgrep", "-f", "interpreter_benchmark.py"], capture_output=True, check=False)
            drawn = int(time.monotonic() * 10) % 3
            microamperes = -200_000 if busy.returncode else -400_000 - 100_000 * drawn
            phone_says.unplug(adbd.folder, microamperes=microamperes, microvolts=4_000_000)

    gauge = threading.Thread(target=drain)
    gauge.start()
    try:
        found = {each.metric: each for each in measure(model, mine, replace(QUICK, time_limit_s=2))}
    finally:
        ended.set()
        gauge.join()
        phone_says.lay_out(adbd.folder, CLUSTERS)
    energy, latency = found["energy"], found["latency"]
    conditions = energy.conditions
    assert (conditions.energy_source, energy.unit, len(energy.samples)) == ("battery", "J", 3)
    assert conditions.idle_w == pytest.approx(0.8, rel=0.2)
    assert conditions.running_w == pytest.approx(2.0, rel=0.2)
    # Watts times seconds: inferences without a break may be faster than two at a time.
    assert 0.2 < np.median(energy.samples) / (2.0 * np.median(latency.samples)) < 2
