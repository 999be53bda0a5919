"""Median latency by `edgekd bench` against LiteRT's own benchmark_litert_model, on the same file in the same minute.

They take turns, five times each. The tool rounds what it prints to 0.01 ms, an eighth of what a small network takes:
its median is taken from its own code before that. It calls LiteRT by CompiledModel, as the target host-compiled-model
does, and that is what it is held against; the interpreter, which `host` calls, is measured beside. The tool looks
buffers up by name at each call, which counts in files of some microseconds. Set EDGEKD_TEST_DATA to the folder of
reference files. Twenty minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from results_file import Results

from edgekd.config import load_target
from edgekd.records import BenchmarkSpec
from edgekd.stages.benchmark import benchmark, describe_file

FILES = (
    "mlperf_tiny/image_classification/pretrainedResnet.tflite",
    "mlperf_tiny/image_classification/pretrainedResnet_quant.tflite",
    "mlperf_tiny/image_classification/pretrainedResnet_large_float.tflite",
    "mlperf_tiny/image_classification/pretrainedResnet_large_int8.tflite",
    "mlperf_tiny/anomaly_detection/ad01_fp32.tflite",
    "mlperf_tiny/anomaly_detection/ad01_int8.tflite",
    "mobilenet_v1_025/mobilenet_v1_0.25_224_1_default_1.tflite",
    "mobilenet_v1_025/mobilenet_v1_0.25_224_quant.tflite",
    "dtln/model_1.tflite",
    "dtln/model_2.tflite",
    "dtln/model_quant_1.tflite",
    "dtln/model_quant_2.tflite",
    "ai_edge_quantizer/conv_fc_mnist.tflite",
    "ai_edge_quantizer/mnist_quantized.tflite",
    "tflm/micro_speech_quantized.tflite",
)
WITHIN, FILES_WANTED = 0.05, 8
# The tool as it is; what its own call of statistics.median gives is printed before it is rounded.
_TOOL = """
import json, statistics, sys
from ai_edge_litert.tools import benchmark_litert_model as tool
medians, median = [], statistics.median
statistics.median = lambda times: medians.append(median(times)) or medians[-1]
tool.main()
print(json.dumps(medians[-1]))
"""


def main() -> None:
    """Measure file after file by both, and count those that agree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two files, one turn each")
    quick = parser.parse_args().quick
    results = Results("tool_agreement", quick=quick, fresh=quick)
    done = {run["file"] for run in results.runs}
    for name in FILES[:2] if quick else FILES:
        if name not in done:
            turns = [measure(Path(os.environ["EDGEKD_TEST_DATA"]) / "models" / name) for _ in range(1 if quick else 5)]
            edgekd_s, tool_s, interpreter_s = (statistics.median(each) for each in zip(*turns, strict=True))
            results.add(
                file=name,
                edgekd_s=edgekd_s,
                tool_s=tool_s,
                interpreter_s=interpreter_s,
                turns=turns,
                load=os.getloadavg()[0],
            )
            shown = (f"{each * 1e6:.1f} µs" for each in (edgekd_s, tool_s, interpreter_s))
            print(name, *shown, flush=True)
    claim(results)


def measure(path: Path) -> tuple[float, float, float]:
    """Median seconds by edgekd, by the tool, and by edgekd with the interpreter."""
    compiled, interpreter = (sample(path, target) for target in ("host-compiled-model", "host"))
    runs = str(max(len(compiled), 50))
    command = [sys.executable, "-c", _TOOL, "--model", str(path), "--num_runs", runs, "--warmup_runs", runs]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    tool_s = json.loads(done.stdout.splitlines()[-1]) / 1e3
    return statistics.median(compiled), tool_s, statistics.median(interpreter)


def sample(path: Path, target: str) -> tuple[float, ...]:
    """Seconds of inferences on a target."""
    found = benchmark([describe_file(path)], targets=[load_target(target)], spec=BenchmarkSpec(time_limit_s=2.0))
    (latency,) = [each for each in found if each.metric == "latency"]
    return latency.samples


def claim(results: Results) -> None:
    """Count the files on which both agree, and say how far apart the others are."""
    apart = {run["file"]: run["edgekd_s"] / run["tool_s"] - 1 for run in results.runs}
    agreeing = sum(abs(each) <= WITHIN for each in apart.values())
    bound = f"at least {FILES_WANTED}"
    of = f"of {len(apart)} files, medians within {100 * WITHIN:g} %"
    results.claim("files_that_agree", agreeing, of, bound=bound, holds=agreeing >= FILES_WANTED)
    for name, each in apart.items():
        results.claim(f"edgekd_over_tool_{Path(name).stem}", 100 * each, "% above the tool's median")
    by_interpreter = sum(abs(run["interpreter_s"] / run["tool_s"] - 1) <= WITHIN for run in results.runs)
    results.claim("files_where_the_interpreter_agrees", by_interpreter, of)


if __name__ == "__main__":
    main()
