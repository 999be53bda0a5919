"""The step that runs integer files on arm64 kernels, where an emulated arm64 is set up."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd import registry, store
from edgekd.config import load_target
from edgekd.pipeline.linting import exported_files
from edgekd.pipeline.workspace import Workspace, undated, write
from edgekd.progress import Progress, Silent
from edgekd.records import Measurement, Model, Task
from edgekd.stages.benchmark import Ran, run_samples
from edgekd.units import human

_log = logging.getLogger("edgekd")
_TARGET = "arm64-emulated"
# A sample takes 100 to 200 times as long as here.
KERNEL_SAMPLES = 16


def kernels_to_compare() -> Any:
    """All that outputs on arm64 depend on, besides the files; nothing where no arm64 is set up."""
    target = load_target(_TARGET)
    transport = registry.load("transports", target.transport)
    return [target, transport.facts(target)] if transport.state(target).right else None


def compare_files(space: Workspace, folder: Path) -> list[Path]:
    """Compare every integer file of a run; an empty list where no arm64 is set up."""
    found: Sequence[Measurement] = ()
    if kernels_to_compare() is not None:
        data = space.data
        inputs = data.ready(data.validation, KERNEL_SAMPLES, raw=space.recipe.export.takes_raw(data.task))
        exported = store.read_json(space.store.stage("export") / "measurements.json", list[Measurement])
        found = compare_on_arm64(
            exported_files(space), exported, inputs=inputs, task=data.task, progress=space.progress
        )
    return [write(folder / "measurements.json", undated(found))]


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
    from edgekd.stages.export.converting import run_file
    from edgekd.stages.export.kernels import compare_kernels, has_integers, verify_kernels

    chosen = [model for model in models if has_integers(model.precision) and len(model.inputs) == 1]
    if not chosen or kernels_to_compare() is None:
        return ()
    samples = inputs[:KERNEL_SAMPLES]
    explained = {each.model: each.samples[0] for each in measurements if each.metric == "max_error"}
    found: list[Measurement] = []
    progress = progress or Silent()
    progress.start("arm64 kernels", len(chosen))
    try:
        for ran in run_samples(chosen, target=load_target(_TARGET), inputs=samples):
            name, there = ran.model.name, ran.outputs.reshape(len(samples), -1)
            # As the export judges files: with exact products, which a benchmark on this machine may lack.
            _, here = run_file(ran.model.format, ran.model.path, samples)
            parity = compare_kernels(here, there, task, head=ran.model.head)
            verify_kernels(name, parity, target=_TARGET, explained=explained.get(name, 0.0))
            equal = (here == there).all(axis=1)
            found += _measurements(
                ran,
                kernel_parity=tuple(map(float, parity.agrees)),
                kernel_bit_equal=tuple(map(float, equal)),
                kernel_max_error=(parity.max_error,),
            )
            words = "%s on arm64 kernels: %d of %d samples predict the same, %d are bit-equal, largest error %s"
            error = human(parity.max_error, "")
            _log.info(words, name, parity.agrees.sum(), len(samples), equal.sum(), error)
            progress.advance()
    finally:
        progress.end()
    return tuple(found)


def _measurements(ran: Ran, **samples: tuple[float, ...]) -> list[Measurement]:
    model = ran.model
    first = Measurement(
        model_sha256=model.sha256,
        model=model.name,
        format=model.format,
        precision=model.precision,
        role=model.role,
        target=_TARGET,
        metric="",
        unit="1",
        samples=(),
        conditions=ran.conditions,
        # The file's own arithmetic ran, on the instructions of the processor: outputs are real where times are not.
        basis="measured",
        started_at=ran.started_at,
    )
    return [replace(first, metric=metric, samples=values) for metric, values in samples.items()]
