"""A run of 20 files on 5 targets, made of the real measurements of a small one: what reports and gates must bear.

`big_run.py RUN BENCH OUT` takes a finished run of the recipe `digits` and a folder that
`edgekd bench FILES --sustained 20s --profile --out BENCH` wrote of its files, and writes a run folder.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekd import store
from edgekd.measurements import read_measurements
from edgekd.pipeline.folder import open_run
from edgekd.records import Budget, Conditions, Measurement, Model, OperatorTime, Run
from edgekd.stages.gate import gate

# How slow each target is beside the host, and how much its times scatter beside the host's own.
TARGETS = {"host": (1.0, 0.0), "pi-5": (3.1, 0.02), "pi-4": (8.3, 0.05), "phone": (2.2, 0.15), "gateway": (12.0, 0.01)}
_STEPS = ("recipe.toml", "overrides.json", "environment.json", "teachers", "assistants", "distill", "lint")
_BY_SAMPLE = ("accuracy", "parity", "agreement")
_LABELLED = ("recall", "calibration_error")
_FLIPPED = 0.002  # share of answers in which copies of one file differ


def main() -> None:
    """Write a big run folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("bench", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--samples", type=int, default=10_000, help="latencies and test samples of each pair")
    given = parser.parse_args()
    write_big_run(given.run, given.bench, given.out, files=given.files, samples=given.samples)


def write_big_run(run: Path, bench: Path, out: Path, *, files: int = 20, samples: int = 10_000) -> None:
    """Spread the measurements of a run, and of a benchmark of its files, over more files and targets."""
    small, long = open_run(run), open_run(bench)
    generator = np.random.default_rng(0)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for name in _STEPS:
        source = run / name
        shutil.copytree(source, out / name) if source.is_dir() else shutil.copy(source, out / name)
    (out / "lint" / "measurements.json").unlink(missing_ok=True)  # of files that are not in this run
    for step in ("teachers", "assistants", "distill"):
        measured = out / step / "measurements.json"
        if measured.exists():
            _finish_again(out, step, [_answers(each, samples) for each in read_measurements(measured)])
    pairs = [
        (copy, original)
        for number in range(files)
        for original in [_shipped(small)[number % len(_shipped(small))]]
        for copy in [_another(original, number, out / "export")]
    ]
    measurements = [
        each
        for copy, original in pairs
        for each in _spread(copy, original, (*small.measurements, *long.measurements), samples, generator)
    ]
    _finish(out, "export", models=[replace(copy, path=copy.path.relative_to(out)) for copy, _ in pairs])
    _finish(out, "benchmark", measurements=measurements)
    _finish(out, "gate", release=gate(open_run(out).measurements, budgets=list(many_budgets())))
    operators = bench / "operators.json"
    if operators.exists():
        found = store.read_json(operators, list[OperatorTime])
        store.write_json(out / "operators.json", [each for pair in pairs for each in _operators(*pair, found)])


def many_budgets() -> Iterator[Budget]:
    """A hundred budgets, some of which fail, can't be decided, or find no measurement."""
    for format_, precision, size in (
        *(("onnx", "fp32", "90 kB"), ("onnx", "static_wi8_ai8", "40 kB")),
        *(("tflite", "fp32", "90 kB"), ("tflite", "static_wi8_ai8", "28 kB")),
    ):
        where = {"format": format_, "precision": precision}
        yield Budget(metric="file_size", limit=size, **where)  # type: ignore[arg-type]  # they are formats
        for target, (factor, _) in TARGETS.items():
            times = {"p50": 150e-6, "p90": 160e-6, "p99": 400e-6}
            for statistic, limit_s in times.items():
                limit = f"{limit_s * factor * 1e6:.1f} us"
                yield Budget(metric="latency", statistic=statistic, limit=limit, target=target, **where)  # type: ignore[arg-type]
            yield Budget(metric="accuracy_drop", reference="teacher", limit="0.3 pt", target=target, **where)  # type: ignore[arg-type]
    for target in TARGETS:
        yield Budget(metric="accuracy", limit="98 %", target=target)
        yield Budget(metric="peak_memory", limit="40 MB", target=target)
        yield Budget(metric="load_time", limit="1 s", target=target)
    yield Budget(metric="energy", limit="1 mJ", target="pi-5")


def _shipped(run: Run) -> list[Model]:
    return [each for each in run.models if each.role == "student" and each.format in ("onnx", "tflite")]


def _another(model: Model, number: int, folder: Path) -> Model:
    """A file of other bytes that runs as the original does."""
    folder.mkdir(exist_ok=True)
    stem, _, rest = model.name.partition(".")
    path = folder / f"{stem}-width-{8 + 4 * (number // 4)}.{rest}"
    # A later doc_string takes the place of an earlier one in protobuf; a flatbuffer may have anything behind it.
    note = str(number).encode()
    path.write_bytes(model.path.read_bytes() + b"\x32" + bytes([len(note)]) + note)
    return replace(
        model, name=path.name, path=path, sha256=store.sha256_of(path), size_bytes=path.stat().st_size + 900 * number
    )


def _spread(
    copy: Model,
    original: Model,
    measurements: Sequence[Measurement],
    samples: int,
    generator: np.random.Generator,
) -> Iterator[Measurement]:
    """What a copy did on every target: resampled from what the original did on the host."""
    weight = 1 + 0.04 * generator.random()
    seen = set()
    for each in measurements:
        if each.model_sha256 != original.sha256 or each.target not in ("host", "file") or each.metric in seen:
            continue
        seen.add(each.metric)
        mine = replace(each, model=copy.name, model_sha256=copy.sha256)
        if each.target == "file":
            size = float(copy.size_bytes) * (1.0 if each.metric == "file_size" else 0.8)
            yield replace(mine, samples=(size,))
            continue
        for target, (factor, scatter) in TARGETS.items():
            scale = weight * factor
            here = replace(mine, target=target, conditions=_conditions(each.conditions, target))
            if each.metric in _BY_SAMPLE:
                answers = np.asarray(_answers(each, samples).samples)
                flipped = generator.random(samples) < _FLIPPED
                yield replace(here, samples=tuple(np.where(flipped, 1 - answers, answers).tolist()))
            elif each.metric in _LABELLED:
                yield _answers(here, samples)
            elif each.unit == "s":
                count = samples if each.metric == "latency" else len(each.samples)
                yield replace(
                    here,
                    samples=_times(each.samples, count, scale, scatter, generator),
                    warmup=_times(each.warmup, len(each.warmup), scale, scatter, generator),
                    course=tuple(
                        replace(part, samples=_times(part.samples, len(part.samples), scale, scatter, generator))
                        for part in each.course
                    ),
                )
            else:
                yield here


def _answers(measurement: Measurement, samples: int) -> Measurement:
    """The same test samples drawn for everyone, so that they stay pairs."""
    if measurement.metric not in (*_BY_SAMPLE, *_LABELLED):
        return measurement
    drawn = np.random.default_rng(1).integers(0, len(measurement.samples), samples)
    labels = np.asarray(measurement.labels)[drawn] if measurement.labels else np.empty(0)
    return replace(
        measurement, samples=tuple(np.asarray(measurement.samples)[drawn].tolist()), labels=tuple(labels.tolist())
    )


def _times(
    real: Sequence[float], count: int, scale: float, scatter: float, generator: np.random.Generator
) -> tuple[float, ...]:
    if not real:
        return ()
    drawn: NDArray[np.float64] = generator.choice(real, count) * scale * (1 + scatter * generator.exponential(1, count))
    return tuple((drawn.round(9)).tolist())  # clocks tell whole nanoseconds


def _conditions(real: Conditions, target: str) -> Conditions:
    return real if target == "host" else replace(real, host=target, cpu=f"CPU of {target}", arch="aarch64")


def _operators(copy: Model, original: Model, found: Sequence[OperatorTime]) -> Iterator[OperatorTime]:
    for target, (factor, _) in TARGETS.items():
        for each in found:
            if each.model_sha256 == original.sha256:
                samples = tuple(seconds * factor for seconds in each.samples)
                yield replace(each, model=copy.name, model_sha256=copy.sha256, target=target, samples=samples)


def _finish_again(out: Path, step: str, measurements: Sequence[Measurement]) -> None:
    """Write other measurements into a step that was copied."""
    run_folder = store.RunFolder(out)
    record = run_folder.record(step)
    store.write_json(out / step / "measurements.json", measurements)
    run_folder.finish(step, "big", [out / step / name for name in record.outputs] if record else [])


def _finish(out: Path, step: str, **records: object) -> None:
    """Leave what a finished step leaves."""
    files = []
    for name, value in records.items():
        files.append(out / step / f"{name}.json")
        store.write_json(files[-1], value)
    store.RunFolder(out).finish(step, "big", files)


if __name__ == "__main__":
    main()
