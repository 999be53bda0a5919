"""Measures model files on targets: latency, memory, load time, accuracy, size."""

from __future__ import annotations

import contextlib
import gzip
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekd import registry
from edgekd.errors import DataError, ModelError
from edgekd.progress import Progress, Silent
from edgekd.records import BenchmarkSpec, Measurement, Model, Target
from edgekd.stages.benchmark.describe import describe_file
from edgekd.stages.benchmark.samples import choose_samples, fit_layout
from edgekd.stages.benchmark.session import STEPS, Pair, Session, TooBigError, measurement, now

__all__ = ["benchmark", "choose_samples", "describe_file", "fit_layout"]

_LOG = logging.getLogger("edgekd")


def benchmark(
    models: Sequence[Model],
    *,
    targets: Sequence[Target],
    spec: BenchmarkSpec = BenchmarkSpec(),  # noqa: B008 - frozen
    inputs: NDArray[np.float32] | None = None,
    labels: NDArray[np.integer] | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Measurement, ...]:
    """Measure every file on every target that reads it; each measurement is taken in a process of its own.

    Latency is the time of one inference after warm-up, its input already in place. Load time excludes importing
    the runtime, and the file is in the page cache, since it was just hashed. Load time and first inference are one
    sample a process: five of them where processes start quickly, else those that the other metrics need anyway.
    Peak memory is what the process grew by while it loaded and ran the file; TFLite Micro gives the arena instead.

    Args:
        models: Files, as `edgekd.export` or `describe_file` give them.
        targets: Where they run.
        spec: How long; its `targets` are not looked at.
        inputs: (N, channels, height, width) or (N, …), float32, as the network takes them; channels go last for
            files that want it so. Without them inputs are random and accuracy is not measured.
        labels: (N,), class indices.
        folder: Keeps the raw events and outputs of every process, below `folder/target`.
        progress: Hears how far it is.

    Returns:
        Measurements with raw samples in base units (s, B, 1). A pair that can't run gives none: budgets on it are
        then unmeasured. Sizes have the target `file`.

    Raises:
        ModelError: None of the targets that read a file accepts it.
        TargetError: A target can't be reached or lacks a runtime; found out before anything is measured.
        MeasurementError: The file on the target is not the one it should be.
        DataError: Inputs don't fit labels or the file.
    """
    if (inputs is None) != (labels is None) or len(inputs if inputs is not None else ()) != len(
        labels if labels is not None else ()
    ):
        raise DataError("accuracy needs inputs and as many labels")
    found = [each for model in models for each in _sizes(model)]
    plan = _plan(models, targets)
    progress = progress or Silent()
    progress.start("benchmark", len(plan) * STEPS)
    try:
        with contextlib.ExitStack() as stack:
            sessions = {}
            for pair in plan:
                name = pair.target.name
                if name not in sessions:
                    sessions[name] = stack.enter_context(Session(pair.target, spec, inputs, labels, folder))
                sessions[name].require(pair.runtime)
            for pair in plan:
                found += _measure(sessions[pair.target.name], pair, plan, found, progress)
    finally:
        progress.end()
    return tuple(found)


def _plan(models: Sequence[Model], targets: Sequence[Target]) -> list[Pair]:
    runtimes = {name: registry.load("runtimes", name) for target in targets for name in target.runtimes}
    plan = []
    for target in targets:
        for model in models:
            readers = [name for name in target.runtimes if model.format in runtimes[name].FORMATS]
            if readers:
                plan.append(Pair(model=model, target=target, runtime=runtimes[readers[0]]))
    for model in models:
        if targets and not any(pair.model is model for pair in plan):
            names = ", ".join(target.name for target in targets)
            _LOG.warning("%s: no runtime of %s reads %s; only its size is measured", model.name, names, model.format)
    return plan


def _measure(
    session: Session, pair: Pair, plan: Sequence[Pair], found: Sequence[Measurement], progress: Progress
) -> list[Measurement]:
    """Measure one pair; a file that another target runs, or may still run, is only warned about here."""
    model, target = pair.model, pair.target
    advanced, measurements = 0, []
    try:
        for step in session.measure(pair):
            measurements += step
            progress.advance()
            advanced += 1
    except TooBigError as error:
        _LOG.warning("%s", error)
        measurements.append(session.arena(pair, error.events, error.events.of("error")["needed_bytes"]))
    except ModelError as error:
        ran = any(each.model_sha256 == model.sha256 and each.target != "file" for each in found)
        later = plan[plan.index(pair) + 1 :]
        if not ran and not any(each.model is model for each in later):
            raise
        _LOG.warning("%s; %s is not measured on %s", error, model.name, target.name)
    progress.advance(STEPS - advanced)
    return measurements


def _sizes(model: Model) -> Iterator[Measurement]:
    started_at = now()
    try:
        content = model.path.read_bytes()
    except OSError as error:
        raise ModelError(f"can't read it: {error.strerror}", where=str(model.path)) from None
    compressed = gzip.compress(content, compresslevel=9, mtime=0)
    for metric, size in (("file_size", len(content)), ("compressed_size", len(compressed))):
        yield measurement(model, "file", metric, [size], started_at=started_at)
