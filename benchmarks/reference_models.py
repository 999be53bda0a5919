"""Every reference model file on every kind of target that runs here: what it takes there, or why it can't run.

This machine, TFLite Micro in the memory of a Cortex-M4's board, Vela for an Ethos-U55, and arm64 kernels by QEMU (where
`edgekd targets setup arm64-emulated` was done). MLPerf Tiny's files must need the arena, and by Vela the time and SRAM,
that others found for them. Last, logs of a microcontroller that ran MLPerf Tiny must give the latency and accuracy that
others read in them. Set EDGEKD_TEST_DATA to the folder of reference files. Half an hour.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from results_file import Results

from edgekd.config import load_target
from edgekd.errors import EdgekdError
from edgekd.records import BenchmarkSpec, Measurement, Model, TensorSpec
from edgekd.stages.benchmark import benchmark, describe_file, read_logs
from edgekd.units import METRICS

TARGETS = ("host", "cortex-m4", "ethos-u55-128", "arm64-emulated")
SPEC = BenchmarkSpec(runs=1000, time_limit_s=1.0)
BOARD = "nucleo-u575zi-q"
LOGS = "device_logs/NUCLEO_U575ZI_Q"
LABELS = Path(__file__).parents[1] / "tests" / "stages" / "benchmark" / "logs"
# By task: shape of the input, number of outputs, and labels where names of inputs don't say them. Two of the models are
# not among the reference files, so that these sizes stand for all of them.
TASKS = {
    "kws": ((49, 10, 1), 12, None),
    "vww": ((96, 96, 3), 2, "vww01_labels.csv"),
    "ic": ((32, 32, 3), 10, "ic01_labels.csv"),
    "ad": ((640,), 640, None),
}
# By file, target and metric: the published figure, and the digits that it has.
PUBLISHED = {
    ("pretrainedResnet_quant.tflite", "cortex-m4", "arena_size"): (55_984, 0),
    ("ad01_int8.tflite", "cortex-m4", "arena_size"): (3_984, 0),
    ("pretrainedResnet_quant.tflite", "ethos-u55-128", "latency"): (0.403e-3, 6),
    ("ad01_int8.tflite", "ethos-u55-128", "latency"): (0.402e-3, 6),
    # Medians of single inferences in the accuracy runs; windows of the performance runs take 1.8 ms less.
    ("kws", BOARD, "latency"): (30.81e-3, 5),
    ("vww", BOARD, "latency"): (61.11e-3, 5),
    ("ic", BOARD, "latency"): (112.9e-3, 4),
    ("kws", BOARD, "accuracy"): (0.902, 3),
    ("vww", BOARD, "accuracy"): (0.852, 3),
    ("ic", BOARD, "accuracy"): (0.870, 3),
    # 1 / the median throughput that the runner wrote.
    ("kws", BOARD, "window_latency"): (1 / 34.416, 5),
    ("vww", BOARD, "window_latency"): (1 / 16.870, 5),
    ("ic", BOARD, "window_latency"): (1 / 9.003, 5),
    ("ad", BOARD, "window_latency"): (1 / 291.589, 8),
}


def main() -> None:
    """Measure what is missing, and state how many files ran where."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two files")
    quick = parser.parse_args().quick
    folder = Path(os.environ["EDGEKD_TEST_DATA"]) / "models"
    files = sorted(file for file in folder.rglob("*") if file.suffix in (".onnx", ".tflite"))
    if quick:
        files = [file for file in files if file.name in ("ad01_int8.tflite", "pretrainedResnet_quant.tflite")]
    results = Results("reference_models", quick=quick, fresh=quick)
    done = {(run["file"], run["target"]) for run in results.runs}
    for file in files:
        for target in TARGETS:
            name = file.relative_to(folder).as_posix()
            if (name, target) not in done:
                found, reasons = measure(file, target)
                results.add(file=name, target=target, medians=found, reasons=reasons)
                print(name, target, found or reasons, flush=True)
    for task in TASKS:
        name = f"{LOGS}/{task}"
        if (name, BOARD) not in done:
            found, reasons = read(folder.parent / name, task)
            results.add(file=name, target=BOARD, medians=found, reasons=reasons)
            print(name, BOARD, found or reasons, flush=True)
    claim(results)


def measure(file: Path, target: str) -> tuple[dict[str, float], list[str]]:
    """Medians by metric, and what stood in the way of others."""
    with warnings() as reasons:
        try:
            found = benchmark([describe_file(file)], targets=[load_target(target)], spec=SPEC)
        except EdgekdError as error:
            return {}, [str(error)]
    return {each.metric: statistics.median(each.samples) for each in found if each.target == target}, reasons


def read(folder: Path, task: str) -> tuple[dict[str, float], list[str]]:
    """Medians of times and the share of right answers in the logs of a task, and what stood in the way of others."""
    takes, gives, labels = TASKS[task]
    model = Model(
        name=task,
        path=folder,
        format="tflite",
        precision="static_wi8_ai8",
        role="student",
        sha256="",
        size_bytes=0,
        inputs=(TensorSpec(name="input", shape=(1, *takes), dtype="int8"),),
        outputs=(TensorSpec(name="output", shape=(1, gives), dtype="int8"),),
    )
    with warnings() as reasons:
        try:
            found = read_logs(folder, model=model, target=BOARD, labels=LABELS / labels if labels else None)
        except EdgekdError as error:
            found = ()
            reasons.append(str(error))
    here = f"{folder.parents[2]}/"
    return {each.metric: figure(each) for each in found}, [each.replace(here, "") for each in reasons]


def figure(measurement: Measurement) -> float:
    """The mean of shares, the median of times."""
    is_share = METRICS[measurement.metric].dimension == "share"
    return (statistics.fmean if is_share else statistics.median)(measurement.samples)


@contextmanager
def warnings() -> Iterator[list[str]]:
    """Collect what edgekd warns of."""
    messages: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("edgekd").addHandler(handler)
    try:
        yield messages
    finally:
        logging.getLogger("edgekd").removeHandler(handler)


def claim(results: Results) -> None:
    """Count the files that ran, and hold figures against the published ones."""
    for target in TARGETS:
        runs = [run for run in results.runs if run["target"] == target]
        measured = [run for run in runs if run["medians"]]
        silent = [run["file"] for run in runs if not run["medians"] and not run["reasons"]]
        unit = f"of {len(runs)} files; {len(silent)} of the others give no reason"
        least = len(runs) if target == "host" else 0
        holds = len(measured) >= least and not silent
        results.claim(f"files_on_{target}", len(measured), unit, bound=f"at least {least}, no silence", holds=holds)
    for (name, target, metric), (published, digits) in PUBLISHED.items():
        for run in results.runs:
            if run["file"].endswith(f"/{name}") and run["target"] == target and metric in run["medians"]:
                value = run["medians"][metric]
                holds = round(value, digits) == round(published, digits)
                unit = METRICS[metric].unit
                results.claim(
                    f"{Path(name).stem}_{metric}_on_{target}", value, unit, bound=f"{published:g}", holds=holds
                )


if __name__ == "__main__":
    main()
