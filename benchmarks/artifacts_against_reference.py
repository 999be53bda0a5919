"""MLPerf Tiny's ResNet-8 as edgekd writes it, against the reference's own file: bytes, arena, Vela's estimate, speed.

The network is edgekd's own, with the reference's float weights, so that both files should compute the same. Accuracies
are of the 10,000 test images as they are stored here, as JPEG. Times are of both files in one process, in blocks of
inferences that alternate as A B B A; their ratio is the median of the ratios of two blocks' medians. Needs the data:
put the folders of cifar10_jpeg_bytes.npz and of MLPerf Tiny's models into EDGEKD_DATA. Some minutes on a quiet machine.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from cifar10_data import MLPERF, find, load, load_mlperf
from numpy.typing import NDArray
from results_file import Results
from training import WORK

from edgekd import registry
from edgekd.config import load_target
from edgekd.records import BenchmarkSpec, Cargo, ExportSpec, Model, NpuSummary
from edgekd.stages.benchmark import benchmark, describe_file
from edgekd.stages.export import export
from edgekd.stages.export.converting import run_file
from edgekd.store import read_json

REFERENCE = "pretrainedResnet_quant.tflite"
ACCELERATOR = "ethos-u55-128"
CHECK_SAMPLES = 500
# The reference's own figures (MLPerf Tiny's repository; Vela's default configuration).
SIZE, ARENA, VELA_S = 92_000, 55_984, 0.403e-3
BLOCKS, RUNS = 20, 100


def main() -> None:
    """Make the files, measure both, and state what they show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few blocks, which prove nothing of speed")
    arguments = parser.parse_args()
    results = Results("artifacts_against_reference", quick=arguments.quick, fresh=True)
    data, folder = load(), WORK / "artifacts"
    made = export(
        load_mlperf(data),
        folder=folder,
        spec=ExportSpec(precisions=("fp32", "static_wi8_ai8")),
        calibration=data.samples(data.train.inputs, raw=True),
        check=data.ready(data.validation, CHECK_SAMPLES, raw=True),
        preprocessing=data.preprocessing,
    )
    ours = {model.format: model for model in made.models if model.precision == "static_wi8_ai8"}
    floats = {model.format: model for model in made.models if model.precision == "fp32"}
    files = {
        "edgekd": ours["tflite"],
        "reference": describe_file(find(REFERENCE, MLPERF)),
    }
    test = data.ready(data.test, raw=True)
    for name, model in files.items():
        _, outputs = run_file("tflite", model.path, test)
        accuracy = float(np.mean(outputs.argmax(1) == data.test.labels))
        results.add(part="file", file=name, git_revision=results.revision, accuracy=accuracy, **measure(model))
    images = data.ready(data.validation, 1, raw=True)
    default = quantize_by_default(floats["onnx"].path, data.ready(data.train, 256, raw=True), folder)
    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "litert": (litert(ours["tflite"].path, images), litert(files["reference"].path, images)),
        "tflite_micro": (micro(ours["tflite"].path, images), micro(files["reference"].path, images)),
        "onnxruntime": (onnxruntime_of(ours["onnx"].path, images), onnxruntime_of(default, images)),
    }
    blocks = 2 if arguments.quick else BLOCKS
    for runtime, (mine, other) in pairs.items():
        # A against A tells how far chance alone comes.
        same = alternate(mine, mine, blocks, RUNS if runtime != "tflite_micro" else RUNS // 10)
        times = alternate(mine, other, blocks, RUNS if runtime != "tflite_micro" else RUNS // 10)
        results.add(
            part="speed",
            runtime=runtime,
            against="ONNX Runtime's quantize_static as it comes" if runtime == "onnxruntime" else REFERENCE,
            git_revision=results.revision,
            medians_s=times,
            medians_of_the_same_s=same,
        )
    claim(results)


def measure(model: Model) -> dict[str, Any]:
    """Size, arena in TFLite Micro, and Vela's estimate of a file."""
    measured = benchmark(
        [model],
        targets=[load_target("cortex-m4")],
        spec=BenchmarkSpec(targets=("cortex-m4",), runs=20, time_limit_s=1.0),
    )
    (arena,) = (each.samples[0] for each in measured if each.metric == "arena_size")
    with tempfile.TemporaryDirectory() as folder:
        pack = registry.load("packagers", "vela").pack
        _, summary = pack(cargo=Cargo(model=model), folder=Path(folder), accelerator=ACCELERATOR)
        vela = read_json(summary, NpuSummary)
    return {"size_bytes": model.size_bytes, "arena_bytes": arena, "vela": vela}


def quantize_by_default(path: Path, images: NDArray[np.float32], folder: Path) -> Path:
    """Quantize the float file by ONNX Runtime, with nothing but its own preprocessing and defaults."""
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        def __init__(self) -> None:
            self.left = iter(images)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            image = next(self.left, None)
            return None if image is None else {"input": image[None]}

    prepared, quantized = folder / "ort-prepared.onnx", folder / "ort-default.onnx"
    quantization.shape_inference.quant_pre_process(path, prepared)
    quantization.quantize_static(prepared, quantized, Reader())
    return quantized


def litert(path: Path, images: NDArray[np.float32]) -> Callable[[], object]:
    """Give what runs a file once in LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    taken = interpreter.get_input_details()[0]
    interpreter.set_tensor(taken["index"], _as_taken(images, taken))
    return interpreter.invoke  # type: ignore[no-any-return]


def micro(path: Path, images: NDArray[np.float32]) -> Callable[[], object]:
    """Give what runs a file once in TFLite Micro."""
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(path.read_bytes(), arena_size=2**20)
    taken = interpreter.get_input_details(0)
    quantization = taken["quantization_parameters"]
    detail = {**taken, "quantization": (quantization["scales"][0], quantization["zero_points"][0])}
    interpreter.set_input(_as_taken(images, detail), 0)
    return interpreter.invoke  # type: ignore[no-any-return]


def onnxruntime_of(path: Path, images: NDArray[np.float32]) -> Callable[[], object]:
    """Give what runs a file once in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"input": images})


def _as_taken(images: NDArray[np.float32], detail: dict[str, Any]) -> NDArray[Any]:
    scale, zero_point = detail["quantization"]
    limits = np.iinfo(detail["dtype"])
    whole = np.clip(np.round(images.transpose(0, 2, 3, 1) / scale) + zero_point, limits.min, limits.max)
    return np.ascontiguousarray(whole, dtype=detail["dtype"])


def alternate(
    mine: Callable[[], object], other: Callable[[], object], blocks: int, runs: int
) -> tuple[list[float], list[float]]:
    """Time both in turns, as A B B A; the median of each block, in seconds."""
    medians: tuple[list[float], list[float]] = ([], [])
    for call in (mine, other):
        for _ in range(runs):
            call()
    for block in range(2 * blocks):
        which = (0, 1, 1, 0)[block % 4]
        call, times = (mine, other)[which], []
        for _ in range(runs):
            started = time.perf_counter_ns()
            call()
            times.append(time.perf_counter_ns() - started)
        medians[which].append(statistics.median(times) * 1e-9)
    return medians


def claim(results: Results) -> None:
    """Hold files against the reference's figures, and times against its file."""
    (ours,) = (run for run in results.runs if run["part"] == "file" and run["file"] == "edgekd")
    (reference,) = (run for run in results.runs if run["part"] == "file" and run["file"] == "reference")
    for name, value, other, bound, unit in (
        ("int8_tflite_size", ours["size_bytes"], reference["size_bytes"], SIZE, "B"),
        ("arena", ours["arena_bytes"], reference["arena_bytes"], ARENA, "B"),
        ("vela_u55_128", ours["vela"]["inference_s"], reference["vela"]["inference_s"], VELA_S, "s"),
    ):
        results.claim(
            name, value, f"{unit}; the reference has {other:g}", bound=f"at most {bound:g}", holds=value <= bound
        )
    # One standard deviation of a share of 10,000 is about 0.3 points; the same images make most of it cancel.
    difference = 100 * (ours["accuracy"] - reference["accuracy"])
    results.claim(
        "accuracy_over_reference",
        difference,
        f"points over {100 * reference['accuracy']:.2f} %",
        bound="at least -0.3",
        holds=difference >= -0.3,
    )
    for run in results.runs:
        if run["part"] == "speed":
            mine, other = (np.array(each) for each in run["medians_s"])
            ratios = np.sort(mine / other)
            low, high = np.quantile(_means(ratios), (0.025, 0.975))
            results.claim(
                f"{run['runtime']}_time",
                float(np.median(ratios)),
                f"of {run['against']}",
                bound="at most 1, or within its interval",
                holds=bool(low <= 1.0),
                low=float(low),
                high=float(high),
            )


def _means(ratios: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bootstrap of the median of the blocks' ratios."""
    drawn = np.random.default_rng(0).choice(ratios, (2000, len(ratios)))
    medians: NDArray[np.float64] = np.median(drawn, axis=1)
    return medians


if __name__ == "__main__":
    main()
