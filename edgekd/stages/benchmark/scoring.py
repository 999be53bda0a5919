"""Brings a file's outputs back, and holds them against the labels, or against the inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import DataError, MeasurementError, ModelError
from edgekd.metrics import Scores, score_all
from edgekd.records import Task
from edgekd.stages.benchmark.events import Events
from edgekd.stages.benchmark.failures import where
from edgekd.stages.benchmark.pairs import Pair
from edgekd.stages.benchmark.samples import rebuilt_from, scores_of
from edgekd.store import sha256_of
from edgekd.transports import Transport


def fetch_outputs(events: Events, transport: Transport, local: Path, place: str) -> Path:
    """Bring back the outputs that a process tells of, which are floats already.

    Args:
        events: Of the process.
        transport: To where it ran.
        local: Where they go, if they are not here.
        place: The file and the target, for errors.

    Returns:
        Where they are: an .npy, (N, …).

    Raises:
        MeasurementError: There are none, or they changed on the way.
    """
    said = events.of("outputs")
    if not said:
        raise MeasurementError("its runtime there gives no outputs", where=place)
    if said.get("here"):
        local = Path(said["path"])
    else:
        transport.pull(said["path"], local)
    if sha256_of(local) != said["sha256"]:
        raise MeasurementError("outputs changed on their way back", where=place)
    return local


def score_outputs(
    outputs: NDArray[np.float32], pair: Pair, *, task: Task, inputs: NDArray[np.float32] | None, labels: NDArray[Any]
) -> tuple[Scores, ...]:
    """Score what a file gave for all samples by every metric of the task.

    Args:
        outputs: (N, …), of the file.
        pair: The file, and where it ran.
        task: What the outputs are.
        inputs: (N, …), as the network takes them; of a reconstruction only.
        labels: (N, …), as the task has them.

    Raises:
        ModelError: Outputs from which no error can be told, because they are not finite.
        DataError: The outputs don't fit the labels.
    """
    if pair.model.head == "class":
        outputs = scores_of(outputs)
    if task in ("regression", "reconstruction") and not np.isfinite(outputs).all():
        # A class that is no number is wrong; an error that is none is no error at all.
        count = np.count_nonzero(~np.isfinite(outputs.reshape(len(outputs), -1)).all(axis=1))
        raise ModelError(f"{count} of {len(outputs)} outputs are not finite", where=where(pair))
    rebuilt = None
    if task == "reconstruction" and inputs is not None:
        rebuilt = rebuilt_from(outputs, inputs, pair.model)
    try:
        return score_all(task, outputs=outputs, labels=labels, inputs=rebuilt)
    except DataError as error:
        raise DataError(error.what, where=where(pair), allowed=error.allowed) from None
