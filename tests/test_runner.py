"""The runner as targets run it: a process, a job file, lines of JSON."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgekd import runner, stats
from tests.lints.tflite_files import Operator, Tensor, write_tflite
from tests.power import WATTS, write_vcgencmd
from tests.transports.programs import write_program

RUNNER = Path(runner.__file__)
QUICK = {"runs": 5, "time_limit_s": 0.5, "warmup_runs": 2, "warmup_s": 0.0}
RESNET8 = "models/mlperf_tiny/image_classification/pretrainedResnet_quant.tflite"


def run(folder: Path, **job: Any) -> tuple[int, list[dict[str, Any]]]:
    path = folder / "job.json"
    path.write_text(json.dumps({**QUICK, **job}, default=str))
    done = subprocess.run([sys.executable, RUNNER, path], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]  # nothing but JSON is there


def one(events: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (found,) = [each for each in events if each["event"] == name]
    return found


def affine_model(path: Path, *, shape: list[int | str], dtype: int = TensorProto.FLOAT) -> Path:
    """An ONNX file that computes 2·x + x, so that its answer is known."""
    ends = [helper.make_tensor_value_info(name, dtype, shape) for name in ("x", "y")]
    nodes = [helper.make_node("Add", ["x", "x"], ["z"]), helper.make_node("Add", ["z", "x"], ["y"])]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_source_is_python_3_9_and_needs_nothing_of_edgekd() -> None:
    tree = ast.parse(RUNNER.read_text(), feature_version=(3, 9))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    third_party = {name.partition(".")[0] for name in imported} - sys.stdlib_module_names
    assert third_party == {"numpy", "onnxruntime", "ai_edge_litert", "tensorflow", "tflite_micro", "tflite_runtime"}
    at_top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {name.partition(".")[0] for node in at_top for name in imported_by(node)} <= sys.stdlib_module_names


def imported_by(node: ast.Import | ast.ImportFrom) -> list[str]:
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]


def test_latency_events(tmp_path: Path) -> None:
    model = affine_model(tmp_path / "m.onnx", shape=["batch", 4])
    code, events = run(tmp_path, engine="onnxruntime", mode="latency", model=model, threads=1)
    assert code == 0
    assert [each["event"] for each in events] == [
        "environment",
        "model",
        "conditions",
        "load",
        "first_inference",
        "warmup",
        "samples",
        "conditions",
        "done",
    ]
    environment = one(events, "environment")
    assert {"host", "cpu", "arch", "os", "python", "numpy", "runtime_version"} <= environment.keys()
    assert environment["host"] == os.uname().nodename
    assert environment["arch"] == os.uname().machine
    assert one(events, "model")["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert [each["when"] for each in events if each["event"] == "conditions"] == ["before", "after"]
    assert one(events, "load")["delegate"] == "CPUExecutionProvider, spinning off"
    assert one(events, "load")["inputs"][0]["shape"] == [1, 4]
    samples, warmup = one(events, "samples")["ns"], one(events, "warmup")
    assert len(samples) == QUICK["runs"]
    assert len(warmup["ns"]) == min(warmup["count"], runner.WARMUP_SAMPLES_KEPT)
    assert warmup["count"] >= QUICK["warmup_runs"]
    assert isinstance(warmup["steady"], bool)
    assert all(isinstance(ns, int) and ns > 0 for ns in [*samples, *warmup["ns"], one(events, "load")["ns"]])


def write_tree(folder: Path, **files: str) -> Path:
    """Files as Linux's sysfs has them; `__` in a name is a slash."""
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return folder


def test_heat_is_looked_at_while_inferences_are_timed(tmp_path: Path) -> None:
    cpu, zone = "devices__system__cpu__cpufreq__policy0__scaling", "class__thermal__thermal_zone0"
    cool = {f"{zone}__temp": "50000", f"{cpu}_cur_freq": "1800000"}
    always = {
        f"{zone}__type": "soc",
        f"{zone}__trip_point_0_type": "passive",
        f"{zone}__trip_point_0_temp": "80000",
        f"{cpu}_max_freq": "1800000",
    }
    system = write_tree(tmp_path / "sys", **cool, **always)
    changes = (
        threading.Timer(2.0, write_tree, [system], {f"{zone}__temp": "85000", f"{cpu}_cur_freq": "600000"}),
        threading.Timer(4.5, write_tree, [system], cool),
    )
    for each in changes:
        each.start()
    model = affine_model(tmp_path / "m.onnx", shape=[1, 4])
    job = {"time_limit_s": 6, "interval_width": -1, "runs": 10**9}
    _, events = run(tmp_path, engine="onnxruntime", model=model, sys=system, **job)
    states = {each["when"]: each for each in events if each["event"] == "conditions"}
    assert list(states) == ["before", "during", "after"]
    assert [states[when]["temperature_c"] for when in ("before", "after")] == [50, 50]
    assert states["during"]["temperature_c"] == 85
    assert states["during"]["too_hot"] == ["soc"]
    assert states["during"]["frequencies_hz"] == [600_000_000]


def test_state_is_that_of_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, thermal = "devices__system__cpu", "class__thermal__thermal_zone"
    system = write_tree(
        tmp_path / "sys",
        **{f"{cpu}__cpu0__cpufreq__scaling_governor": "ondemand"},
        **{f"{cpu}__cpufreq__policy0__scaling_cur_freq": "1500000"},
        **{f"{cpu}__cpufreq__policy0__scaling_max_freq": "1800000"},
        **{f"{cpu}__cpufreq__policy4__scaling_cur_freq": "2400000"},
        **{f"{cpu}__cpufreq__policy4__scaling_max_freq": "2400000"},
        # One that is slowed for, one that is only near its end, one that can't be read.
        **{f"{thermal}0__type": "cpu-thermal", f"{thermal}0__temp": "81250"},
        **{f"{thermal}0__trip_point_0_type": "passive", f"{thermal}0__trip_point_0_temp": "80000"},
        **{f"{thermal}1__type": "gpu", f"{thermal}1__temp": "70000"},
        **{f"{thermal}1__trip_point_0_type": "critical", f"{thermal}1__trip_point_0_temp": "60000"},
        **{f"{thermal}2__type": "wifi", f"{thermal}2__temp": "unknown"},
    )
    write_program(tmp_path / "bin" / "vcgencmd", "echo throttled=0xe0008")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    code, events = run(tmp_path, engine="onnxruntime", mode="state", sys=system)
    assert code == 0
    state = one(events, "conditions")
    assert state.pop("load") >= 0
    assert state == {
        "event": "conditions",
        "when": "now",
        "governor": "ondemand",
        "throttled": "0xe0008",
        "temperature_c": 81.25,
        "too_hot": ["cpu-thermal"],
        "frequencies_hz": [1_500_000_000, 2_400_000_000],
        "frequency_limits_hz": [1_800_000_000, 2_400_000_000],
    }
    model = affine_model(tmp_path / "m.onnx", shape=[1, 4])
    _, events = run(tmp_path, engine="onnxruntime", model=model, sys=system)
    seen = [each["temperature_c"] for each in events if each["event"] == "conditions"]
    assert seen == [81.25, 81.25]


def test_a_device_that_tells_nothing_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    state = one(run(tmp_path, engine="onnxruntime", mode="state", sys=tmp_path / "nowhere")[1], "conditions")
    assert [state[key] for key in ("governor", "throttled", "temperature_c")] == [None] * 3
    assert [state[key] for key in ("too_hot", "frequencies_hz", "frequency_limits_hz")] == [[]] * 3


def test_time_limit_ends_the_samples(tmp_path: Path) -> None:
    model = affine_model(tmp_path / "m.onnx", shape=[1, 200_000])
    _, events = run(tmp_path, engine="onnxruntime", model=model, runs=10**6, time_limit_s=0.2)
    samples = one(events, "samples")["ns"]
    assert 1 <= len(samples) < 10**6
    assert sum(samples) / 1e9 < 5  # a busy machine may stretch the last one


def test_samples_end_when_their_intervals_are_narrow(tmp_path: Path) -> None:
    model = affine_model(tmp_path / "m.onnx", shape=[1, 4])
    job = {"engine": "onnxruntime", "model": model, "runs": 4000, "time_limit_s": 60}
    _, wide = run(tmp_path, **job, interval_width=50)  # what is 2 µs may take a hundred now and then
    assert len(one(wide, "samples")["ns"]) == runner.RUNS_OF_P99
    _, all_of_them = run(tmp_path, **job, interval_width=0)
    assert len(one(all_of_them, "samples")["ns"]) == 4000


def test_a_long_run_keeps_some_times_of_each_second(tmp_path: Path) -> None:
    model = affine_model(tmp_path / "m.onnx", shape=[1, 4])
    _, events = run(tmp_path, engine="onnxruntime", mode="sustained", model=model, sustained_s=2.5)
    seconds = one(events, "sustained")["seconds"]
    starts = [each["start_s"] for each in seconds]
    assert starts[0] == 0
    assert starts[-1] < 2.5
    assert np.diff(starts).min() > 0
    assert all(1 <= len(each["ns"]) <= runner.SUSTAINED_KEPT_PER_S for each in seconds)


def test_energy_is_told_idle_and_while_inferences_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_vcgencmd(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    model = affine_model(tmp_path / "m.onnx", shape=[1, 4])
    code, events = run(tmp_path, engine="onnxruntime", mode="energy", model=model, time_limit_s=1.0)
    assert code == 0
    assert one(events, "environment")["power_source"] == "pmic"
    told = one(events, "energy")
    assert told["source"] == "pmic"
    assert (len(told["idle"]), len(told["warmup"]), len(told["parts"])) == (5, 5, 10)
    assert {each["runs"] for each in told["idle"]} == {0}
    for each in [*told["idle"], *told["warmup"], *told["parts"]]:
        assert each["s"] >= 0.1
        assert each["j"] / each["s"] == pytest.approx(WATTS, rel=0.02)
    assert all(each["runs"] >= 1 for each in told["parts"])


def test_the_energy_of_slow_inferences_is_of_fewer_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_vcgencmd(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    model = affine_model(tmp_path / "m.onnx", shape=[1, 2_000_000])
    told = one(run(tmp_path, engine="onnxruntime", mode="energy", model=model, time_limit_s=1e-4)[1], "energy")
    assert [each["runs"] for each in [*told["warmup"], *told["parts"]]] == [1] * runner.FEWEST_PARTS


@pytest.mark.parametrize("mode", ["energy", "latency"])
def test_a_machine_that_tells_no_power_gives_no_energy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    # An older Raspberry Pi has a vcgencmd, but no such chip.
    write_program(tmp_path / "bin" / "vcgencmd", """echo 'error=1 error_msg="Command not registered"'; exit 255""")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    model = affine_model(tmp_path / "m.onnx", shape=[1, 4])
    code, events = run(tmp_path, engine="onnxruntime", mode=mode, model=model, sys=tmp_path / "sys")
    assert code == 0
    assert one(events, "environment")["power_source"] is None
    assert "energy" not in [each["event"] for each in events]


def test_counters_of_packages_are_added_up_past_their_end(tmp_path: Path) -> None:
    # As https://docs.kernel.org/power/powercap/powercap.html shows it: cores and memory are below their package.
    zones = {
        "intel-rapl:0": ("package-0", 262_143_328_850),
        "intel-rapl:0:0": ("core", 262_143_328_850),
        "intel-rapl:0:1": ("dram", 65_712_999_613),
        "intel-rapl:1": ("package-1", 262_143_328_850),
        "intel-rapl:2": ("psys", 262_143_328_850),
    }

    def tell(**microjoules: int) -> None:
        for zone, (name, most) in zones.items():
            write_tree(
                tmp_path / "class" / "powercap" / zone,
                name=name,
                max_energy_range_uj=str(most),
                energy_uj=str(microjoules.get(name.replace("-", "_"), 0)),
            )

    tell(package_0=1_000_000, package_1=262_143_000_000, core=5)
    meter = runner.find_meter(str(tmp_path))
    assert meter.SOURCE == "rapl"
    meter.start()
    tell(package_0=3_500_000, package_1=671_150, core=900_000_000, dram=900_000_000, psys=900_000_000)
    assert meter.stop(1.0) == pytest.approx(2.5 + 1.0)
    (tmp_path / "class" / "powercap" / "intel-rapl:1" / "energy_uj").unlink()  # nobody but root may read it
    assert meter.stop(1.0) is None
    assert runner.find_meter(str(tmp_path)) is None


@pytest.mark.parametrize(
    ("supply", "watts"),
    [
        # Of a reMarkable, as https://docs.rs/libremarkable/0.5.0/libremarkable/battery/ has it.
        ({"status": "Discharging", "current_now": "-132000", "voltage_now": "4164000"}, 0.132 * 4.164),
        ({"status": "Discharging", "current_now": "132000", "voltage_now": "4164000"}, 0.132 * 4.164),
        ({"status": "Discharging", "power_now": "8127000", "voltage_now": "11400000"}, 8.127),
        # What flows into a battery is not what the machine takes.
        ({"status": "Charging", "current_now": "132000", "voltage_now": "4164000"}, None),
        ({"status": "Full", "current_now": "0", "voltage_now": "4164000"}, None),
        ({"status": "Not charging", "power_now": "8127000"}, None),
        ({"status": "Discharging", "voltage_now": "4164000"}, None),
        ({"status": "Discharging", "scope": "Device", "power_now": "8127000"}, None),
    ],
)
def test_a_battery_tells_only_while_it_discharges(tmp_path: Path, supply: dict[str, str], watts: float | None) -> None:
    write_tree(tmp_path / "class" / "power_supply" / "BAT0", type="Battery", **supply)
    write_tree(tmp_path / "class" / "power_supply" / "AC", type="Mains", online="0")
    meter = runner.find_meter(str(tmp_path))
    assert (meter and meter.SOURCE) == (watts and "battery")
    if watts:
        assert meter.stop(0.5) == pytest.approx(watts / 2)
        write_tree(tmp_path / "class" / "power_supply" / "BAT0", status="Charging")
        assert meter.stop(0.5) is None


def test_a_jetson_s_module_is_its_rail_vdd_in(tmp_path: Path) -> None:
    # Units and names: https://docs.kernel.org/hwmon/ina3221.html; VDD_IN is the whole of an Orin NX or Nano.
    hwmon = tmp_path / "class" / "hwmon"
    write_tree(hwmon / "hwmon0", name="tmp451", in1_label="VDD_IN", in1_input="1", curr1_input="1")
    rails = {"in1_label": "VDD_IN", "in2_label": "VDD_CPU_GPU_CV", "in3_label": "VDD_SOC"}
    volts = {"in1_input": "4984", "in2_input": "4976", "in3_input": "4976"}
    write_tree(hwmon / "hwmon1", name="ina3221", **rails, **volts, curr1_input="1104", curr2_input="160")
    meter = runner.find_meter(str(tmp_path))
    assert meter.SOURCE == "ina3221"
    assert meter.stop(2.0) == pytest.approx(2 * 4.984 * 1.104)


def test_operators_are_timed_one_by_one(tmp_path: Path) -> None:
    model = affine_model(tmp_path / "m.onnx", shape=[1, 4])
    _, events = run(tmp_path, engine="onnxruntime", mode="profile", model=model, time_limit_s=60)
    operators = one(events, "profile")["operators"]
    assert [each["operator"] for each in operators] == ["Add", "Add"]
    assert [len(each["ns"]) for each in operators] == [1 + runner.PROFILE_RUNS] * 2  # the first inference is one more
    assert {file.name for file in tmp_path.iterdir()} == {"m.onnx", "job.json"}


@pytest.mark.parametrize(
    ("file", "convolutions", "rest"),
    [
        # As many convolutions as the file has; what XNNPACK leaves alone has the file's names.
        (RESNET8, 9, {"AVERAGE_POOL_2D", "SOFTMAX"}),
        ("models/ai_edge_quantizer/conv_fc_mnist.tflite", 1, set()),  # a batch of any size
        ("models/dtln/model_1.tflite", 0, {"UNPACK", "STRIDED_SLICE", "PACK"}),  # two inputs, three parts
    ],
)
def test_operators_of_litert_are_timed_one_by_one(
    file: str, convolutions: int, rest: set[str], shared_data: Path, tmp_path: Path
) -> None:
    code, events = run(tmp_path, engine="litert", mode="profile", model=shared_data / file, time_limit_s=60)
    assert code == 0, events[-1]
    operators = one(events, "profile")["operators"]
    assert sum(each["operator"].startswith("Convolution") for each in operators) == convolutions
    assert {each["operator"] for each in operators if not each["layer"].startswith("XNNPACK ")} == rest
    assert len({each["layer"] for each in operators}) == len(operators)
    assert [len(each["ns"]) for each in operators] == [runner.PROFILE_RUNS] * len(operators)
    assert all(ns % 1000 == 0 and ns >= 0 for each in operators for ns in each["ns"])
    if convolutions > 1:  # each inference has a time of its own, and not that of the first
        largest = max(operators, key=lambda each: np.median(each["ns"]))
        assert largest["operator"].startswith("Convolution")
        assert len(set(largest["ns"])) > 1


def test_a_litert_that_does_not_tell_of_operators_says_so(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ai_edge_litert

    with pytest.raises(runner.JobError, match=r"^LiteRT 2\.2\.1 does not tell what operators take; 2\.3 does$"):
        runner.CompiledLiteRT("2.2.1", str(shared_data / RESNET8), 1, [])
    monkeypatch.setattr(ai_edge_litert, "__path__", [str(tmp_path)])
    with pytest.raises(runner.JobError, match=r"^LiteRT's C library, which tells what operators take: "):
        runner.CompiledLiteRT("2.3.0", str(shared_data / RESNET8), 1, [])


def test_a_runtime_that_tells_no_times_of_operators_says_so(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tflite_micro")
    code, events = run(tmp_path, engine="tflite_micro", mode="profile", model=shared_data / RESNET8)
    assert (code, events[-1]["kind"]) == (1, "unprofiled")
    wanted = "tflite_micro does not tell what its operators take; onnxruntime, litert and benchmark_model do"
    assert events[-1]["message"] == wanted


def test_intervals_are_those_that_the_host_computes() -> None:
    rng = np.random.default_rng(0)
    for n in (100, 500, 5000):
        samples = rng.lognormal(10, 0.1, n).astype(int)
        intervals = [stats.quantile_interval(samples.astype(float), q) for q in (0.5, 0.9)]
        widest = max((each.high - each.low) / each.estimate for each in intervals)
        assert runner.is_narrow(samples.tolist(), widest * 1.2)
        assert not runner.is_narrow(samples.tolist(), widest / 1.2)
    assert not runner.is_narrow([1, 1, 1], 0.5)


def pettitt(values: list[float]) -> tuple[float, int]:
    """The statistic K and where it is found, as the paper's sums say."""
    sums = {
        t: sum(np.sign(after - before) for before in values[:t] for after in values[t:]) for t in range(1, len(values))
    }
    change = max(sums, key=lambda t: abs(sums[t]))
    return abs(sums[change]), change


@pytest.mark.parametrize("shift", [0.0, 0.005, 0.02, 0.05, 0.3])
def test_steadiness_is_pettitt_s_test_of_the_second_half(shift: float) -> None:
    rng = np.random.default_rng(int(shift * 1000))
    for _ in range(40):
        half = [float(each) for each in rng.normal(1, 0.003, 24)]
        half[10:] = [each * (1 - shift) for each in half[10:]]
        k, change = pettitt(half)
        chance = 2 * np.exp(-6 * k**2 / (24**3 + 24**2))
        before, after = np.median(half[:change]), np.median(half[change:])
        expected = chance > 0.05 or abs(before - after) <= 0.02 * after
        assert runner.is_steady([9.0] * 24 + half) == expected
        if shift >= 0.05:
            assert not expected
        if shift <= 0.005:
            assert expected


def test_a_slow_start_is_warmed_through_and_noise_is_none() -> None:
    rng = np.random.default_rng(0)
    settling = [1 + np.exp(-window / 5) + rng.normal(0, 0.003) for window in range(80)]
    first = next(n for n in range(1, 80) if runner.is_steady(settling[:n]))
    # What it looked at was not all the same yet, but nearly so: less than 10 % above the end, of 100 % at the start.
    assert settling[first // 2] < 1.1
    assert first >= 2 * runner.STEADY_WINDOWS[0]
    noisy = rng.lognormal(0, 0.5, (200, 40))
    assert np.mean([runner.is_steady(list(each)) for each in noisy]) > 0.9


def test_accuracy_writes_the_outputs_of_every_row(tmp_path: Path) -> None:
    model = affine_model(tmp_path / "m.onnx", shape=["batch", 3])
    rows = np.arange(12, dtype=np.float32).reshape(4, 3) / 7
    np.save(tmp_path / "in.npy", rows)
    _, events = run(tmp_path, engine="onnxruntime", mode="accuracy", model=model, inputs=tmp_path / "in.npy")
    written = one(events, "outputs")
    outputs = np.load(written["path"])
    assert outputs.dtype == np.float32
    np.testing.assert_allclose(outputs, 3 * rows.astype(np.float64), rtol=1e-6)
    assert written["sha256"] == hashlib.sha256(Path(written["path"]).read_bytes()).hexdigest()


def test_integer_inputs_without_a_scale_are_passed_as_they_are(tmp_path: Path) -> None:
    model = affine_model(tmp_path / "m.onnx", shape=[1, 3], dtype=TensorProto.INT64)
    np.save(tmp_path / "in.npy", np.array([[1, 2, 300]], np.float32))
    job = {"engine": "onnxruntime", "mode": "accuracy", "model": model, "inputs": tmp_path / "in.npy"}
    _, events = run(tmp_path, **job)
    np.testing.assert_array_equal(np.load(one(events, "outputs")["path"]), [[3, 6, 900]])
    np.save(tmp_path / "in.npy", np.array([[1, 2, 0.5]], np.float32))
    code, events = run(tmp_path, **job)
    assert (code, one(events, "error")["kind"]) == (1, "inputs_unfit")


def test_memory_sees_what_the_model_holds(tmp_path: Path) -> None:
    # 24 MB of constants, so that the answer stands out from what any session costs.
    values = np.random.default_rng(0).random(6_000_000, dtype=np.float32)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    nodes = [helper.make_node("ReduceMax", ["w"], ["m"], keepdims=0), helper.make_node("Add", ["x", "m"], ["y"])]
    added = {}
    for name, size in (("large", 6_000_000), ("small", 10)):
        weights = helper.make_tensor("w", TensorProto.FLOAT, [size], values[:size].tobytes(), raw=True)
        graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [weights])
        onnx.save(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx"
        )
        _, events = run(tmp_path, engine="onnxruntime", mode="memory", model=tmp_path / "m.onnx")
        memory = one(events, "memory")
        assert memory["added_bytes"] == memory["peak_bytes"] - memory["before_bytes"]
        added[name] = memory["added_bytes"]
    assert 20e6 < added["large"] - added["small"] < 200e6


def test_memory_that_can_not_be_measured_gives_no_event(tmp_path: Path) -> None:
    model = affine_model(tmp_path / "m.onnx", shape=[1, 3])
    (tmp_path / "job.json").write_text(
        json.dumps({**QUICK, "engine": "onnxruntime", "mode": "memory", "model": str(model)})
    )
    program = (
        "import sys, edgekd.runner as runner; read = runner._read;"
        "runner._read = lambda path: None if path == '/proc/self/status' else read(path);"
        "sys.exit(runner.main(sys.argv))"
    )
    argv = [sys.executable, "-c", program, str(tmp_path / "job.json")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    names = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert (done.returncode, names[-1]) == (0, "done")
    assert "memory" not in names


@pytest.mark.parametrize("others_work", [1, 30])
def test_two_files_take_turns(tmp_path: Path, others_work: int) -> None:
    model, other = affine_model(tmp_path / "m.onnx", shape=[1, 400]), tmp_path / "o.onnx"
    affine_model(other, shape=[1, 400 * 100 * others_work])
    job = {"engine": "onnxruntime", "mode": "compare", "model": model, "time_limit_s": 0.3, "warmup_s": 0.1}
    code, events = run(tmp_path, **job, other={"engine": "onnxruntime", "model": other})
    assert code == 0
    assert one(events, "other")["sha256"] == hashlib.sha256(other.read_bytes()).hexdigest()
    turns = one(events, "turns")
    assert len(turns["model"]) == len(turns["other"]) >= 2 * runner.TURN_ROUNDS
    assert len(turns["model"]) % 2 == 0
    for name in ("model", "other"):
        assert {len(turn) for turn in turns[name]} <= set(range(runner.TURN_RUNS, runner.MOST_TURN_RUNS + 1))
        assert len({len(turn) for turn in turns[name]}) == 1
    medians = {name: np.median(np.concatenate(turns[name])) for name in ("model", "other")}
    assert medians["other"] > medians["model"]


def test_another_file_that_is_no_model_is_told_from_the_first(tmp_path: Path) -> None:
    model = affine_model(tmp_path / "m.onnx", shape=[1, 3])
    (tmp_path / "o.onnx").write_bytes(b"no model")
    other = {"engine": "onnxruntime", "model": tmp_path / "o.onnx"}
    code, events = run(tmp_path, engine="onnxruntime", mode="compare", model=model, other=other)
    assert (code, events[-1]["kind"]) == (1, "model_rejected")
    assert one(events, "other")["sha256"] == hashlib.sha256(b"no model").hexdigest()


@pytest.mark.parametrize(
    ("job", "kind"),
    [
        ({"engine": "abacus"}, "bad_job"),
        ({"mode": "speed"}, "bad_job"),
        ({"model": "gone.onnx"}, "model_missing"),
        ({"inputs": "gone.npy"}, "inputs_unfit"),
    ],
)
def test_failures_are_one_event(tmp_path: Path, job: dict[str, str], kind: str) -> None:
    model = affine_model(tmp_path / "m.onnx", shape=[1, 3])
    code, events = run(tmp_path, **{"engine": "onnxruntime", "model": model, **job})
    assert (code, events[-1]["event"], events[-1]["kind"]) == (1, "error", kind)
    assert events[-1]["message"]
    assert "\n" not in events[-1]["message"]


def test_samples_of_another_shape_are_refused(tmp_path: Path) -> None:
    model = affine_model(tmp_path / "m.onnx", shape=[1, 3])
    np.save(tmp_path / "in.npy", np.zeros((2, 4), np.float32))
    code, events = run(tmp_path, engine="onnxruntime", mode="accuracy", model=model, inputs=tmp_path / "in.npy")
    assert (code, events[-1]["kind"]) == (1, "inputs_unfit")
    assert "(2, 4)" in events[-1]["message"]


@pytest.mark.parametrize(
    ("engine", "suffix"), [("onnxruntime", "onnx"), ("litert", "tflite"), ("tflite_micro", "tflite")]
)
def test_random_bytes_are_rejected(tmp_path: Path, engine: str, suffix: str) -> None:
    if engine == "tflite_micro":
        pytest.importorskip("tflite_micro")
    model = tmp_path / f"m.{suffix}"
    model.write_bytes(np.random.default_rng(1).bytes(4000))
    code, events = run(tmp_path, engine=engine, model=model)
    assert (code, events[-1]["event"], events[-1]["kind"]) == (1, "error", "model_rejected")


def test_a_python_without_numpy_says_so(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(json.dumps({"engine": "onnxruntime", "model": "m.onnx"}))
    # -S leaves out site-packages: a bare Python, as on a fresh target.
    argv = [sys.executable, "-S", str(RUNNER), str(tmp_path / "job.json")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    event = json.loads(done.stdout)
    assert (done.returncode, event["kind"]) == (1, "runtime_missing")
    assert "numpy" in event["message"]


@pytest.mark.parametrize(
    ("file", "arena_bytes"),
    [(RESNET8, 55_984), ("models/mlperf_tiny/anomaly_detection/ad01_int8.tflite", 3_984)],
)
def test_arena_is_that_of_mlperf_tiny(shared_data: Path, tmp_path: Path, file: str, arena_bytes: int) -> None:
    pytest.importorskip("tflite_micro")
    code, events = run(
        tmp_path, engine="tflite_micro", mode="memory", model=shared_data / file, ram_bytes=655_360, time_limit_s=0.1
    )
    assert code == 0
    assert abs(one(events, "arena")["bytes"] - arena_bytes) <= 64


def test_tokens_last_for_more_than_one_run(tmp_path: Path) -> None:
    """An input lies in the arena where another tensor lies later: what is left there is no token."""
    pytest.importorskip("tflite_micro")
    table = np.random.default_rng(0).normal(size=(16, 4)).astype("f4")
    tensors = {
        "tokens": Tensor(shape=(8,), dtype="int32"),
        "table": Tensor(shape=(16, 4), data=table),
        **{name: Tensor(shape=(8, 4)) for name in ("rows", "above", "output")},
    }
    operators = [
        Operator(name="EMBEDDING_LOOKUP", inputs=["tokens", "table"], outputs=["rows"]),
        Operator(name="RELU", inputs=["rows"], outputs=["above"]),
        Operator(name="RELU", inputs=["above"], outputs=["output"]),
    ]
    model = write_tflite(tmp_path / "m.tflite", tensors, operators, ["tokens"], ["output"])
    code, events = run(tmp_path, engine="tflite_micro", model=model, runs=20, time_limit_s=0.1)
    assert code == 0, events[-1]
    assert one(events, "first_inference")


def test_too_little_ram_says_how_much_is_needed(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tflite_micro")
    code, events = run(tmp_path, engine="tflite_micro", model=shared_data / RESNET8, ram_bytes=50_000)
    error = events[-1]
    assert (code, error["kind"]) == (1, "ram_too_small")
    assert abs(error["needed_bytes"] - 55_984) <= 64


def test_unsupported_operator_is_named(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tflite_micro")
    model = shared_data / "models/mobilenet_v1_025/mobilenet_v1_0.25_224_quant.tflite"
    code, events = run(tmp_path, engine="tflite_micro", model=model)
    assert (code, events[-1]["kind"]) == (1, "model_rejected")
    assert "CONV_2D" in events[-1]["message"]


def test_litert_reports_its_delegate_and_quantization(shared_data: Path, tmp_path: Path) -> None:
    _, events = run(tmp_path, engine="litert", mode="load", model=shared_data / RESNET8)
    load = one(events, "load")
    assert load["delegate"].startswith("XNNPACK")
    assert (load["inputs"][0]["dtype"], load["inputs"][0]["zero_point"]) == ("int8", -128)
    assert load["outputs"][0]["scale"] == 1 / 256


def test_without_xnnpack_the_plain_kernels_give_the_same(shared_data: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.float32))
    job = {"engine": "litert", "mode": "accuracy", "model": shared_data / RESNET8, "inputs": tmp_path / "in.npy"}
    ran = [run(tmp_path, xnnpack=xnnpack, **job)[1] for xnnpack in (True, False)]
    fast, plain = (one(events, "load")["delegate"] for events in ran)
    assert (fast.startswith("XNNPACK"), plain) == (True, "none")
    fast, plain = (np.load(one(events, "outputs")["path"]) for events in ran)
    np.testing.assert_allclose(fast, plain, atol=2 / 256)  # kernels round differently


def test_litert_and_tflite_micro_agree(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tflite_micro")
    rows = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.float32)
    np.save(tmp_path / "in.npy", rows)
    outputs = {}
    for engine in ("litert", "tflite_micro"):
        job = {"mode": "accuracy", "model": shared_data / RESNET8, "inputs": tmp_path / "in.npy"}
        _, events = run(tmp_path, engine=engine, **job)
        outputs[engine] = np.load(one(events, "outputs")["path"])
    assert outputs["litert"].shape == (4, 10)
    np.testing.assert_allclose(outputs["litert"].sum(axis=1), 1, atol=10 / 256)  # a softmax, dequantized
    np.testing.assert_allclose(outputs["litert"], outputs["tflite_micro"], atol=2 / 256)  # kernels round differently


def test_quantize_is_the_formula_of_tflite() -> None:
    spec = {"name": "x", "dtype": "int8", "scale": 0.5, "zero_point": -3}
    values = np.array([0.0, 0.25, 0.75, 1.0, -1e6, 1e6], np.float32)
    expected = [np.clip(np.round(v / 0.5) - 3, -128, 127) for v in values.astype(np.float64)]
    quantized = runner.quantize(values, spec)
    assert quantized.dtype == np.int8
    np.testing.assert_array_equal(quantized, expected)
    np.testing.assert_allclose(runner.dequantize(quantized[:4], spec), (np.array(expected[:4]) + 3) * 0.5)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint8", "int32", "int64", "bool"])
def test_random_inputs_are_seeded_and_typed(dtype: str) -> None:
    spec = {"name": "x", "dtype": dtype, "shape": [2, 50]}
    first, again, other = (runner.random_input(spec, seed) for seed in (0, 0, 1))
    assert first.dtype == dtype
    assert first.shape == (2, 50)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
