"""Finds out which operators of a file take how long, where its runtime tells."""

from __future__ import annotations

from collections.abc import Sequence

from edgekd.errors import MeasurementError
from edgekd.records import BenchmarkSpec, Model, OperatorTime, Target
from edgekd.stages.benchmark.failures import where
from edgekd.stages.benchmark.pairs import reading_pair_of
from edgekd.stages.benchmark.session import Session

_NS_PER_S = 1e9


def profile(models: Sequence[Model], *, target: Target, threads: int | None = None) -> tuple[OperatorTime, ...]:
    """Time the operators of files on a target, in a process of its own for each file.

    Args:
        models: Files that ONNX Runtime or LiteRT reads, or benchmark_model: TFLite Micro tells no times of operators.
        target: Where.
        threads: `None` takes the target's own number.

    Raises:
        ModelError: No runtime of the target reads a file, or it rejects it.
        MeasurementError: The runtime of a file does not tell.
        TargetError: The target can't be reached, lacks a runtime, or took too long.
    """
    pairs = [reading_pair_of(model, target) for model in models]
    found = []
    with Session(target, BenchmarkSpec(threads=threads), None, None, "single_label", None) as session:
        for pair in pairs:
            session.require(pair.runtime)
            told = session.run(pair, "profile").of("profile")
            if not told:
                raise MeasurementError(f"{target.runtimes[0]} tells nothing of operators", where=where(pair))
            found += [
                OperatorTime(
                    model=pair.model.name,
                    model_sha256=pair.model.sha256,
                    target=target.name,
                    layer=each["layer"],
                    operator=each["operator"],
                    samples=tuple(ns / _NS_PER_S for ns in each["ns"]),
                )
                for each in told["operators"]
            ]
    return tuple(found)
