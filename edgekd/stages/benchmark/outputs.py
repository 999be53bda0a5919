"""What files give for samples, without measuring anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgekd.records import BenchmarkSpec, Conditions, Model, Target
from edgekd.stages.benchmark.pairs import pair_of
from edgekd.stages.benchmark.session import Session


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a file gave on a target.

    Attributes:
        outputs: Its first output in float32, (N, …).
        conditions: Under which it ran.
        started_at: ISO 8601, UTC.
    """

    model: Model
    outputs: NDArray[np.float32]
    conditions: Conditions
    started_at: str


def run_samples(models: Sequence[Model], *, target: Target, inputs: NDArray[np.float32]) -> Iterator[Ran]:
    """Run files on a target, each in one process for all samples.

    Args:
        models: Files of one input.
        target: Where; files that none of its runtimes gives outputs of are left out.
        inputs: (N, channels, height, width) or (N, …), as the network takes them.

    Raises:
        TargetError: The target can't be reached or lacks a runtime.
        ModelError: The runtime rejects a file.
    """
    with Session(target, BenchmarkSpec(), inputs, None, "single_label", None) as session:
        for model in models:
            pair = pair_of(model, target)
            if pair is None or pair.stand_in is None:
                continue
            session.require(pair.stand_in)
            outputs, events = session.outputs(replace(pair, runtime=pair.stand_in))
            yield Ran(model=model, outputs=outputs, conditions=events.conditions(), started_at=events.started_at)
