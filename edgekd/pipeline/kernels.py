"""The step that runs files on other kernels: integer ones on an arm64 that is set up, TFLite by TensorFlow if asked."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd import registry
from edgekd.config import load_target
from edgekd.errors import ModelError, TargetError
from edgekd.measurements import read_measurements
from edgekd.pipeline.linting import exported_files
from edgekd.pipeline.workspace import Workspace, undated, write
from edgekd.progress import Progress, Silent
from edgekd.records import Measurement, Model, Target, Task
from edgekd.stages.benchmark import Ran, run_samples
from edgekd.units import human

_log = logging.getLogger("edgekd")
_ARM64 = "arm64-emulated"
# A sample takes 100 to 200 times as long as here.
KERNEL_SAMPLES = 16


def kernels_to_compare(space: Workspace) -> Any:
    """All that outputs on other kernels depend on, besides the files; nothing where there are none."""
    return [[target, _facts(target)] for target in _targets(space)]


def compare_files(space: Workspace, folder: Path) -> list[Path]:
    """Compare the files of a run; an empty list where there are no other kernels."""
    found: list[Measurement] = []
    if targets := _targets(space):
        data = space.data
        inputs = data.ready(data.validation, KERNEL_SAMPLES, raw=space.recipe.export.takes_raw(data.task))
        exported = [*read_measurements(space.store.stage("export") / "measurements.json")]
        for target in targets:
            try:
                found += _compare_on(
                    target, exported_files(space), exported, inputs=inputs, task=data.task, progress=space.progress
                )
            except (ModelError, TargetError) as error:
                if target.name == _ARM64:
                    raise
                _log.warning("%s; files are not compared there", error)
    return [write(folder / "measurements.json", undated(found))]


def _targets(space: Workspace) -> list[Target]:
    """An arm64 where one is set up, and those of the recipe that have another build of TFLite's kernels."""
    asked = [load_target(name) for name in space.recipe.benchmark.targets]
    return [*_arm64(), *(target for target in asked if _is_second_opinion(target))]


def _is_second_opinion(target: Target) -> bool:
    readers = (name for name in target.runtimes if "tflite" in registry.load("runtimes", name).FORMATS)
    return next(readers, None) == "tensorflow"


def _arm64() -> list[Target]:
    target = load_target(_ARM64)
    return [target] if registry.load("transports", target.transport).state(target).right else []


def _facts(target: Target) -> Any:
    """What a transport knows of the machine that it emulates."""
    transport = registry.load("transports", target.transport)
    return transport.facts(target) if hasattr(transport, "facts") else None


def compare_on_arm64(
    models: Sequence[Model],
    measurements: Sequence[Measurement] = (),
    *,
    inputs: NDArray[np.float32],
    task: Task = "single_label",
    progress: Progress | None = None,
) -> tuple[Measurement, ...]:
    """Run files that compute with integers here and on an emulated arm64, and hold the outputs against each other.

    Args:
        models: Any; float files, and those of several inputs, are left out.
        measurements: Of their export: their `max_error` is what their precision explains.
        inputs: Samples as the network takes them, images channels first; the first `KERNEL_SAMPLES` are used.
        task: What the files predict.
        progress: Told of each file.

    Returns:
        Of each file `kernel_parity` and `kernel_bit_equal` (0 or 1 for each sample) and `kernel_max_error`, with the
        conditions over there. Nothing where no arm64 is set up.

    Raises:
        ExportError: A file gives other answers there.
        TargetError: The emulation is set up and does not run.
    """
    found: list[Measurement] = []
    for target in _arm64():
        found += _compare_on(target, models, measurements, inputs=inputs, task=task, progress=progress or Silent())
    return tuple(found)


def _compare_on(
    target: Target,
    models: Sequence[Model],
    measurements: Sequence[Measurement],
    *,
    inputs: NDArray[np.float32],
    task: Task,
    progress: Progress,
) -> list[Measurement]:
    from edgekd.stages.export.converting import run_file
    from edgekd.stages.export.kernels import compare_kernels, has_integers, verify_kernels

    chosen = [model for model in models if len(model.inputs) == 1]
    if target.name == _ARM64:  # processors differ in integers, builds in anything
        chosen = [model for model in chosen if has_integers(model.precision)]
    if not chosen:
        return []
    samples = inputs[:KERNEL_SAMPLES]
    explained = {each.model: each.samples[0] for each in measurements if each.metric == "max_error"}
    found: list[Measurement] = []
    progress.start(f"kernels of {target.name}", len(chosen))
    try:
        for ran in run_samples(chosen, target=target, inputs=samples):
            name, there = ran.model.name, ran.outputs.reshape(len(samples), -1)
            # As the export judges files: with exact products, which a benchmark on this machine may lack.
            _, here = run_file(ran.model.format, ran.model.path, samples)
            parity = compare_kernels(here, there, task, head=ran.model.head)
            verify_kernels(name, parity, target=target.name, explained=explained.get(name, 0.0))
            equal = (here == there).all(axis=1)
            found += _measurements(
                ran,
                target,
                kernel_parity=tuple(map(float, parity.agrees)),
                kernel_bit_equal=tuple(map(float, equal)),
                kernel_max_error=(parity.max_error,),
            )
            words = "%s on %s: %d of %d samples predict the same, %d are bit-equal, largest error %s"
            error = human(parity.max_error, "")
            _log.info(words, name, target.name, parity.agrees.sum(), len(samples), equal.sum(), error)
            progress.advance()
    finally:
        progress.end()
    return found


def _measurements(ran: Ran, target: Target, **samples: tuple[float, ...]) -> list[Measurement]:
    model = ran.model
    first = Measurement(
        model_sha256=model.sha256,
        model=model.name,
        format=model.format,
        precision=model.precision,
        role=model.role,
        target=target.name,
        metric="",
        unit="1",
        samples=(),
        conditions=ran.conditions,
        # The file's own arithmetic ran, on the instructions of the processor: outputs are real where times are not.
        basis="measured",
        started_at=ran.started_at,
    )
    return [replace(first, metric=metric, samples=values) for metric, values in samples.items()]
