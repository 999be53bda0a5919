"""What files give for samples, without measuring anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekd import registry
from edgekd.records import BenchmarkSpec, Conditions, Model, Target
from edgekd.stages.benchmark.session import Pair, Session


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
        target: Where; files that none of its runtimes reads are left out.
        inputs: (N, channels, height, width) or (N, …), as the network takes them.

    Raises:
        TargetError: The target can't be reached or lacks a runtime.
        ModelError: The runtime rejects a file.
    """
    runtimes = [registry.load("runtimes", name) for name in target.runtimes]
    with Session(target, BenchmarkSpec(), inputs, None, "single_label", None) as session:
        for model in models:
            runtime = next((each for each in runtimes if model.format in each.FORMATS), None)
            if runtime is None:
                continue
            session.require(runtime)
            outputs, events = session.outputs(Pair(model=model, target=target, runtime=runtime))
            yield Ran(model=model, outputs=outputs, conditions=events.conditions(), started_at=events.started_at)
