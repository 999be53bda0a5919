"""Makes the files of all formats from their float files, checks them, and moves them into place together."""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekd import registry, store
from edgekd.inspection import Anatomy
from edgekd.progress import Progress, Silent
from edgekd.records import (
    MIXED,
    TOKEN_TASKS,
    Conditions,
    Correction,
    ExportSpec,
    Format,
    LayerParity,
    Measurement,
    MixedSearch,
    Model,
    QuantizationPlan,
    QuantSpec,
    Task,
    decode_precision,
)
from edgekd.stages.export.calibrating import Samples, SampleSource, batches_of, choose_ranges
from edgekd.stages.export.converting import Read, Written, calibrate, prepare, quantize, read_and_run, tools_of
from edgekd.stages.export.learned import Learned
from edgekd.stages.export.mixing import Mix, Mixer
from edgekd.stages.export.verifying import Parity, compare, verify_anatomy, verify_outputs
from edgekd.stats import Stream

_RUNTIMES = {"onnx": "onnxruntime", "tflite": "ai-edge-litert"}


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export gave.

    Attributes:
        models: In the order of the spec: formats, then precisions.
        measurements: `parity` (0 or 1 for each sample), `max_error` and `mean_error` (of the outputs) of each file.
        layers: By a file's name, how each of its layers differs from the float32 file's.
        corrections: What each correction was worth, precision by precision.
        mixed: By a mixed file's name, how the precisions of its layers were found.
    """

    models: tuple[Model, ...]
    measurements: tuple[Measurement, ...]
    layers: Mapping[str, tuple[LayerParity, ...]] = field(default_factory=dict)
    corrections: tuple[Correction, ...] = ()
    mixed: Mapping[str, MixedSearch] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A format's float files.

    Attributes:
        plain: As it ships.
        prepared: As it is quantized.
        precision: Whose corrections are in it; `None` of the student as it is, which serves all other precisions.
    """

    format: Format
    plain: Path
    prepared: Path
    precision: str | None = None


def prepared_source(format_name: Format, plain: Path, precision: str | None = None) -> Source:
    """Write beside a float file the one that is quantized, where its format wants another."""
    if not hasattr(registry.load("quantizers", format_name), "prepare"):
        return Source(format=format_name, plain=plain, prepared=plain, precision=precision)
    prepared = plain.with_suffix(f".prepared{plain.suffix}")
    prepare(format_name, plain, prepared)
    return Source(format=format_name, plain=plain, prepared=prepared, precision=precision)


def is_static(spec: ExportSpec) -> bool:
    """Whether any file has ranges that calibration must find."""
    return any(precision.startswith("static") for _, precision in spec.pairs()) or _is_mixed_static(spec)


def _is_mixed_static(spec: ExportSpec) -> bool:
    return spec.mixed is not None and any(each.startswith("static") for each in spec.mixed.candidates)


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
class Job:
    """What is made and what it must agree with.

    Attributes:
        check: Inputs, (N, …), channels first.
        outputs: What the student gives for them, (N, outputs).
        converters: By format, the distributions that made the float files; `None` where edgekd's own exporters did.
        mixer: Searches the layers' precisions of mixed files, where the spec asks for them.
        learned: Of the student that learned with a precision's rounding.
        read: Reads files and runs them on `check`.
    """

    name: str
    spec: ExportSpec
    check: NDArray[np.float32]
    outputs: NDArray[np.float32]
    task: Task
    parent_sha256: str | None = None
    input_scale: float = 1.0
    mixer: Mixer | None = None
    learned: Learned | None = None
    converters: Mapping[str, tuple[str, ...]] | None = None
    read: Callable[[str, Sequence[Written], NDArray[np.float32]], list[Read]] = read_and_run

    def file_names(self) -> list[str]:
        """Give the names of all files that are asked for, in order."""
        return [self._file_name(precision, format_name) for format_name, precision in self.spec.pairs()]

    def _file_name(self, precision: str, format_name: str) -> str:
        return f"{self.name}.{precision}.{format_name}"

    def clear(self, folder: Path) -> None:
        """Take away files of these names: those of an earlier student must not pass for this one's."""
        folder.mkdir(parents=True, exist_ok=True)
        for each in self.file_names():
            (folder / each).unlink(missing_ok=True)

    def run(
        self, sources: Sequence[Source], samples: SampleSource | None, folder: Path, progress: Progress | None
    ) -> Exported:
        """Make all files from the float ones, which lie in a folder of their own on the same disk.

        Args:
            sources: Of each format the student as it is, and as it is corrected for single precisions.
            samples: For calibration; `None` where no precision is static.
            folder: Where the files go, all together, when all have passed.
            progress: Told of each finished file.
        """
        streams = {} if samples is None else self._calibrate(sources, samples)
        mixes = self._mix(sources, streams, samples, progress or Silent())
        with (
            _reported(progress or Silent(), len(self.file_names())) as advance,
            # Threads only wait for children.
            ThreadPoolExecutor(len(self.spec.formats)) as pool,
        ):
            futures = [
                pool.submit(
                    self._make,
                    {each.precision: each for each in sources if each.format == name},
                    streams,
                    mixes.get(name),
                    advance,
                )
                for name in self.spec.formats
            ]
            files = [file for future in futures for file in future.result()]
            for file in files:
                with store.atomic_path(folder / file.path.name) as path:
                    file.path.replace(path)
        models = tuple(self._record(file, folder / file.path.name) for file in files)
        measurements = [_measurements(model, file) for model, file in zip(models, files, strict=True)]
        return Exported(
            models=models,
            measurements=tuple(each for three in measurements for each in three),
            layers={file.path.name: file.layers for file in files},
            mixed={self._file_name(MIXED, name): mix.search for name, mix in mixes.items()},
        )

    def _mix(
        self,
        sources: Sequence[Source],
        streams: Mapping[Path, Mapping[str, Stream]],
        samples: SampleSource | None,
        progress: Progress,
    ) -> dict[Format, Mix]:
        if self.mixer is None:
            return {}
        floats = {source.format: source.prepared for source in sources if source.precision is None}
        calibration = None if samples is None else np.concatenate(list(batches_of(samples)))
        return self.mixer.search(floats, streams, calibration=calibration, progress=progress)

    def _record(self, file: _File, path: Path) -> Model:
        return Model(
            name=path.name,
            path=path,
            format=file.format,
            precision=file.precision,
            role="student",
            sha256=store.sha256_of(path),
            size_bytes=file.anatomy.size_bytes,
            inputs=file.anatomy.inputs,
            outputs=file.anatomy.outputs,
            parameters=file.anatomy.parameters,
            operators=file.anatomy.operators,
            signatures=file.anatomy.ways,
            parent_sha256=learned.sha256 if (learned := self._learned_in(file.precision)) else self.parent_sha256,
            made_by=tools_of(file.format, file.precision, self.converters),
            input_scale=self.input_scale,
            head=self.spec.head if self.task in ("single_label", *TOKEN_TASKS) else "values",
        )

    def _calibrate(self, sources: Sequence[Source], samples: SampleSource) -> dict[Path, dict[str, Stream]]:
        """Watch the float files of static precisions: one of each network, whatever the number of formats."""
        written = Samples.write(samples, sources[0].prepared.parent / "calibration.f32")
        found: dict[Path, dict[str, Stream]] = {}
        for precision in dict.fromkeys(source.precision for source in sources):
            wanted: dict[str, Path] = {
                source.format: source.prepared
                for source in sources
                if source.precision == precision and self._is_calibrated(source)
            }
            if wanted:
                streams = calibrate(wanted, written)
                found |= {path: streams[name] for name, path in wanted.items()}
        return found

    def _is_calibrated(self, source: Source) -> bool:
        made = (source.precision,) if source.precision else self.spec.precisions_of(source.format)
        return any(each.startswith("static") or (each == MIXED and _is_mixed_static(self.spec)) for each in made)

    def _make(
        self,
        sources: Mapping[str | None, Source],
        streams: Mapping[Path, Mapping[str, Stream]],
        mix: Mix | None,
        advance: _Advance,
    ) -> list[_File]:
        """Make and check all files of a format."""
        started_at = datetime.now(UTC).isoformat(timespec="seconds")
        plain = sources[None]
        wanted = self.spec.precisions_of(plain.format)
        # The float32 file is checked and compared with, whether it was asked for or not.
        precisions = ("fp32", *(each for each in wanted if each != "fp32"))
        paths = {each: plain.plain.parent / self._file_name(each, plain.format) for each in precisions}
        source_of = {each: sources.get(each, plain) for each in precisions}
        plans = {
            each: mix.plan if mix and each == MIXED else self._plan(each, streams.get(source_of[each].prepared, {}))
            for each in precisions
        }
        # What explains a file's errors.
        judged = {each: mix.loosest if mix and each == MIXED else each for each in precisions}
        for each in precisions:
            if learned := self._learned_in(each):
                plans[each] = learned.laid_over(plans[each], plain.format, source_of[each].prepared)
        quantize(
            plain.format,
            [
                (source.plain if decode_precision(each).mode == "float" else source.prepared, plans[each], paths[each])
                for each, source in source_of.items()
            ],
        )
        files_read = self.read(
            plain.format,
            [
                Written(path=path, precision=judged[each], source=source_of[each].prepared)
                for each, path in paths.items()
            ],
            self.check,
        )
        tokens = files_read[0].anatomy.inputs[0].dtype in ("int32", "int64")
        results, head = dict(zip(paths, files_read, strict=True)), self.spec.head
        files = []
        for precision in precisions:
            # A graph that computes something else is best seen where nothing is rounded.
            read, path = results[precision], paths[precision]
            float_bytes = results["fp32"].anatomy.size_bytes
            verify_anatomy(
                path.name,
                plans[precision].precision,
                read.anatomy,
                float_bytes=float_bytes,
                io=plans[precision].io,
                head=head,
                layers=mix.weights if mix and precision == MIXED else None,
                tokens=tokens,
            )
            learned = self._learned_in(precision)
            parity = compare(learned.outputs if learned else self.outputs, read.outputs, self.task, head=head)
            verify_outputs(path.name, judged[precision], parity, read.layers)
            if precision not in wanted:
                continue
            files.append(
                _File(
                    path=path,
                    format=plain.format,
                    precision=precision,
                    anatomy=read.anatomy,
                    parity=parity,
                    layers=read.layers,
                    started_at=started_at,
                )
            )
            advance()
        return sorted(files, key=lambda file: wanted.index(file.precision))

    def _learned_in(self, precision: str) -> Learned | None:
        return self.learned if self.learned and self.learned.precision == precision else None

    def _plan(self, precision: str, streams: Mapping[str, Stream]) -> QuantizationPlan:
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


class Chosen:
    """Some of the calibration samples, drawn by the spec's seed and kept in order."""

    def __init__(self, samples: SampleSource, spec: QuantSpec) -> None:
        random, count = np.random.default_rng(spec.seed), min(spec.samples, len(samples))
        self._samples, self.numbers = samples, np.sort(random.choice(len(samples), count, replace=False))
        self.shape = (count, *samples.shape[1:])

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, chosen: slice, /) -> NDArray[np.float32]:
        return np.concatenate([self._samples[number : number + 1] for number in self.numbers[chosen].tolist()])


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
