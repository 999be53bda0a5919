"""What there is of a run that the next release can be held against."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from edgekd import store
from edgekd.errors import StoreError
from edgekd.pipeline.baseline.file import thin
from edgekd.pipeline.baseline.git import current_commit
from edgekd.pipeline.folder import ENVIRONMENT, MANIFEST, OVERRIDES, TEST_SPLIT
from edgekd.records import Baseline, GateSpec, Manifest, Measurement, Model, Release, ReleasedFile, Run
from edgekd.units import METRICS

T = TypeVar("T")
# A class or a confidence for each sample, which few limit.
_LARGE = ("recall", "calibration_error")
_SHIPPED = ("onnx", "tflite")


def describe_run(run: Run) -> Baseline:
    """Say of a run what a baseline says, with all samples.

    Raises:
        StoreError: A file of it is damaged.
    """
    folder = run.folder
    manifest = _read(folder / MANIFEST, Manifest)
    split = _read(folder / TEST_SPLIT, dict[str, str])
    overrides = _read(folder / OVERRIDES, list[str])
    return Baseline(
        name=run.name,
        recipe=run.recipe,
        overrides=tuple(overrides or ()),
        data=manifest.data if manifest else "",
        test_split=split["sha256"] if split else "",
        teachers=manifest.teachers if manifest else {},
        environment=run.environment if (folder / ENVIRONMENT).is_file() else {},
        files=_files(run),
        measurements=tuple(each for each in run.measurements if _is_shipped(each) and each.metric in METRICS),
        release=run.release,
    )


def promote(run: Run, release: Release, spec: GateSpec = GateSpec()) -> Baseline:  # noqa: B008 - frozen
    """Make a run the baseline: what later gates need.

    Args:
        run: Its files are those that were measured.
        release: The verdict it is promoted with.
        spec: What it was held against: large measurements are kept where it limits how much worse they may get.

    Raises:
        StoreError: No file that ships, or two of one name.
    """
    described = describe_run(run)
    names = Counter(each.name for each in described.files)
    if not names:
        raise StoreError("no .onnx or .tflite files, so nothing to release", where=str(run.folder))
    if doubles := [name for name, count in names.items() if count > 1]:
        raise StoreError(f"two files are called '{doubles[0]}'", where=str(run.folder), next_step="rename one of them")
    return replace(
        described,
        commit=current_commit(),
        promoted_at=datetime.now(UTC).isoformat(timespec="seconds"),
        edgekd=store.tool_versions("edgekd")["edgekd"],
        measurements=tuple(thin(each) for each in described.measurements if _is_kept(each, spec)),
        release=release,
    )


def places(run: Run) -> dict[str, Path]:
    """Where the files of a run lie, by name."""
    return {model.name: model.path for model in run.models if _is_shipped(model)}


def _is_kept(measurement: Measurement, spec: GateSpec) -> bool:
    metric = measurement.metric
    asked = [
        *(spec.regressions or {}),
        *(METRICS[each.metric].source for each in spec.budgets if each.metric in METRICS),
    ]
    told_by = {METRICS[each].told_by or each for each in asked if each in METRICS}
    return metric not in _LARGE or metric in told_by


def _read(path: Path, kind: type[T]) -> T | None:
    return store.read_json(path, kind) if path.is_file() else None


def _is_shipped(each: Model | Measurement) -> bool:
    return each.role == "student" and each.format in _SHIPPED


def _files(run: Run) -> tuple[ReleasedFile, ...]:
    """Files of the run, or of a benchmark those that it measured: it keeps no records of them."""
    models = [each for each in run.models if _is_shipped(each)]
    if models:
        return tuple(
            ReleasedFile(
                name=each.name,
                format=each.format,
                precision=each.precision,
                sha256=each.sha256,
                size_bytes=each.size_bytes,
                path=_from_here(each.path),
                operators=dict(sorted(each.operators)),
            )
            for each in models
        )
    measured = {(each.model, each.model_sha256): each for each in run.measurements if _is_shipped(each)}
    return tuple(
        ReleasedFile(
            name=each.model,
            format=each.format,
            precision=each.precision,
            sha256=each.model_sha256,
            size_bytes=sum(_counted(run, each, "file_size").values()),
            path=each.model,
            operators=dict(sorted(_counted(run, each, "operators").items())),
        )
        for each in measured.values()
    )


def _counted(run: Run, file: Measurement, metric: str) -> dict[str, int]:
    """What was counted of a file, by part; nothing where it was not."""
    wanted = (metric, file.model, file.model_sha256)
    found = (each for each in run.measurements if (each.metric, each.model, each.model_sha256) == wanted)
    first = next(found, None)
    return dict(zip(first.parts or (metric,), map(int, first.samples), strict=False)) if first else {}


def _from_here(path: Path) -> str:
    """A path without what is above this folder, which means nothing elsewhere."""
    here, there = Path.cwd().resolve(), path.resolve()
    return (there.relative_to(here) if there.is_relative_to(here) else Path(path.name)).as_posix()
