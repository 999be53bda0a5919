"""How often `edgekd compare` calls a file different from its own copy, and finds one that is 2 or 5 % slower.

The slower file is a slower network, not a wait: the same convolution (8 to 8 channels, 3x3, on 16x16, with ReLU) 50
times in a row against 51 and 53 times, in ONNX, compared at the default threshold of 1 %. By how much they are slower
all comparisons together say. Copies are of the 50, and of MLPerf Tiny's int8 ResNet-8 (set EDGEKD_TEST_DATA to the
folder of reference files). With one busy core, a process that computes all the time runs beside. About two hours.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from results_file import Results

from edgekd.config import load_target
from edgekd.stages.benchmark import compare, describe_file

WORK = Path("runs") / "benchmarks" / "comparison-power"
RESNET = "models/mlperf_tiny/image_classification/pretrainedResnet_quant.tflite"
_BUSY = "while True: sum(range(10_000))"


@dataclass(frozen=True, kw_only=True)
class Part:
    """Comparisons of one kind.

    Attributes:
        pairs: Names of files; comparisons take them in turn.
        busy: Whether a process computes beside.
    """

    pairs: tuple[tuple[str, str], ...]
    count: int
    time_limit_s: float
    busy: bool = False


COPIES = (("resnet8.tflite", "resnet8-copy.tflite"), ("50.onnx", "50-copy.onnx"))
PARTS = {
    "same": Part(pairs=COPIES, count=200, time_limit_s=60),
    "slower_2": Part(pairs=(("50.onnx", "51.onnx"),), count=100, time_limit_s=60),
    "slower_5": Part(pairs=(("50.onnx", "53.onnx"),), count=100, time_limit_s=15),
    "same_busy": Part(pairs=COPIES, count=30, time_limit_s=60, busy=True),
}


def main() -> None:
    """Compare until every part has its number, and state what they show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one comparison a part, of 12 s at most")
    parser.add_argument("--part", choices=PARTS, action="append", help="this one only; may be given often")
    arguments = parser.parse_args()
    results = Results("comparison_power", quick=arguments.quick, keep=not arguments.quick, fresh=arguments.quick)
    files = make_files(WORK)
    for name in arguments.part or PARTS:
        part = PARTS[name]
        done = sum(run["part"] == name for run in results.runs)
        for index in range(done, 1 if arguments.quick else part.count):
            limit_s = min(part.time_limit_s, 12.0) if arguments.quick else part.time_limit_s
            results.add(part=name, git_revision=results.revision, **measure(part, files, index, limit_s))
            print(name, index, {key: results.runs[-1][key] for key in ("verdict", "ratio", "wall_s")}, flush=True)
    claim(results)


def make_files(folder: Path) -> Path:
    """Make the networks, and copies to compare with."""
    folder.mkdir(parents=True, exist_ok=True)
    for blocks in (50, 51, 53):
        onnx.save(network(blocks), folder / f"{blocks}.onnx")
    shutil.copyfile(folder / "50.onnx", folder / "50-copy.onnx")
    for name in ("resnet8.tflite", "resnet8-copy.tflite"):
        (folder / name).unlink(missing_ok=True)  # a copy of a file that may not be written
        shutil.copyfile(Path(os.environ["EDGEKD_TEST_DATA"]) / RESNET, folder / name)
    return folder


def network(blocks: int) -> onnx.ModelProto:
    """Equal convolutions in a row, each with weights of its own."""
    rng, shape = np.random.default_rng(0), [1, 8, 16, 16]
    nodes, weights = [], []
    for block in range(blocks):
        values = rng.normal(size=(8, 8, 3, 3)).astype(np.float32) / 6
        weights.append(numpy_helper.from_array(values, f"w{block}"))
        nodes.append(helper.make_node("Conv", [f"x{block}", f"w{block}"], [f"c{block}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{block}"], [f"x{block + 1}"]))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x0", f"x{blocks}")]
    graph = helper.make_graph(nodes, "blocks", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def measure(part: Part, files: Path, index: int, time_limit_s: float) -> dict[str, Any]:
    """Compare once."""
    first, second = (describe_file(files / name) for name in part.pairs[index % len(part.pairs)])
    with ExitStack() as stack:
        if part.busy:
            busy = stack.enter_context(subprocess.Popen([sys.executable, "-c", _BUSY]))
            stack.callback(busy.kill)
        load = os.getloadavg()[0]
        found = compare(first, second, target=load_target("host"), time_limit_s=time_limit_s)
    return {
        "first": found.first,
        "second": found.second,
        "verdict": found.verdict,
        "ratio": found.ratio,
        "low": found.low,
        "high": found.high,
        "ratios": [turns.ratio for turns in found.processes],
        "latencies_s": found.latencies_s,
        "wall_s": found.wall_s,
        "time_limit_s": time_limit_s,
        "load_before": load,
    }


def claim(results: Results) -> None:
    """Count wrong verdicts on copies, and right ones on slower files."""
    runs = {name: [run for run in results.runs if run["part"] == name] for name in PARTS}
    if same := runs["same"]:
        wrong = share(same, "faster", "slower")
        of = f"of {len(same)} comparisons of copies"
        results.claim("called_different", wrong, of, bound="at most 0.01", holds=wrong <= 0.01)
        apart = sum(run["low"] is not None and not run["low"] <= 1 <= run["high"] for run in same) / len(same)
        results.claim("interval_without_1", apart, of, bound="at most 0.01", holds=apart <= 0.01)
        results.claim("settled", 1 - share(same, "inconclusive", "not_slower"), of)
        seconds(results, "same", same)
    for name, percent in (("slower_2", 2), ("slower_5", 5)):
        if slower := runs[name]:
            found, limit_s = share(slower, "slower"), slower[0]["time_limit_s"]
            of = f"of {len(slower)} comparisons within {limit_s:g} s"
            results.claim(f"found_{percent}_percent", found, of, bound="at least 0.95", holds=found >= 0.95)
            each = [ratio for run in slower for ratio in run["ratios"]]
            added = statistics.geometric_mean(each) - 1
            results.claim(f"slower_by_{percent}", 100 * added, f"% of the latency, by {len(each)} processes")
            seconds(results, name, slower)
    if busy := runs["same_busy"]:
        count = sum(run["verdict"] == "slower" for run in busy)
        of = f"of {len(busy)} comparisons of copies with one busy core"
        results.claim("false_fails_busy", count, of, bound="none", holds=count == 0)
        results.claim("inconclusive_busy", share(busy, "inconclusive"), of)


def share(runs: Sequence[dict[str, Any]], *verdicts: str) -> float:
    """Share of runs with one of these verdicts."""
    return sum(run["verdict"] in verdicts for run in runs) / len(runs)


def seconds(results: Results, name: str, runs: Sequence[dict[str, Any]]) -> None:
    """State how long comparisons took."""
    taken = sorted(run["wall_s"] for run in runs)
    results.claim(f"seconds_{name}", statistics.median(taken), "s, median", low=taken[0], high=taken[-1])


if __name__ == "__main__":
    main()
