"""The stages for notebooks and training scripts, on one's own live objects."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgekd.config import load_target, load_targets
from edgekd.errors import ConfigError, EdgekdError, did_you_mean
from edgekd.records import (
    BenchmarkSpec,
    Comparison,
    CorrectionTerm,
    DistillSpec,
    ExportSpec,
    IoType,
    LossTerm,
    Measurement,
    MixedPrecisionSpec,
    Model,
    QuantSpec,
)

if TYPE_CHECKING:
    from torch import nn

    from edgekd.datasets import Dataset, Split
    from edgekd.progress import Progress
    from edgekd.stages.distill import Distilled
    from edgekd.stages.export import Exported


def distill(
    *,
    student: nn.Module,
    data: Dataset,
    teachers: Sequence[nn.Module] = (),
    teacher_weights: Sequence[float] | None = None,
    losses: Sequence[LossTerm] = (),
    transfer: Split | None = None,
    folder: Path | str | None = None,
    progress: Progress | None = None,
    **schedule: Any,
) -> Distilled:
    """Train a student from teachers, or a teacher from labels when there are none.

    Args:
        student: Takes (B, *data.input_shape) float32, gives (B, classes) logits; trained in place.
        data: Its validation split chooses the epoch.
        teachers: Networks with the same inputs and outputs.
        teacher_weights: Share of each; equal by default.
        losses: Terms such as `edgekd.losses.kl(temperature=4.0)`; Hinton's by default.
        transfer: Learned from in place of the training split; labels of -1 are not known.
        folder: Keeps a checkpoint, so that a killed training goes on.
        progress: Hears of batches.
        **schedule: Fields of `edgekd.DistillSpec`, such as `epochs=30`.

    Returns:
        The student with the weights of its best epoch, and its history.

    Raises:
        ConfigError: A field that does not exist, or several seeds: a live network has one beginning.
        EdgekdError: As `edgekd.stages.distill.distill`.
    """
    from edgekd.stages import distill as stage

    spec = _spec(DistillSpec, {"losses": tuple(losses), **schedule})
    if spec.seeds > 1:
        raise ConfigError(
            f"seeds = {spec.seeds} of a live network", next_step="call distill once for each seed, with a new network"
        )
    return stage.distill(
        student,
        data=data,
        teachers=teachers,
        teacher_weights=teacher_weights,
        transfer=transfer,
        spec=spec,
        folder=Path(folder) if folder else None,
        progress=progress,
    )


def export(
    student: Distilled | nn.Module,
    *,
    calibration: Dataset,
    formats: Sequence[Literal["onnx", "tflite"]] = ("onnx", "tflite"),
    precisions: Sequence[str] = ("fp32", "static_wi8_ai8"),
    corrections: Sequence[str] = (),
    io: IoType | None = None,
    raw_input: bool = True,
    head: Literal["logits", "probabilities", "class"] = "logits",
    mixed: MixedPrecisionSpec | None = None,
    lengths: Literal["fixed", "dynamic"] = "fixed",
    context: int | None = None,
    folder: Path | str = "exported",
    samples: int = 256,
    method: str = "minmax",
    progress: Progress | None = None,
) -> Exported:
    """Write a student in every format and precision; each file is checked against it.

    Args:
        student: What `distill` gave, or any network.
        calibration: Ranges come from its training split, the check from its validation split.
        formats: `onnx`, `tflite`.
        precisions: Some of `edgekd.records.PRECISIONS`.
        corrections: Names of corrections, in order; kept where they gain on the validation split.
        io: Type of input and output of TFLite files with integer activations; `None` is integers. ONNX takes float32.
        raw_input: Files take the data's raw values; what scales and standardises them is in the graph.
        head: What files give.
        mixed: One more file of each format, whose layers have several precisions, chosen on the validation split.
        lengths: Of texts in ONNX: the data's one, or any.
        context: How many tokens the cache of a causal model's TFLite file holds; `None`: as many as it has positions.
        folder: Made when missing.
        samples: For calibration.
        method: How ranges are chosen: a calibrator.
        progress: Hears of files.

    Returns:
        The files' records, and how each agrees with the student.

    Raises:
        EdgekdError: As `edgekd.stages.export.export`.
    """
    from edgekd.stages.distill import Distilled
    from edgekd.stages.export import export as stage

    spec = ExportSpec(
        formats=tuple(formats),
        precisions=tuple(precisions),
        calibration=QuantSpec(method=method, samples=samples),
        corrections=tuple(CorrectionTerm(name=name) for name in corrections),
        io=io,
        raw_input=raw_input,
        head=head,
        mixed=mixed,
        lengths=lengths,
        context=context,
    )
    raw = spec.takes_raw(calibration.task)
    return stage(
        student.network if isinstance(student, Distilled) else student,
        quantized=student.quantized.student if isinstance(student, Distilled) and student.quantized else None,
        folder=Path(folder),
        spec=spec,
        calibration=calibration.samples(calibration.train.inputs, raw=raw),
        check=calibration.ready(calibration.validation, raw=raw),
        validation=calibration.samples(calibration.validation.inputs, raw=raw),
        validation_labels=calibration.validation.labels,
        preprocessing=calibration.preprocessing,
        task=calibration.task,
        progress=progress,
    )


def benchmark(
    files: Exported | Sequence[Model | Path | str],
    *,
    targets: Sequence[str] = ("host",),
    data: Dataset | None = None,
    teachers: Sequence[nn.Module] = (),
    raw_input: bool = True,
    progress: Progress | None = None,
    **method: Any,
) -> tuple[Measurement, ...]:
    """Measure model files on targets.

    Args:
        files: What `export` gave, or paths of any .onnx and .tflite files.
        targets: Names of shipped targets, or .toml files.
        data: Its test split gives accuracy.
        teachers: Measured on that split too, so that a budget can limit the drop against them.
        raw_input: Files take the data's raw values, as `export` makes them unless it is told otherwise.
        progress: Hears of measurements.
        **method: Fields of `edgekd.BenchmarkSpec`, such as `runs=5000`.

    Returns:
        Measurements of the teachers, of the export, and of these files.

    Raises:
        ConfigError: A field that does not exist, or an unknown target.
        EdgekdError: As `edgekd.stages.benchmark.benchmark`.
    """
    from edgekd.stages.benchmark import benchmark as stage
    from edgekd.stages.benchmark import describe_file
    from edgekd.stages.export import Exported

    if teachers and data is None:
        raise ConfigError("teachers are measured on data's test split", next_step="give data=")
    spec = _spec(BenchmarkSpec, {"targets": tuple(targets), **method})
    places = load_targets(targets)
    known = files.models if isinstance(files, Exported) else files
    measured = stage(
        [each if isinstance(each, Model) else describe_file(Path(each)) for each in known],
        targets=places,
        spec=spec,
        inputs=data.ready(data.test, raw=raw_input and data.task != "reconstruction") if data else None,
        labels=data.test.labels if data else None,
        task=data.task if data else "single_label",
        progress=progress,
    )
    of_teachers = [
        measurement
        for index, teacher in enumerate(teachers)
        if data
        for measurement in _measure_teacher(teacher, f"teacher-{index}", data)
    ]
    of_export = files.measurements if isinstance(files, Exported) else ()
    return (*of_teachers, *of_export, *measured)


def compare(first: Path | str, second: Path | str, *, target: str = "host", **method: Any) -> Comparison:
    """Find out whether one model file is slower than another.

    Args:
        first: What the other file is held against.
        second: What may be slower.
        target: Name of a shipped target, or a .toml file.
        **method: As `edgekd.stages.benchmark.compare` takes it, such as `threshold=0.02` or `time_limit_s=15`.

    Raises:
        EdgekdError: As `edgekd.stages.benchmark.compare`.
    """
    from edgekd.stages.benchmark import compare as stage
    from edgekd.stages.benchmark import describe_file

    return stage(describe_file(Path(first)), describe_file(Path(second)), target=load_target(target), **method)


def _measure_teacher(teacher: nn.Module, name: str, data: Dataset) -> list[Measurement]:
    from edgekd.stages.distill import measure_network, serialise_weights

    weights = serialise_weights(teacher)
    model = Model(
        name=name,
        path=Path(),
        format="torch",
        precision="fp32",
        role="teacher",
        sha256=hashlib.sha256(weights).hexdigest(),
        size_bytes=len(weights),
        input_scale=data.scale,
    )
    return measure_network(teacher, data.test, data, model)


def _spec(kind: type[Any], values: dict[str, Any]) -> Any:
    """Make a spec, holding Python's arguments to what a recipe must keep to."""
    from pydantic import TypeAdapter, ValidationError

    known = [each.name for each in dataclasses.fields(kind)]
    problems: list[EdgekdError] = [
        ConfigError(f"unknown argument '{key}'", allowed=", ".join(known), next_step=did_you_mean(key, known))
        for key in values.keys() - known
    ]
    try:
        spec = TypeAdapter(kind).validate_python({key: values[key] for key in known if key in values})
    except ValidationError as error:
        problems += [
            ConfigError(f"{each['input']!r}: {each['msg']}", where=".".join(str(part) for part in each["loc"]))
            for each in error.errors()
        ]
    if problems:
        raise ConfigError.of(problems)
    return spec
