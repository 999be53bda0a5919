"""What integers cost in accuracy: after training, and after learning on with the rounding and the same teachers.

Of five students, on their full test sets, by the files themselves in LiteRT and ONNX Runtime: float32; int8 with ranges
from calibration alone; int8 after quantization-aware distillation; 4-bit weights rounded to the nearest and by
AdaRound. ResNet-8 and ResNet-20 are those of benchmarks/cifar10_resnet8.py (arms kd and the assistant, seed 0); a
MobileNetV1 of a quarter of the width and transformers' MobileNetV2 learn from the same ResNet-56 on the same images,
for eight epochs, since no weights with a test set of their own are at hand; the DS-CNN is that of the recipe
`spoken-digits`. One seed each. MobileNets of eight epochs have not learned all they can: what they gain with the
rounding is also due to five epochs more. Choices (the best epoch, which weights are kept) are made on validation data.
Needs the data: put the folders of cifar10_jpeg_bytes.npz, of the published weights and of the spoken digits into
EDGEKD_DATA.
About an hour and a half on two cores that do nothing else; a run that is cut off goes on where it was.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from cifar10_resnet8 import KD, SCHEDULE, Bench
from results_file import Results
from torch import Tensor, nn
from training import WORK, Log, build, settings_of, spread, train

from edgekd.config import load_recipe
from edgekd.datasets import Dataset, open_dataset
from edgekd.errors import ExportError
from edgekd.records import CorrectionTerm, DistillSpec, ExportSpec, QuantizationTraining, QuantSpec
from edgekd.stages.distill import learn_rounded
from edgekd.stages.export import export
from edgekd.stages.export.converting import run_file

CHECK_SAMPLES = 500
LEARNING_ON = QuantizationTraining(epochs=5)
MOBILE = replace(SCHEDULE, epochs=8, losses=KD)
ROUNDING = CorrectionTerm(name="rounding", options={"iterations": 1000})
# By method: precision and corrections of the export.
METHODS: dict[str, tuple[str, tuple[CorrectionTerm, ...]]] = {
    "int8_calibrated": ("static_wi8_ai8", ()),
    "int8_learned": ("static_wi8_ai8", ()),
    "int4_nearest": ("weight_only_wi4_afp32", ()),
    "int4_rounding": ("weight_only_wi4_afp32", (ROUNDING,)),
}
# Points of accuracy that a file may lose against the float32 one.
ALLOWED = {
    "resnet8": {"int8_calibrated": 0.3, "int8_learned": 0.1, "int4_rounding": 1.5},
    "resnet20": {"int8_calibrated": 0.3, "int8_learned": 0.1, "int4_rounding": 1.5},
    "ds_cnn": {"int8_calibrated": 0.3, "int8_learned": 0.1, "int4_rounding": 1.5},
    "mobilenet_v1": {"int8_calibrated": 0.8, "int8_learned": 0.1, "int4_rounding": 1.5},
    "mobilenet_v2": {"int8_calibrated": 0.8, "int8_learned": 0.1, "int4_rounding": 1.5},
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A trained student, and how it was trained.

    Attributes:
        spec: Of its training, whose losses and views the rounded student learns on with.
    """

    student: nn.Module
    data: Dataset
    teachers: Sequence[nn.Module]
    spec: DistillSpec


def main() -> None:
    """Make and test what is missing, and state what each file loses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="one epoch on few images, which proves nothing of accuracy"
    )
    parser.add_argument("--only", choices=ALLOWED, nargs="*", help="these students only")
    arguments = parser.parse_args()
    results = Results("quantization", quick=arguments.quick, keep=True)
    for name in arguments.only or ALLOWED:
        settings = settings_of(DistillSpec(), name, LEARNING_ON, MOBILE, ROUNDING)
        done = {run["method"] for run in results.runs if (run["student"], run["settings"]) == (name, settings)}
        if not {"fp32", *METHODS} <= done:
            case = CASES[name](arguments.quick)
            for method in ("fp32", *METHODS):
                if method not in done:
                    run(results, name, case, method, settings, quick=arguments.quick)
    claim(results)


def resnet8(quick: bool) -> Case:
    """MLPerf Tiny's ResNet-8."""
    bench = Bench(quick=quick)
    return Case(
        student=bench.student("kd", 0).network,
        data=bench.data,
        teachers=[bench.teacher(56)],
        spec=replace(SCHEDULE, losses=KD, epochs=1 if quick else SCHEDULE.epochs),
    )


def resnet20(quick: bool) -> Case:
    """The published ResNet-20, which learned from the ResNet-56 on the stored images."""
    bench = Bench(quick=quick)
    spec = replace(SCHEDULE, losses=KD, learning_rate=0.01, epochs=1 if quick else 4)
    return Case(student=bench.assistant(0), data=bench.data, teachers=[bench.teacher(56)], spec=spec)


def ds_cnn(quick: bool) -> Case:
    """The recipe's own teacher and student, of unseen speakers."""
    recipe = load_recipe("spoken-digits").recipe
    data = open_dataset(recipe.data)
    (teaching,) = recipe.teachers
    folder = WORK / f"quantization{'-quick' if quick else ''}"

    def short(spec: DistillSpec) -> DistillSpec:
        return replace(spec, epochs=1) if quick else spec

    teacher = train(
        build("ds_cnn", data, 0, **teaching.options),
        data=data,
        spec=short(teaching.train or DistillSpec()),
        folder=folder / "ds-cnn-teacher",
        name="teacher",
    ).network
    student = train(
        build("ds_cnn", data, 0, **recipe.student.options),
        data=data,
        spec=short(recipe.distill),
        teachers=[teacher],
        folder=folder / "ds-cnn",
        name="student",
    ).network
    return Case(student=student, data=data, teachers=[teacher], spec=short(recipe.distill))


def mobilenet_v1(quick: bool) -> Case:
    """A quarter of the width, on small images."""
    bench = Bench(quick=quick)
    return _mobile(bench, build("mobilenet_v1", bench.data, 0, width_multiplier=0.25, stem_stride=1), "mobilenet-v1")


def mobilenet_v2(quick: bool) -> Case:
    """As transformers builds it."""
    import torch
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    bench = Bench(quick=quick)
    config = MobileNetV2Config(
        image_size=32, depth_multiplier=0.35, num_labels=10, output_stride=16, classifier_dropout_prob=0.0
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Logits(MobileNetV2ForImageClassification(config))
    return _mobile(bench, network, "mobilenet-v2")


class Logits(nn.Module):
    """A classifier of transformers that gives nothing but logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        """Run it."""
        logits: Tensor = self.network(pixel_values=inputs).logits
        return logits


def _mobile(bench: Bench, network: nn.Module, name: str) -> Case:
    spec = replace(MOBILE, epochs=1) if bench.quick else MOBILE
    teacher = bench.teacher(56)
    folder = WORK / f"quantization{'-quick' if bench.quick else ''}" / name
    student = train(network, data=bench.data, spec=spec, teachers=[teacher], folder=folder, name=name).network
    return Case(student=student, data=bench.data, teachers=[teacher], spec=spec)


CASES: dict[str, Callable[[bool], Case]] = {
    "resnet8": resnet8,
    "resnet20": resnet20,
    "ds_cnn": ds_cnn,
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
}


def run(results: Results, name: str, case: Case, method: str, settings: str, *, quick: bool) -> None:
    """Make the files of one method, and test them."""
    data = case.data
    precision, corrections = METHODS.get(method, ("fp32", ()))
    facts: dict[str, Any] = {"student": name, "method": method, "settings": settings, "git_revision": results.revision}
    quantized = None
    folder = WORK / f"quantization{'-quick' if quick else ''}" / f"{name}-{method}"
    try:
        if method == "int8_learned":
            learned = learn_rounded(
                case.student,
                data=data,
                teachers=case.teachers,
                spec=replace(case.spec, quantization=replace(LEARNING_ON, epochs=1) if quick else LEARNING_ON),
                folder=folder,
                progress=Log(),
                name=f"{name} with rounding",
            )
            facts["learning"] = dataclasses.asdict(replace(learned.outcome, ranges={}))
            quantized = learned.student
        made = export(
            case.student,
            quantized=quantized,
            folder=folder,
            spec=ExportSpec(precisions=(precision,), calibration=QuantSpec(samples=512), corrections=corrections),
            calibration=data.samples(data.train.inputs, raw=True),
            check=data.ready(data.validation, CHECK_SAMPLES, raw=True),
            preprocessing=data.preprocessing,
        )
    except ExportError as error:
        # Kept as it is: a student that can't learn with rounding is a result too.
        results.add(**facts, error=str(error))
        print(name, method, error, flush=True)
        return
    test = spread(data.test, 200) if quick else data.test
    images = data.ready(test, raw=True)
    for model in made.models:
        _, outputs = run_file(model.format, model.path, images)
        right = outputs.reshape(len(test), -1).argmax(1) == test.labels
        accuracy = float(np.mean(right))
        results.add(
            **facts, format=model.format, size_bytes=model.size_bytes, test_samples=len(test), test_accuracy=accuracy
        )
        print(name, method, model.format, f"{accuracy:.4f}", model.size_bytes, flush=True)


def claim(results: Results) -> None:
    """State what each TFLite file loses; the ONNX files are in the runs."""
    newest = {(run["student"], run["method"], run.get("format")): run for run in results.runs}
    for name, allowed in ALLOWED.items():
        for method in METHODS:
            whole, file = (newest.get((name, each, "tflite")) for each in ("fp32", method))
            if whole is None or file is None:
                continue
            drop = 100 * (whole["test_accuracy"] - file["test_accuracy"])
            bound = allowed.get(method)
            results.claim(
                f"{name}_{method}_drop",
                drop,
                f"points of {100 * whole['test_accuracy']:.2f} %, {file['test_samples']} test samples",
                bound="" if bound is None else f"at most {bound:g}",
                holds=None if bound is None else drop <= bound,
            )


if __name__ == "__main__":
    main()
