"""Measures model files on targets: latency, memory, load time, size, and how well they do their task."""

from __future__ import annotations

import contextlib
import gzip
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import ModelError, TargetError
from edgekd.progress import Progress, Silent
from edgekd.records import BenchmarkSpec, Measurement, Model, Target, Task
from edgekd.stages.benchmark.comparing import compare
from edgekd.stages.benchmark.describe import describe_file
from edgekd.stages.benchmark.failures import TooBigError
from edgekd.stages.benchmark.outputs import Ran, run_samples
from edgekd.stages.benchmark.pairs import Pair, pair_of
from edgekd.stages.benchmark.profiling import profile
from edgekd.stages.benchmark.reasons import explain
from edgekd.stages.benchmark.recording import measurement, now
from edgekd.stages.benchmark.samples import check_labels, choose_samples, fit_layout
from edgekd.stages.benchmark.session import STEPS, Session

__all__ = [
    "Ran",
    "benchmark",
    "choose_samples",
    "compare",
    "describe_file",
    "explain",
    "fit_layout",
    "profile",
    "run_samples",
]

_LOG = logging.getLogger("edgekd")


def benchmark(
    models: Sequence[Model],
    *,
    targets: Sequence[Target],
    spec: BenchmarkSpec = BenchmarkSpec(),  # noqa: B008 - frozen
    inputs: NDArray[np.float32] | None = None,
    labels: NDArray[Any] | None = None,
    task: Task = "single_label",
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
    Linux tells; TFLite Micro gives the arena instead. All targets are looked for before anything is measured. One that
    can't be reached, or fails on the way, is left alone then, what was measured there is kept, and the others go on.

    Args:
        models: Files, as `edgekd.export` or `describe_file` give them.
        targets: Where they run.
        spec: How long; its `targets` are not looked at.
        inputs: (N, channels, height, width) or (N, …), float32, as the network takes them; channels go last for
            files that want it so. Without them inputs are random and no metric of the task is measured.
        labels: As `edgekd.datasets.Split` has them for the task: (N,), class indices, or 1 for anomalies; (N, classes)
            of 0 and 1; (N, outputs).
        task: What the files' outputs are. All its metrics (see `edgekd.metrics.metrics_of`) come from one pass over the
            inputs; those that have no meaning for the labels, such as `auc` without anomalies, are left out.
        unfit: Names of files and of targets that they are known not to run on: these pairs are left out.
        folder: Keeps the raw events and outputs of every process, below `folder/target`.
        progress: Hears how far it is.
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
    progress = progress or Silent()
    progress.start("benchmark", len(plan) * STEPS)
    try:
        with contextlib.ExitStack() as stack:
            sessions: dict[str, Session] = {}
            failures = _Failures(plan, on_failure)
            for pair in plan:
                name = pair.target.name
                if name in failures:
                    continue
                with failures.noted(name):
                    if name not in sessions:
                        sessions[name] = stack.enter_context(Session(pair.target, spec, inputs, labels, task, folder))
                    for runtime in filter(None, (pair.runtime, pair.stand_in)):
                        sessions[name].require(runtime)
            found += _measure_all(plan, sessions, failures, progress)
    finally:
        progress.end()
    return tuple(found)


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


class _Failures:
    """Targets that failed, each with its error: they are left alone from then on."""

    def __init__(self, plan: Sequence[Pair], on_failure: Callable[[TargetError], None] | None) -> None:
        self._found: dict[str, TargetError] = {}
        self._alone = len({pair.target.name for pair in plan}) == 1
        self._on_failure = on_failure

    def __contains__(self, name: str) -> bool:
        return name in self._found

    @contextlib.contextmanager
    def noted(self, name: str) -> Iterator[None]:
        """Note what a target fails with."""
        try:
            yield
        except TargetError as error:
            self._found[name] = error
            if not self._alone:
                _warn(error, name)

    def tell(self, measured: Sequence[Measurement]) -> None:
        """Raise the first where they left nothing, else tell of each."""
        for name, error in self._found.items():
            if not measured:
                raise error
            if self._alone:
                _warn(error, name)
            if self._on_failure:
                self._on_failure(error)


def _warn(error: TargetError, name: str) -> None:
    rest = "%s; the rest of %s is not measured: look at it with 'edgekd targets check %s' and try again"
    _LOG.warning(rest, error, name, name)


def _measure_all(
    plan: Sequence[Pair], sessions: Mapping[str, Session], failures: _Failures, progress: Progress
) -> list[Measurement]:
    """Measure pair after pair."""
    found: list[Measurement] = []
    for index, pair in enumerate(plan):
        name = pair.target.name
        if name in failures:
            progress.advance(STEPS)
            continue
        open_pairs = [each for later, each in enumerate(plan) if later > index or each.target.name in failures]
        with failures.noted(name):
            _measure(sessions[name], pair, open_pairs, found, progress)
    failures.tell(found)
    return found


def _measure(
    session: Session, pair: Pair, open_pairs: Sequence[Pair], found: list[Measurement], progress: Progress
) -> None:
    """Add to `found` what a pair gives, as far as it comes; a file that runs elsewhere, or might, is only warned of."""
    model, target = pair.model, pair.target
    advanced = 0
    try:
        for step in session.measure(pair):
            found += step
            progress.advance()
            advanced += 1
    except TooBigError as error:
        _LOG.warning("%s", error)
        found.append(session.needed(pair, error))
    except ModelError as error:
        ran = any(each.model_sha256 == model.sha256 for each in found)
        if not ran and not any(each.model is model for each in open_pairs):
            raise
        rest = "the rest of " if advanced else ""
        _LOG.warning("%s; %s%s is not measured on %s", error, rest, model.name, target.name)
    finally:
        progress.advance(STEPS - advanced)


def _sizes(model: Model) -> Iterator[Measurement]:
    started_at = now()
    try:
        content = model.path.read_bytes()
    except OSError as error:
        raise ModelError(f"can't read it: {error.strerror}", where=str(model.path)) from None
    compressed = gzip.compress(content, compresslevel=9, mtime=0)
    for metric, size in (("file_size", len(content)), ("compressed_size", len(compressed))):
        yield measurement(model, "file", metric, [size], started_at=started_at)
