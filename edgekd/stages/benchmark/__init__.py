"""Measures model files on targets: latency, memory, load time, size, and how well they do their task."""

from __future__ import annotations

import contextlib
import gzip
import logging
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from backports import zstd
from numpy.typing import NDArray

from edgekd.errors import ModelError, TargetError
from edgekd.progress import Progress, Silent
from edgekd.records import BenchmarkSpec, Measurement, Model, Target, Task
from edgekd.stages.benchmark.agreement import agreements
from edgekd.stages.benchmark.agreement import teacher_agreements as teacher_agreements
from edgekd.stages.benchmark.comparing import compare
from edgekd.stages.benchmark.describe import describe_file
from edgekd.stages.benchmark.fleet import Failures, Fleet
from edgekd.stages.benchmark.logs import read_logs
from edgekd.stages.benchmark.outputs import Ran, run_samples
from edgekd.stages.benchmark.pairs import Pair, pair_of
from edgekd.stages.benchmark.profiling import profile
from edgekd.stages.benchmark.reasons import explain
from edgekd.stages.benchmark.recording import measurement, now
from edgekd.stages.benchmark.samples import check_labels, choose_samples, fit_layout
from edgekd.stages.benchmark.session import Session

__all__ = [
    "Ran",
    "benchmark",
    "choose_samples",
    "compare",
    "describe_file",
    "explain",
    "fit_layout",
    "profile",
    "read_logs",
    "run_samples",
]

_LOG = logging.getLogger("edgekd")
_ZSTD_LEVEL = 19  # the highest that needs no more memory than usual to read


def benchmark(
    models: Sequence[Model],
    *,
    targets: Sequence[Target],
    spec: BenchmarkSpec = BenchmarkSpec(),  # noqa: B008 - frozen
    inputs: NDArray[np.float32] | None = None,
    labels: NDArray[Any] | None = None,
    task: Task = "single_label",
    classes: Sequence[str] = (),
    unfit: Collection[tuple[str, str]] = (),
    folder: Path | None = None,
    progress: Progress | None = None,
    on_failure: Callable[[TargetError], None] | None = None,
) -> tuple[Measurement, ...]:
    """Measure every file on every target that reads it; each measurement is taken in a process of its own.

    Latency is the time of one inference after warm-up, its input already in place. Warm-up goes on until Pettitt's
    change-point test finds no change that matters in its second half; then inferences are timed until the
    distribution-free intervals of p50 and p90 are narrow, or as often and as long as the spec allows.

    Load time excludes importing the runtime, and the file is in the page cache, since it was just hashed. Load time
    and first inference are one sample a process: five of them where processes start quickly, else those that the
    other metrics need anyway. Peak memory is what the process grew by while it loaded and ran the file, which only
    Linux tells; TFLite Micro gives the arena instead. Energy is what the target tells of its power while inferences run
    without a break, idling included, divided by their number; most targets tell none.

    All targets are looked for before anything is measured. One that can't be reached, or fails on the way, is left
    alone then, what was measured there is kept, and the others go on.
    Machines measure at the same time, each of them one file after another: targets whose programs run here, those of
    one address, and phones without a serial are one machine.

    Args:
        models: Files, as `edgekd.export` or `describe_file` give them.
        targets: Where they run.
        spec: How long; its `targets` are not looked at.
        inputs: (N, channels, height, width) or (N, …), float32, as the network takes them; channels go last for
            files that want it so. Without them inputs are random and no metric of the task is measured.
        labels: As `edgekd.datasets.Split` has them for the task: (N,), class indices, or 1 for anomalies; (N, classes)
            of 0 and 1; (N, outputs).
        task: What the files' outputs are. All its metrics (see `edgekd.metrics.metrics_of`) come from one pass over the
            inputs; those that have no meaning for the labels, such as `auc` without anomalies, are left out. Where
            `host` is among the targets, `agreement` says on which samples each other one predicts what it does. Of a
            classifier `recall` keeps what it predicts, and `calibration_error` how sure it is.
        classes: Their names, in order.
        unfit: Names of files and of targets that they are known not to run on: these pairs are left out.
        folder: Keeps the raw events and outputs of every process, below `folder/target`.
        progress: Hears how far it is; of each machine beside the others.
        on_failure: Hears of each target that failed, if others went on; the log says so too.

    Returns:
        Measurements with raw samples in base units (s, B, 1). A pair that can't run, or whose file is larger than
        the target's flash, gives none: budgets on it are then unmeasured. Sizes have the target `file`.

    Raises:
        ModelError: None of the targets that read a file accepts it.
        TargetError: A target can't be reached, lacks a runtime or failed later, and nothing at all was measured.
        MeasurementError: The file on the target is not the one it should be.
        DataError: Inputs don't fit labels or the file, or labels the task or the outputs.
    """
    check_labels(inputs, labels, task)
    found = [each for model in models for each in _sizes(model)]
    plan = _plan(models, targets, unfit)
    with contextlib.ExitStack() as stack:
        sessions: dict[str, Session] = {}
        failures, quiet = Failures(plan, on_failure), threading.Lock()
        for pair in plan:
            name = pair.target.name
            if name in failures:
                continue
            with failures.noted(name):
                if name not in sessions:
                    session = Session(pair.target, spec, inputs, labels, task, folder, quiet)
                    sessions[name] = stack.enter_context(session)
                for runtime in filter(None, (pair.runtime, pair.stand_in)):
                    sessions[name].require(runtime)
        found += Fleet(plan, sessions, failures).measure(progress or Silent())
        found += agreements(each for session in sessions.values() for each in session.predicted)
    return tuple(replace(each, parts=tuple(classes)) if each.metric == "recall" else each for each in found)


def _plan(models: Sequence[Model], targets: Sequence[Target], unfit: Collection[tuple[str, str]]) -> list[Pair]:
    pairs = [pair_of(model, target) for target in targets for model in models]
    plan = [pair for pair in pairs if pair]
    for model in models:
        if targets and not any(pair.model is model for pair in plan):
            names = ", ".join(target.name for target in targets)
            _LOG.warning("%s: no runtime of %s reads %s; only its size is measured", model.name, names, model.format)
    return [pair for pair in plan if (pair.model.name, pair.target.name) not in unfit and _fits(pair)]


def _fits(pair: Pair) -> bool:
    """Whether the target has room for the file: in its flash, or where it has none that counts, in its RAM."""
    # A stand-in for a chip has room for any file; what it measured would look as if the chip had, too.
    target, size_bytes = pair.target, pair.model.size_bytes
    room_bytes, kind = (target.flash_bytes, "flash") if target.flash_bytes else (target.ram_bytes, "RAM")
    if room_bytes is None or size_bytes <= room_bytes:
        return True
    needs = "%s on %s: it has %d bytes; the target has %d bytes of %s; it is not measured there"
    _LOG.warning(needs, pair.model.name, target.name, size_bytes, room_bytes, kind)
    return False


def _sizes(model: Model) -> Iterator[Measurement]:
    started_at = now()
    try:
        content = model.path.read_bytes()
    except OSError as error:
        raise ModelError(f"can't read it: {error.strerror}", where=str(model.path)) from None
    sizes = {
        "file_size": len(content),
        "compressed_size": len(gzip.compress(content, compresslevel=9, mtime=0)),
        "zstd_size": len(zstd.compress(content, level=_ZSTD_LEVEL)),
    }
    for metric, size in sizes.items():
        yield measurement(model, "file", metric, [size], started_at=started_at)
    if model.operators:
        kinds, counts = zip(*model.operators, strict=True)
        yield measurement(model, "file", "operators", counts, parts=kinds, started_at=started_at)
