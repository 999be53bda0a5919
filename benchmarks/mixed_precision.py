"""What a precision for each layer is worth: MLPerf Tiny's ResNet-8 against files of one precision for all layers.

The student is the ResNet-8 of benchmarks/cifar10_resnet8.py that one teacher has taught (arm kd, seed 0), trained first
where that is not done. Two searches, each in ONNX and TFLite: the smallest file that loses at most 0.3 points of
accuracy on validation data, beside int8 for all layers; and the best file of weights alone that is at most a tenth
larger than the one of 4-bit weights for all layers. Validation images choose; the test images are seen once, by the
files in their runtimes. Needs the data: put the folders of cifar10_jpeg_bytes.npz and of the published weights into
EDGEKD_DATA. About ten minutes once the student is there; searches that are done are not done again.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import numpy as np
from cifar10_resnet8 import Bench
from results_file import Results
from training import WORK, Log, hash_weights, said, spread

from edgekd import store
from edgekd.datasets import Split
from edgekd.records import ExportSpec, Format, MixedPrecisionSpec, QuantSpec
from edgekd.stages.export import export
from edgekd.stages.export.converting import run_file
from edgekd.stats import paired_drop_interval

CHECK_SAMPLES = 500
DROP = 0.3
# A file of 4-bit weights has no room for anything else; a tenth more gives some layers theirs.
ROOM = 1.1
INT8, INT4 = "static_wi8_ai8", "weight_only_wi4_afp32"
# By search: the precision of all layers that it is held against, and what is asked for.
SEARCHES = {
    "accuracy": (INT8, MixedPrecisionSpec(max_drop=f"{DROP} pt")),
    "size": (INT4, MixedPrecisionSpec(candidates=("fp16", "weight_only_wi8_afp32", INT4), points=6)),
}


def main() -> None:
    """Search what is missing, test the files, and state what they are worth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few images, which prove nothing of accuracy")
    arguments = parser.parse_args()
    results = Results("mixed_precision", quick=arguments.quick, keep=True)
    bench = Bench(quick=False)
    student = bench.student("kd", 0).network
    for name in SEARCHES:
        for format_name in ("onnx", "tflite"):
            search(results, bench, student, name, format_name, quick=arguments.quick)
    claim(results)


def search(results: Results, bench: Bench, student: Any, name: str, format_name: Format, *, quick: bool) -> None:
    """Make a mixed file and the one that it is held against, and test both; unless that is in the results."""
    data, folder = bench.data, WORK / f"mixed-precision{'-quick' if quick else ''}"
    uniform, mixed = SEARCHES[name]
    if quick:
        mixed = replace(mixed, samples=100, points=3)
    key = store.fingerprint(said(mixed), uniform, ROOM, hash_weights(student), data.sha256)[:12]
    if any((run["search"], run["format"], run["key"]) == (name, format_name, key) for run in results.runs):
        return
    held = spread(data.validation, 500) if quick else data.validation
    test = spread(data.test, 500) if quick else data.test

    def made(spec: ExportSpec) -> Any:
        return export(
            student,
            folder=folder / f"{name}-{format_name}",
            spec=spec,
            calibration=data.samples(data.train.inputs, raw=True),
            check=data.ready(data.validation, CHECK_SAMPLES, raw=True),
            validation=data.samples(held.inputs, raw=True),
            validation_labels=held.labels,
            preprocessing=data.preprocessing,
            progress=Log(),
        )

    plain = ExportSpec(
        formats=(format_name,),  # type: ignore[arg-type]  # onnx or tflite
        precisions=("fp32", uniform),
        calibration=QuantSpec(samples=512),
    )
    files = {model.precision: model for model in made(plain).models}
    if mixed.max_drop is None:
        mixed = replace(mixed, max_size=f"{round(ROOM * files[uniform].size_bytes)} B")
    found = made(replace(plain, precisions=("fp32",), mixed=mixed))
    (files["mixed"],) = (model for model in found.models if model.precision == "mixed")
    # The second export has cleared nothing of the first but the float32 file, which is the same.
    right = {precision: tested(format_name, model.path, data, test) for precision, model in files.items()}
    lost = paired_drop_interval(right["fp32"], right["mixed"])
    accuracies = {precision: float(np.mean(each)) for precision, each in right.items()}
    results.add(
        search=name,
        format=format_name,
        key=key,
        git_revision=results.revision,
        uniform=uniform,
        validation_samples=len(held),
        test_samples=len(test),
        sizes={precision: model.size_bytes for precision, model in files.items()},
        test_accuracies=accuracies,
        mixed_drop=(lost.low, lost.high),
        found=next(iter(found.mixed.values())),
    )
    print(name, format_name, {each: (files[each].size_bytes, accuracies[each]) for each in files}, flush=True)


def tested(format_name: str, path: Any, data: Any, test: Split) -> list[float]:
    """Run a file on test images: 1 for each that it predicts right."""
    _, outputs = run_file(format_name, path, data.ready(test, raw=True))
    return [float(each) for each in outputs.reshape(len(test), -1).argmax(1) == test.labels]


def claim(results: Results) -> None:
    """State, of each search and format, what the mixed file gains over the uniform one."""
    newest = {(run["search"], run["format"]): run for run in results.runs}
    for (name, format_name), run in newest.items():
        sizes, accuracies, uniform = run["sizes"], run["test_accuracies"], run["uniform"]
        samples = f"{run['test_samples']} test samples"
        if name == "accuracy":
            ratio = sizes["mixed"] / sizes[uniform]
            unit = f"of the bytes of {uniform} for all layers ({sizes[uniform]:,} B)"
            results.claim(f"{format_name}_size", ratio, unit, bound="below 1", holds=ratio < 1)
            drop = 100 * (accuracies["fp32"] - accuracies["mixed"])
            beside = 100 * (accuracies["fp32"] - accuracies[uniform])
            unit = f"points of {100 * accuracies['fp32']:.2f} %, {samples}; {uniform} loses {beside:.2f}"
            # A budget on validation data binds there; on the same test images both files are right or wrong in pairs.
            low, high = (100 * end for end in run["mixed_drop"])
            bound = f"{DROP:g} or less in the interval"
            results.claim(f"{format_name}_drop", drop, unit, bound=bound, holds=low <= DROP, low=low, high=high)
        else:
            gain = 100 * (accuracies["mixed"] - accuracies[uniform])
            more = 100 * (sizes["mixed"] / sizes[uniform] - 1)
            unit = f"points over {uniform} for all layers, {samples}, with {more:.1f} % more bytes"
            results.claim(f"{format_name}_gain_at_a_size", gain, unit, bound="above 0", holds=gain > 0)


if __name__ == "__main__":
    main()
