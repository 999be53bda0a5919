"""Makes model files of a student, and lets none go out that does not predict what the student predicts."""

from __future__ import annotations

import platform
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgekd import registry, store
from edgekd.errors import ModelError
from edgekd.inspection import Anatomy
from edgekd.progress import Progress, Silent
from edgekd.records import (
    Conditions,
    ExportSpec,
    Format,
    LayerParity,
    Measurement,
    Model,
    QuantizationPlan,
    QuantSpec,
    Task,
    decode_precision,
)
from edgekd.stages.export.auditing import warn_of_missing_classes
from edgekd.stages.export.calibrating import Samples, SampleSource, choose_ranges
from edgekd.stages.export.converting import calibrate, convert, pack, prepare, quantize, read_and_run, tools_of
from edgekd.stages.export.requirements import check_calibration, check_inputs, check_spec, check_weights
from edgekd.stages.export.verifying import Parity, compare, verify_anatomy, verify_outputs
from edgekd.stats import Stream

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Exported", "export"]

_TORCH_BATCH = 256
_RUNTIMES = {"onnx": "onnxruntime", "tflite": "ai-edge-litert"}


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export gave.

    Attributes:
        models: In the order of the spec: formats, then precisions.
        measurements: `parity` (0 or 1 for each sample), `max_error` and `mean_error` (of the outputs) of each file.
        layers: By a file's name, how each of its layers differs from the float32 file's.
    """

    models: tuple[Model, ...]
    measurements: tuple[Measurement, ...]
    layers: Mapping[str, tuple[LayerParity, ...]] = field(default_factory=dict)


def export(
    student: nn.Module,
    *,
    folder: Path,
    spec: ExportSpec | None = None,
    calibration: SampleSource,
    check: NDArray[np.float32],
    labels: NDArray[np.int64] | None = None,
    classes: Sequence[str] = (),
    parent_sha256: str | None = None,
    input_scale: float = 1.0,
    task: Task = "single_label",
    name: str = "student",
    progress: Progress | None = None,
) -> Exported:
    """Write a student in every format and precision, and check each file against the student.

    Files are called `{name}.{precision}.{format}`. They appear together, when all have passed: their weights
    have the precision that they claim, and a runtime of their format predicts what torch predicts.

    Args:
        student: Takes (N, C, H, W) or (N, F), gives (N, outputs): logits or values. Stays as it is.
        folder: Made when missing.
        spec: Formats, precisions, and how many calibration samples; `None` takes the defaults.
        calibration: Inputs of the training split, as the network takes them, shape (N, …): an array, or anything
            whose slices are arrays.
        check: Inputs of the validation split, as the network takes them, shape (N, …).
        labels: Classes of the calibration samples, shape (N,); a class that none of those drawn is of is said.
        classes: Names of the classes.
        parent_sha256: Of the student's weights.
        input_scale: What raw values of the data were multiplied by to give these inputs.
        task: What the student predicts, which decides what it means that a file predicts the same.
        name: First part of the files' names.
        progress: Told of each finished file.

    Returns:
        The files' records, and how each agrees with the student.

    Raises:
        ConfigError: A format or precision that does not exist, or none.
        MissingExtraError: A converter that is not installed.
        ModelError: Weights that are not finite, or outputs that are not finite or of another shape.
        DataError: Inputs that are not finite, constant, noise, or of another shape or range than the others.
        ExportError: A conversion failed, or a file is not what it claims; then no file is left.

    >>> import tempfile, torch
    >>> student = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 4))
    >>> inputs = np.random.default_rng(0).normal(size=(16, 32)).astype(np.float32)
    >>> made = export(
    ...     student,
    ...     folder=Path(tempfile.mkdtemp()),
    ...     spec=ExportSpec(formats=("onnx",), precisions=("fp32",)),
    ...     calibration=inputs,
    ...     check=inputs,
    ... )
    >>> made.models[0].path.name, sum(made.measurements[0].samples)
    ('student.fp32.onnx', 16.0)
    """
    spec = spec or ExportSpec()
    check_spec(spec, name)
    check_weights(student)
    check_inputs("check", check)
    is_static = any(precision.startswith("static") for _, precision in spec.pairs())
    if is_static:
        chosen = _Chosen(calibration, spec.calibration)
        check_calibration(chosen, check)
        if labels is not None:
            warn_of_missing_classes(labels[chosen.numbers], classes)
    network, packed = pack(student)
    job = _Job(name=name, spec=spec, network=packed, check=check, outputs=_predict(network, check), task=task)
    folder.mkdir(parents=True, exist_ok=True)
    for each in job.file_names():
        # A file of an earlier student must not pass for one of this.
        (folder / each).unlink(missing_ok=True)
    with (
        _reported(progress or Silent(), len(job.file_names())) as advance,
        # The name tells the run folder what to clear away after a crash.
        tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as partial,
        # Threads only wait for children: each format's converter imports for seconds.
        ThreadPoolExecutor(len(spec.formats)) as pool,
    ):
        sources: dict[Format, _Source] = dict(
            zip(spec.formats, pool.map(lambda each: job.convert(each, Path(partial)), spec.formats), strict=True)
        )
        streams = job.calibrate(sources, chosen, Path(partial)) if is_static else {}
        futures = [pool.submit(job.make, sources[each], streams.get(each, {}), advance) for each in spec.formats]
        files = [file for future in futures for file in future.result()]
        for file in files:
            with store.atomic_path(folder / file.path.name) as path:
                file.path.replace(path)
    models = tuple(
        Model(
            name=file.path.name,
            path=folder / file.path.name,
            format=file.format,
            precision=file.precision,
            role="student",
            sha256=store.sha256_of(folder / file.path.name),
            size_bytes=file.anatomy.size_bytes,
            inputs=file.anatomy.inputs,
            outputs=file.anatomy.outputs,
            parameters=file.anatomy.parameters,
            parent_sha256=parent_sha256,
            made_by=tools_of(file.format, file.precision),
            input_scale=input_scale,
        )
        for file in files
    )
    measurements = [_measurements(model, file) for model, file in zip(models, files, strict=True)]
    return Exported(
        models=models,
        measurements=tuple(each for three in measurements for each in three),
        layers={file.path.name: file.layers for file in files},
    )


@dataclass(frozen=True, kw_only=True)
class _File:
    path: Path
    format: Format
    precision: str
    anatomy: Anatomy
    parity: Parity
    layers: tuple[LayerParity, ...]
    started_at: str


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A format's float files: as they ship, and as they are quantized."""

    format: Format
    plain: Path
    prepared: Path


@dataclass(frozen=True, kw_only=True)
class _Job:
    name: str
    spec: ExportSpec
    network: bytes
    check: NDArray[np.float32]
    outputs: NDArray[np.float32]
    task: Task

    def file_names(self) -> list[str]:
        return [self.file_name(precision, format_name) for format_name, precision in self.spec.pairs()]

    def file_name(self, precision: str, format_name: str) -> str:
        return f"{self.name}.{precision}.{format_name}"

    def convert(self, format_name: Format, partial: Path) -> _Source:
        """Make the float files of a format."""
        plain = prepared = partial / f"{self.name}.{format_name}"
        convert(format_name, self.network, self.check[:1], plain)
        if hasattr(registry.load("quantizers", format_name), "prepare"):
            prepared = partial / f"{self.name}.prepared.{format_name}"
            prepare(format_name, plain, prepared)
        return _Source(format=format_name, plain=plain, prepared=prepared)

    def calibrate(
        self, sources: Mapping[Format, _Source], samples: SampleSource, partial: Path
    ) -> dict[str, dict[str, Stream]]:
        """Watch the float files of formats that have static precisions."""
        wanted: dict[str, Path] = {
            name: source.prepared
            for name, source in sources.items()
            if any(each.startswith("static") for each in self.spec.precisions_of(name))
        }
        return calibrate(wanted, Samples.write(samples, partial / "calibration.f32"))

    def make(self, source: _Source, streams: Mapping[str, Stream], advance: _Advance) -> list[_File]:
        """Make and check all files of a format."""
        started_at = datetime.now(UTC).isoformat(timespec="seconds")
        wanted = self.spec.precisions_of(source.format)
        # The float32 file is checked and compared with, whether it was asked for or not.
        precisions = ("fp32", *(each for each in wanted if each != "fp32"))
        paths = {each: source.plain.parent / self.file_name(each, source.format) for each in precisions}
        plans = {each: self.plan(each, streams) for each in precisions}
        quantize(
            source.format,
            [
                (source.plain if decode_precision(each).mode == "float" else source.prepared, plans[each], paths[each])
                for each in precisions
            ],
        )
        files_read = read_and_run(
            source.format, source.prepared, {path: each for each, path in paths.items()}, self.check
        )
        results = dict(zip(paths, files_read, strict=True))
        files = []
        for precision in precisions:
            # A graph that computes something else is best seen where nothing is rounded.
            read, path = results[precision], paths[precision]
            float_bytes = results["fp32"].anatomy.size_bytes
            verify_anatomy(path.name, precision, read.anatomy, float_bytes=float_bytes, io=plans[precision].io)
            parity = compare(self.outputs, read.outputs, self.task)
            verify_outputs(path.name, precision, parity, read.layers)
            if precision not in wanted:
                continue
            files.append(
                _File(
                    path=path,
                    format=source.format,
                    precision=precision,
                    anatomy=read.anatomy,
                    parity=parity,
                    layers=read.layers,
                    started_at=started_at,
                )
            )
            advance()
        return sorted(files, key=lambda file: wanted.index(file.precision))

    def plan(self, precision: str, streams: Mapping[str, Stream]) -> QuantizationPlan:
        if not precision.startswith("static"):
            return QuantizationPlan(precision=precision)
        ranges = choose_ranges(streams, self.spec.calibration, precision)
        return QuantizationPlan(precision=precision, ranges=ranges, io=self.spec.io)


class _Advance:
    """Progress that several threads tell of."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._lock = progress, threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self._progress.advance()


@contextmanager
def _reported(progress: Progress, total: int) -> Iterator[_Advance]:
    progress.start("export", total)
    try:
        yield _Advance(progress)
    finally:
        progress.end()


class _Chosen:
    """Some of the calibration samples, drawn by the spec's seed and kept in order."""

    def __init__(self, samples: SampleSource, spec: QuantSpec) -> None:
        random, count = np.random.default_rng(spec.seed), min(spec.samples, len(samples))
        self._samples, self.numbers = samples, np.sort(random.choice(len(samples), count, replace=False))
        self.shape = (count, *samples.shape[1:])

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, chosen: slice, /) -> NDArray[np.float32]:
        return np.concatenate([self._samples[number : number + 1] for number in self.numbers[chosen].tolist()])


def _predict(network: nn.Module, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    import torch

    with torch.inference_mode():
        batches = [
            network(torch.tensor(inputs[start : start + _TORCH_BATCH])) for start in range(0, len(inputs), _TORCH_BATCH)
        ]
    for batch in batches:
        if not isinstance(batch, torch.Tensor) or batch.ndim != 2:
            shape = tuple(batch.shape) if isinstance(batch, torch.Tensor) else type(batch).__name__
            raise ModelError(f"the student gives {shape}", where="export", allowed="outputs of shape (N, numbers)")
    outputs: NDArray[np.float32] = torch.cat(batches).float().numpy()
    if not np.isfinite(outputs).all():
        raise ModelError("the student gives outputs that are not finite", where="export")
    return outputs


def _measurements(model: Model, file: _File) -> tuple[Measurement, ...]:
    runtime = _RUNTIMES[model.format]
    conditions = Conditions(
        arch=platform.machine(),
        os=platform.system(),
        runtime=runtime,
        runtime_version=store.tool_versions(runtime)[runtime],
    )
    samples = {
        "parity": tuple(float(each) for each in file.parity.agrees),
        "max_error": (file.parity.max_error,),
        "mean_error": (file.parity.mean_error,),
    }
    return tuple(
        Measurement(
            model_sha256=model.sha256,
            model=model.name,
            format=model.format,
            precision=model.precision,
            role=model.role,
            target="export",
            metric=metric,
            unit="1",
            samples=values,
            conditions=conditions,
            basis="measured",
            started_at=file.started_at,
        )
        for metric, values in samples.items()
    )
