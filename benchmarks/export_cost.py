"""What an export costs: seconds for ResNet-8 in all precisions and both formats, and the memory of its calibration.

The student is the ResNet-8 of benchmarks/cifar10_resnet8.py that one teacher has taught (arm kd, seed 0), trained first
where that is not done. Needs the data: put the folders of cifar10_jpeg_bytes.npz and of the published weights into
EDGEKD_DATA. A few minutes once the student is there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from cifar10_resnet8 import Bench
from results_file import Results
from training import WORK

from edgekd.datasets import Dataset, Scaled
from edgekd.records import PRECISIONS, ExportSpec, QuantSpec
from edgekd.stages.export import export
from edgekd.stages.export.calibrating import Samples

ONLY_TFLITE = "static_wi8_ai16"
SPEC = ExportSpec(
    precisions=tuple(f"{each}.tflite" if each == ONLY_TFLITE else each for each in PRECISIONS),
    calibration=QuantSpec(samples=256),
)
CHECK_SAMPLES = 500
COUNTS = (100, 1_000, 10_000)
SECONDS, GROWTH = 90.0, 1.1
# In a process of its own that something small starts: Linux counts the starter's memory as the process's own.
_LAUNCH = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
_CALIBRATE = """
import ast, sys
from pathlib import Path
from edgekd.stages.export.calibrating import Samples, watch_all
onnx, tflite, samples, shape = sys.argv[1:]
watch_all({"onnx": Path(onnx), "tflite": Path(tflite)}, Samples(path=Path(samples), shape=ast.literal_eval(shape)))
"""


def main() -> None:
    """Measure both, and state what they show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one export, and 100 and 1,000 samples")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--part", choices=("seconds", "memory"), help="this one only")
    arguments = parser.parse_args()
    results = Results("export_cost", quick=arguments.quick, keep=True)
    bench = Bench(quick=False)
    folder = WORK / f"export-cost{'-quick' if arguments.quick else ''}"
    shutil.rmtree(folder, ignore_errors=True)
    if arguments.part != "memory":
        measure_seconds(results, bench, folder, repeats=1 if arguments.quick else arguments.repeats)
    if arguments.part != "seconds":
        measure_memory(results, bench, folder, counts=COUNTS[:2] if arguments.quick else COUNTS)
    claim(results)


def measure_seconds(results: Results, bench: Bench, folder: Path, *, repeats: int) -> None:
    """Export everything, each time with an empty cache."""
    student, data = bench.student("kd", 0).network, bench.data
    for repeat in range(repeats):
        os.environ["EDGEKD_CACHE"] = str((folder / f"cache-{repeat}").absolute())
        started = time.perf_counter()
        exported = export(
            student,
            folder=folder / f"files-{repeat}",
            spec=SPEC,
            calibration=data.samples(data.train.inputs, raw=True),
            check=data.ready(data.validation, CHECK_SAMPLES, raw=True),
            preprocessing=data.preprocessing,
        )
        seconds = time.perf_counter() - started
        sizes = {model.name: model.size_bytes for model in exported.models}
        results.add(part="seconds", git_revision=results.revision, repeat=repeat, seconds=seconds, sizes=sizes)
        print(f"{seconds:.1f} s for {len(sizes)} files", flush=True)


def measure_memory(results: Results, bench: Bench, folder: Path, *, counts: tuple[int, ...]) -> None:
    """Calibrate with more and more samples, each number in a process of its own."""
    place = folder / "calibration"
    spec = ExportSpec(precisions=("fp32",))
    sources = _export_floats(bench, place, spec)
    for count in counts:
        samples = _write(bench.data, count, place / f"{count}.f32")
        environment = os.environ | {"EDGEKD_CACHE": str((place / f"cache-{count}").absolute())}
        command = [sys.executable, "-c", _CALIBRATE, *map(str, sources), str(samples.path), repr(samples.shape)]
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", _LAUNCH, *command], env=environment, stdout=subprocess.PIPE, check=True
        )
        results.add(
            part="memory",
            git_revision=results.revision,
            samples=count,
            peak_bytes=int(done.stdout.splitlines()[-1]) * 1024,
            seconds=time.perf_counter() - started,
        )
        print(results.runs[-1], flush=True)


def _export_floats(bench: Bench, folder: Path, spec: ExportSpec) -> tuple[Path, Path]:
    data = bench.data
    export(
        bench.student("kd", 0).network,
        folder=folder,
        spec=spec,
        calibration=Scaled(data.train.inputs, data.scale),
        check=data.ready(data.validation, CHECK_SAMPLES),
    )
    return folder / "student.fp32.onnx", folder / "student.fp32.tflite"


def _write(data: Dataset, count: int, path: Path) -> Samples:
    chosen = np.arange(count) * len(data.train) // count
    return Samples.write(Scaled(data.train.inputs[chosen], data.scale), path)


def claim(results: Results) -> None:
    """Hold the slowest export and the growth of memory against their bounds."""
    newest = {part: [run for run in results.runs if run["part"] == part] for part in ("seconds", "memory")}
    if runs := newest["seconds"][-3:]:
        seconds = [run["seconds"] for run in runs]
        results.claim(
            "export_seconds",
            max(seconds),
            f"s, slowest of {len(seconds)}, {len(runs[-1]['sizes'])} files",
            bound=f"at most {SECONDS:g}",
            holds=max(seconds) <= SECONDS,
            low=min(seconds),
            high=max(seconds),
        )
    peaks = {run["samples"]: run["peak_bytes"] for run in newest["memory"]}
    if len(peaks) > 1:
        growth = peaks[max(peaks)] / peaks[min(peaks)]
        results.claim(
            "calibration_memory",
            growth,
            f"of the peak with {min(peaks)} samples, with {max(peaks):,}",
            bound=f"at most {GROWTH:g}",
            holds=growth <= GROWTH,
        )
        results.claim("calibration_peak", peaks[max(peaks)], f"B with {max(peaks):,} samples")


if __name__ == "__main__":
    main()
