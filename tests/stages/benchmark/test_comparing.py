"""Comparisons of real files, by the real runner; and what ratios of processes mean."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgekd.errors import MeasurementError, ModelError
from edgekd.records import Model, Target, Turns
from edgekd.stages.benchmark import compare, describe_file
from edgekd.stages.benchmark.comparing import judge

HOST = Target(name="host", description="", runtimes=("onnxruntime", "litert"))
HELLO = "models/tflm/hello_world_float.tflite"


def chain(path: Path, layers: int) -> Model:
    """So many fully connected layers, each as much work as the next."""
    rng, width = np.random.default_rng(0), 128
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, width]) for name in ("t0", f"t{layers}")]
    nodes = [helper.make_node("MatMul", [f"t{k}", f"w{k}"], [f"t{k + 1}"]) for k in range(layers)]
    weights = [
        numpy_helper.from_array(rng.normal(size=(width, width)).astype(np.float32) / 12, f"w{k}") for k in range(layers)
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return describe_file(path)


# --- real files ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "verdict", "status"), [((4, 40), "slower", "fail"), ((40, 4), "faster", "pass")])
def test_many_layers_take_longer_than_few(tmp_path: Path, layers: tuple[int, int], verdict: str, status: str) -> None:
    first, second = (chain(tmp_path / f"{count}.onnx", count) for count in layers)
    found = compare(first, second, target=HOST, threshold=0.5, time_limit_s=200, folder=tmp_path / "kept")
    assert (found.verdict, found.status, found.needed) == (verdict, status, None)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.ratio <= found.high
    assert found.latencies_s[1] / found.latencies_s[0] == pytest.approx(found.ratio, rel=0.5)
    assert [turns.first_loaded for turns in found.processes] == [k % 2 == 0 for k in range(len(found.processes))]
    assert len(list((tmp_path / "kept" / "host").iterdir())) == len(found.processes) >= 8


def test_one_process_gives_a_ratio_and_no_verdict(tmp_path: Path) -> None:
    first, second = chain(tmp_path / "a.onnx", 2), chain(tmp_path / "b.onnx", 60)
    found = compare(first, second, target=HOST, time_limit_s=0.1, folder=tmp_path)
    assert (found.verdict, found.status, found.low, found.high, found.needed) == (
        "inconclusive",
        "inconclusive",
        None,
        None,
        8,
    )
    (turns,) = found.processes
    assert len(turns.first) == len(turns.second)
    assert len(turns.first) % 2 == 0
    assert found.ratio > 2  # thirty times the work, of which some is the same for both
    assert (found.first, found.second) == ("a.onnx", "b.onnx")
    assert (found.first_sha256, found.second_sha256) == (first.sha256, second.sha256)
    events = [json.loads(line) for line in (tmp_path / "host" / "a.onnx.compare-0.jsonl").read_text().splitlines()]
    (raw,) = [each for each in events if each["event"] == "turns"]
    assert [float(np.median(turn)) / 1e9 for turn in raw["other"]] == pytest.approx(turns.second)


def test_two_formats_meet_in_one_process(shared_data: Path, tmp_path: Path) -> None:
    first, second = describe_file(shared_data / HELLO), chain(tmp_path / "b.onnx", 60)
    found = compare(first, second, target=HOST, time_limit_s=0.1)
    assert found.ratio > 1  # a network of 321 parameters against one of a million
    assert found.conditions[0].runtime == "litert"


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    paths = [tmp_path / name / "m.onnx" for name in "ab"]
    for path in paths:
        path.parent.mkdir()
    found = compare(*(chain(path, 1) for path in paths), target=HOST, time_limit_s=0.1)
    assert [found.first, found.second] == [str(path) for path in paths]


def test_a_file_that_no_runtime_reads_is_refused(shared_data: Path, tmp_path: Path) -> None:
    target = dataclasses.replace(HOST, runtimes=("onnxruntime",))
    with pytest.raises(ModelError, match=r"hello_world_float.tflite: no runtime of host reads tflite"):
        compare(chain(tmp_path / "a.onnx", 1), describe_file(shared_data / HELLO), target=target)


def test_a_runtime_with_a_program_of_its_own_takes_no_turns(shared_data: Path) -> None:
    target = dataclasses.replace(HOST, name="npu", runtimes=("vela",), accelerator="ethos-u55-128")
    model = describe_file(shared_data / HELLO)
    with pytest.raises(MeasurementError, match=r"hello_world_float.tflite: npu runs it by another program \(vela\)"):
        compare(model, model, target=target)


@pytest.mark.parametrize("guilty", [0, 1])
def test_the_file_that_a_runtime_rejects_is_named(tmp_path: Path, guilty: int) -> None:
    names = ["a.onnx", "b.onnx"]
    models = [chain(tmp_path / name, 1) for name in names]
    # A graph whose shapes don't fit: the parser takes it, the runtime does not.
    broken = onnx.load(tmp_path / names[guilty])
    broken.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros((3, 3), np.float32), "w0"))
    onnx.save(broken, tmp_path / names[guilty])
    models[guilty] = describe_file(tmp_path / names[guilty])
    with pytest.raises(ModelError, match=rf"^{names[guilty]} on host: "):
        compare(*models, target=HOST, time_limit_s=0.1)


@pytest.mark.parametrize("guilty", [0, 1])
def test_a_file_that_changed_is_found_out(tmp_path: Path, guilty: int) -> None:
    names = ["a.onnx", "b.onnx"]
    models = [chain(tmp_path / name, 1) for name in names]
    chain(tmp_path / names[guilty], 2)
    with pytest.raises(MeasurementError, match=rf"^{names[guilty]} on host: the file there is another one"):
        compare(*models, target=HOST, time_limit_s=0.1)


# --- what ratios mean ------------------------------------------------------------------------------


def spread(ratio: float, deviation: float, count: int = 16) -> list[float]:
    """Ratios of that geometric mean and that deviation of their logs."""
    unit = np.resize([-1.0, 1.0], count)
    return [float(each) for each in ratio * np.exp(deviation * unit / unit.std(ddof=1))]


@pytest.mark.parametrize(
    ("ratio", "deviation", "verdict"),
    [
        (1.0, 0.003, "same"),
        (1.0, 0.1, "inconclusive"),
        (1.02, 0.003, "slower"),
        (1.01, 0.003, "inconclusive"),
        (0.98, 0.003, "faster"),
        (0.99, 0.003, "not_slower"),
    ],
)
def test_verdicts(ratio: float, deviation: float, verdict: str) -> None:
    assert judge(spread(ratio, deviation), 0.01)[0] == verdict


@given(st.floats(0.8, 1.25), st.floats(0, 0.05), st.integers(2, 40), st.floats(0, 0.2))
def test_the_order_of_names_turns_the_verdict_round(
    ratio: float, deviation: float, count: int, threshold: float
) -> None:
    found = spread(ratio, deviation, count)
    verdict, interval = judge(found, threshold)
    turned, other = judge([1 / each for each in found], threshold)
    if interval is None or other is None:
        assert interval is other
        return
    assert interval.low == pytest.approx(1 / other.high)
    opposite = {"slower": {"faster"}, "faster": {"slower"}, "same": {"same"}}
    assert turned in opposite.get(verdict, {"inconclusive", "not_slower"})


def test_seven_equal_processes_are_too_few() -> None:
    assert judge([2.0] * 7, 0.01) == ("inconclusive", None)
    assert judge([2.0] * 8, 0.01)[0] == "slower"


def test_ratios_are_those_of_rounds_and_drift_cancels_out() -> None:
    # The machine gets 1 % slower with every turn; the second file takes 1.5 times as long throughout.
    speed = [1.01**turn for turn in range(400)]
    outer = [speed[k] for k in range(400) if k % 4 in (0, 3)]
    inner = [speed[k] for k in range(400) if k % 4 in (1, 2)]
    straight = Turns(first=tuple(outer), second=tuple(1.5 * each for each in inner), first_loaded=True)
    turned = Turns(first=tuple(inner), second=tuple(1.5 * each for each in outer), first_loaded=False)
    assert [straight.ratio, turned.ratio] == pytest.approx([1.5, 1.5])
    # A third of the rounds disturbed changes nothing.
    disturbed = [each * (3 if k % 3 == 0 else 1) for k, each in enumerate(straight.second)]
    assert dataclasses.replace(straight, second=tuple(disturbed)).ratio < 1.5 * math.sqrt(3) + 1e-9


def settled(ratio: float, deviation: float, processes: int, rng: np.random.Generator) -> str:
    """The verdict where one looks after each process, of so many at most."""
    found = [float(each) for each in ratio * np.exp(deviation * rng.standard_t(4, processes) / math.sqrt(2))]
    verdicts = [judge(found[:count], 0.01)[0] for count in range(8, processes + 1)]
    return next((each for each in verdicts if each in ("faster", "same", "slower")), verdicts[-1])


def test_processes_that_scatter_by_one_percent_find_two_percent_and_raise_no_false_alarm() -> None:
    rng = np.random.default_rng(0)
    found = [settled(1.02, 0.01, 45, rng) for _ in range(200)]
    assert found.count("slower") >= 190
    copies = [settled(1.0, 0.01, 45, rng) for _ in range(200)]
    assert copies.count("same") >= 190
    assert "slower" not in copies
    assert "faster" not in copies


def test_a_busy_machine_is_inconclusive_and_not_wrong() -> None:
    rng = np.random.default_rng(1)
    copies = [settled(1.0, 0.1, 45, rng) for _ in range(200)]
    assert copies.count("inconclusive") >= 190
    assert copies.count("slower") + copies.count("faster") <= 1
