"""A phone of the tests' daemon measures ONNX files, by the words of onnxruntime_perf_test and ONNX Runtime's times.

`python_perf_test.py` does what the program does; what the program itself said is in `test__perf_test_log.py`.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd import doctor, registry, store
from edgekd.errors import ConfigError, ModelError, TargetError
from edgekd.progress import Silent
from edgekd.records import BenchmarkSpec, Measurement, Target
from edgekd.stages.benchmark import benchmark, describe_file
from tests.transports import adbd as adbd_
from tests.transports import phone_says
from tests.transports.programs import write_program

CLUSTERS = {0: (1805000, 830000), 1: (2600000, 1460000)}
QUICK = BenchmarkSpec(runs=20, time_limit_s=2)
NAME = "onnxruntime_perf_test"


def write_model(path: Path, *nodes: onnx.NodeProto, constants: Sequence[onnx.TensorProto] = ()) -> Path:
    shapes = {"x": ["n", 64], "y": ["m", "k"]}
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    onnx.save(helper.make_model(graph, opset_imports=domains, ir_version=8), path)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    weights = numpy_helper.from_array(np.random.default_rng(0).random((64, 512), dtype=np.float32), "w")
    return write_model(tmp_path / "m.onnx", helper.make_node("MatMul", ["x", "w"], ["y"]), constants=[weights])


def script(kind: str) -> str:
    return f'exec "{sys.executable}" "{Path(__file__).with_name("python_perf_test.py")}" {kind} "$@"'


@pytest.fixture
def mine(phone: Target, adbd: adbd_.Phone) -> Target:
    phone_says.lay_out(adbd.folder, CLUSTERS)
    write_program(adbd.folder / "bin" / "ort" / NAME, script("getopt"))
    return replace(phone, runtimes=(NAME,), program=f"/data/local/tmp/bin/ort/{NAME}")


def measure(model: Path, target: Target, folder: Path | None = None) -> dict[str, Measurement]:
    found = benchmark([describe_file(model)], targets=[target], spec=QUICK, folder=folder)
    return {each.metric: each for each in found if each.target == target.name}


def refusal(model: Path, target: Target, kind: type[Exception]) -> str:
    with pytest.raises(kind) as refused:
        measure(model, target)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["getopt", "abseil"])
def test_every_inference_is_a_sample(kind: str, mine: Target, adbd: adbd_.Phone, model: Path, tmp_path: Path) -> None:
    write_program(adbd.folder / "bin" / "ort" / NAME, script(kind))
    found = measure(model, mine, tmp_path / "out")
    # Neither memory, which the whole process takes, nor a first inference in whole milliseconds.
    assert set(found) == {"latency", "load_time"}
    latency = found["latency"]
    assert len(latency.samples) == 20
    assert 1e-7 < min(latency.samples) < 0.01
    assert 3 <= len(latency.warmup) <= 200
    assert 0 < found["load_time"].samples[0] < 1
    conditions = latency.conditions
    assert (conditions.runtime, conditions.delegate) == (NAME, "CPUExecutionProvider, spinning off")
    assert conditions.runtime_version == f"sha256 {store.sha256_of(adbd.folder / 'bin' / 'ort' / NAME)[:12]}"
    assert (conditions.cores, conditions.governor, conditions.os.split(",")[0]) == ("1", "schedutil", "Android 15")
    (log,) = (tmp_path / "out").glob("phone/*.latency.jsonl")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    (samples,) = (each for each in events if each["event"] == "samples")
    (warmup,) = (each for each in events if each["event"] == "warmup")
    assert samples["frequencies_hz"] == [1_460_000_000]
    # Six digits, as the program writes them.
    assert all(float(f"{ns / 1e9:g}") == pytest.approx(ns / 1e9, rel=1e-6) for ns in samples["ns"] + warmup["ns"])
    assert not list(adbd.folder.glob("edgekd-*"))


@pytest.mark.slow
def test_a_phone_may_have_both_programs(mine: Target, adbd: adbd_.Phone) -> None:
    other = Path(__file__).with_name("interpreter_benchmark.py")
    write_program(adbd.folder / "bin" / "benchmark_model", f'exec "{sys.executable}" "{other}" classic "$@"')
    both = replace(mine, runtimes=(NAME, "benchmark_model"))
    try:
        findings = {each.name: each for each in doctor.check_target(both)}
    finally:
        (adbd.folder / "bin" / "benchmark_model").unlink()
    versions = [findings[f"runtime {name}"].detail for name in both.runtimes]
    assert all(each.startswith("sha256 ") for each in versions)
    assert versions[0] != versions[1]  # `program` is that of the first


@pytest.mark.slow
def test_files_that_it_rejects(mine: Target, model: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.onnx"
    half.write_bytes(model.read_bytes()[:2000])
    described = replace(describe_file(model), path=half, name=half.name, sha256=store.sha256_of(half))
    with pytest.raises(ModelError, match=r"^half\.onnx on phone: onnxruntime_perf_test: .*[Pp]rotobuf parsing failed"):
        benchmark([described], targets=[mine], spec=QUICK)
    custom = write_model(tmp_path / "custom.onnx", helper.make_node("Nope", ["x"], ["y"], domain="mine"))
    assert "mine:Nope(-1) is not a registered function/op" in refusal(custom, mine, ModelError)
    shape = numpy_helper.from_array(np.array([3, 5]), "s")
    fails = write_model(tmp_path / "fails.onnx", helper.make_node("Reshape", ["x", "s"], ["y"]), constants=[shape])
    assert "onnxruntime_perf_test: PerformanceRunner::RunOneIteration caught" in refusal(fails, mine, ModelError)


def test_a_model_that_kills_it(mine: Target, adbd: adbd_.Phone, model: Path) -> None:
    dies = 'case "$*" in *--help*) ;; *) kill -SEGV $$ ;; esac'
    write_program(adbd.folder / "bin" / "ort" / NAME, f"{dies}\n{script('getopt')}")
    assert refusal(model, mine, ModelError) == "m.onnx on phone: onnxruntime_perf_test: it ended by SIGSEGV"


@pytest.mark.parametrize(
    ("writes", "words"),
    [
        ("true", "onnxruntime_perf_test there writes no times that edgekd can read"),
        ("echo 'm,fast,1,1,0' > result.csv", "onnxruntime_perf_test there wrote a broken file: could not convert"),
        (
            "echo \"ERROR: Unknown command line flag 'D'\"; exit 1",
            "could not be started: Unknown command line flag",
        ),
    ],
)
def test_a_program_that_does_something_else(
    writes: str, words: str, mine: Target, adbd: adbd_.Phone, model: Path
) -> None:
    other = f'case "$*" in *--help*) ;; *) {writes}; exit ;; esac'
    write_program(adbd.folder / "bin" / "ort" / NAME, f"{other}\n{script('abseil')}")
    assert words in refusal(model, mine, TargetError)


def test_one_without_the_flags_is_refused(mine: Target, adbd: adbd_.Phone) -> None:
    stripped = "onnxruntime_perf_test [options...] model_path [result_file]\\n\\nNo flags matched."
    write_program(adbd.folder / "bin" / "ort" / NAME, f"printf '{stripped}'")
    finding = doctor.check_target(mine)[-1]
    assert not finding.right
    assert finding.detail.endswith(f"{NAME} does not know -D -I -S -m -r -x")
    assert finding.next_step == "edgekd targets setup phone --from FOLDER brings a newer one"


def test_it_is_the_user_who_brings_it_and_its_library_with_it(mine: Target, adbd: adbd_.Phone, tmp_path: Path) -> None:
    shutil.rmtree(adbd.folder / "edgekd", ignore_errors=True)
    usual = replace(mine, program=None)
    finding = doctor.check_target(usual)[-1]
    assert (finding.detail, finding.next_step) == (f"no {NAME}", "edgekd targets setup phone --from FOLDER")
    with pytest.raises(ConfigError, match=r"nobody publishes an onnxruntime_perf_test: build .* --from FOLDER"):
        doctor.set_up(usual, source=None, keep=None, progress=Silent())
    with pytest.raises(TargetError, match=rf"none of {NAME} in "):
        doctor.set_up(usual, source=tmp_path, keep=None, progress=Silent())
    # It does not start without what lies beside it.
    needs = 'grep -q 1.32 "${LD_LIBRARY_PATH%%:*}/libonnxruntime.so" || exit 127'
    write_program(tmp_path / NAME, f"{needs}\n{script('getopt')}")
    with pytest.raises(TargetError, match="does not answer as onnxruntime_perf_test does"):
        doctor.set_up(usual, source=tmp_path, keep=None, progress=Silent())
    assert not list((adbd.folder / "edgekd").iterdir())
    for version in ("1.32", "1.32.1"):
        (tmp_path / "libonnxruntime.so").write_text(version)
        doctor.set_up(usual, source=tmp_path, keep=None, progress=Silent())
        assert (adbd.folder / "edgekd" / "libonnxruntime.so").read_text() == version
    assert {each.name for each in (adbd.folder / "edgekd").iterdir()} == {NAME, "libonnxruntime.so"}
    library = store.sha256_of(tmp_path / "libonnxruntime.so")
    assert doctor.check_target(usual)[-1].detail.endswith(f", libonnxruntime.so {library[:12]}")
    # What may lie there stays when a worse one comes.
    (tmp_path / "libonnxruntime.so").write_text("2")
    with pytest.raises(TargetError, match="does not answer"):
        doctor.set_up(usual, source=tmp_path, keep=None, progress=Silent())
    assert (adbd.folder / "edgekd" / "libonnxruntime.so").read_text() == "1.32.1"


def test_behind_ssh_it_needs_no_python(ssh: Target, tmp_path: Path) -> None:
    board = replace(ssh, runtimes=(NAME,), program=str(tmp_path / "there" / NAME))
    write_program(tmp_path / NAME, script("abseil"))
    doctor.set_up(board, source=tmp_path, keep=None, progress=Silent())
    finding = doctor.check_target(board)[-1]
    assert (finding.name, finding.right) == (f"runtime {NAME}", True)


def test_what_it_can_t_do_is_said(mine: Target) -> None:
    runtime = registry.load("runtimes", NAME)
    job = runtime.prepare(model=Path("m"), target=mine, threads=1, mode="accuracy", runs=1, time_limit_s=1)
    with registry.function("transports", "adb")(mine) as transport:
        *_, last = runtime.run(transport, job={**job, "model": ""}, model=Path())
        state, done = runtime.run(transport, job={**job, "mode": "state"}, model=Path())
    assert (last["event"], last["message"]) == ("error", "onnxruntime_perf_test can't be run for accuracy")
    assert (state["event"], state["thermal_status"], done) == ("conditions", "none", {"event": "done"})
