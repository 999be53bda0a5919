"""What measuring costs beside what is measured: for one inference, for one file on this machine, for one ssh command.

1. The runner's own cost of an inference: a runtime whose inference does nothing, a million times, less a process that
   runs it once. What of that is in a sample is stated, too.
2. `edgekd bench` of one small model on this machine: its wall time less its samples; warm-up counts as cost.
3. A hundred commands over ssh to this machine, by OpenSSH's own server, once connected.

Needs the environment for development (`make test` makes it) and openssh-server.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import onnx
from onnx import TensorProto, helper
from results_file import Results

from edgekd import runner
from edgekd.records import Target
from edgekd.transports.ssh import connect

ROOT = Path(__file__).parents[1]
INFERENCE_BOUND_US, BENCH_BOUND_S, SSH_BOUND_S = 2.0, 3.0, 5.0
COMMANDS = 100
# Stands for a runtime: the runner finds what it asks for, and an inference does nothing.
_EMPTY_RUNTIME = """
__version__ = "0"
class Nothing:
    def __init__(self, *args, **kwargs): pass
    def __getattr__(self, name): return lambda *args: []
class InferenceSession(Nothing):
    def io_binding(self): return None
    def run_with_iobinding(self, binding): pass
SessionOptions = Nothing
"""


def main() -> None:
    """Measure all three, and state what they show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="each once")
    quick = parser.parse_args().quick
    results = Results("runner_overhead", quick=quick)
    with tempfile.TemporaryDirectory() as scratch:
        for repetition in range(len(results.runs), 1 if quick else 10):
            results.add(
                repetition=repetition,
                load=os.getloadavg()[0],
                **time_inference(Path(scratch), 200_000 if quick else 1_000_000),
                **time_bench(Path(scratch)),
                **time_ssh(),
            )
    for name, unit, bound in (
        ("inference_us", "µs", INFERENCE_BOUND_US),
        ("bench_s", "s", BENCH_BOUND_S),
        ("ssh_s", "s", SSH_BOUND_S),
    ):
        values = sorted(run[name] for run in results.runs)
        worst = values[-1]
        results.claim(
            name,
            worst,
            f"{unit}, the slowest",
            bound=f"below {bound:g}",
            holds=worst < bound,
            low=values[0],
            high=worst,
        )
    samples = [run["in_a_sample_ns"] for run in results.runs]
    results.claim("in_a_sample_ns", statistics.median(samples), "ns", low=min(samples), high=max(samples))


def time_inference(scratch: Path, runs: int) -> dict[str, float]:
    """Time the runner around inferences that do nothing."""
    (scratch / "onnxruntime.py").write_text(_EMPTY_RUNTIME)
    (scratch / "model").touch()
    job = {
        "engine": "onnxruntime",
        "model": str(scratch / "model"),
        "time_limit_s": 60,
        "warmup_runs": 1,
        "warmup_s": 0,
        "interval_width": -1,  # nothing is narrow enough
    }
    walls, medians = [], []
    for count in (1, runs):
        (scratch / "job.json").write_text(json.dumps({**job, "runs": count}))
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, runner.__file__, scratch / "job.json"],
            env={**os.environ, "PYTHONPATH": str(scratch)},
            capture_output=True,
            text=True,
            check=True,
        )
        walls.append(time.perf_counter() - started)
        samples = next(
            event["ns"] for event in map(json.loads, done.stdout.splitlines()) if event["event"] == "samples"
        )
        if len(samples) != count:
            raise SystemExit(f"{len(samples)} samples, not {count}")
        medians.append(statistics.median(samples))
    return {"inference_us": 1e6 * (walls[1] - walls[0]) / (runs - 1), "in_a_sample_ns": medians[1]}


def time_bench(scratch: Path) -> dict[str, float]:
    """Time the command on a file of one operator."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Softmax", ["x"], ["y"])], "g", ends[:1], ends[1:])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), scratch / "small.onnx"
    )
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "edgekd", "bench", scratch / "small.onnx", "--target", "host", "--json"],
        capture_output=True,
        text=True,
        check=True,
        cwd=scratch,
    )
    wall = time.perf_counter() - started
    latency = next(each for each in json.loads(done.stdout) if each["metric"] == "latency")
    return {"bench_s": wall - sum(latency["samples"]), "sampling_s": sum(latency["samples"])}


def time_ssh() -> dict[str, float]:
    """Time commands over one connection."""
    sys.path.insert(0, str(ROOT))
    from tests.transports.sshd import NAME, serve

    path = os.environ["PATH"]
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder)) as server:
        os.environ["PATH"] = f"{server.path}{os.pathsep}{path}"
        try:
            with connect(Target(name=NAME, description="", runtimes=())) as transport:
                started = time.perf_counter()
                for number in range(COMMANDS):
                    if transport.run(["echo", str(number)], 60).stdout != f"{number}\n":
                        raise SystemExit(f"command {number} failed")
                return {"ssh_s": time.perf_counter() - started}
        finally:
            os.environ["PATH"] = path


if __name__ == "__main__":
    main()
