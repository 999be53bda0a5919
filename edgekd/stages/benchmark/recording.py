"""The record of samples that were taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from edgekd.records import Basis, Conditions, Measurement, Model
from edgekd.stages.benchmark.events import Events
from edgekd.stages.benchmark.pairs import Pair
from edgekd.units import METRICS

# What a hot or throttled target makes worthless; it computes the same, and in as much memory.
_TAINTABLE = ("time", "energy", "rate")


def measurement(
    model: Model,
    target: str,
    metric: str,
    samples: Sequence[float],
    *,
    started_at: str,
    basis: Basis = "measured",
    warmup: Sequence[float] = (),
    labels: Sequence[float] = (),
    parts: Sequence[str] = (),
    conditions: Conditions = Conditions(),  # noqa: B008 - frozen
) -> Measurement:
    """Make the record of samples of one metric of a file, in the metric's base unit."""
    return Measurement(
        model_sha256=model.sha256,
        model=model.name,
        format=model.format,
        precision=model.precision,
        role=model.role,
        target=target,
        metric=metric,
        unit=METRICS[metric].unit,
        samples=tuple(map(float, samples)),
        labels=tuple(map(float, labels)),
        parts=tuple(parts),
        warmup=tuple(map(float, warmup)),
        conditions=conditions,
        basis=basis,
        started_at=started_at,
    )


def record(
    pair: Pair,
    events: Events,
    metric: str,
    samples: Sequence[float],
    *,
    basis: Basis,
    warmup: Sequence[float] = (),
    labels: Sequence[float] = (),
    parts: Sequence[str] = (),
) -> Measurement:
    """Make the record of samples that a process gave, under its conditions."""
    taint = events.taint(may_heat=metric == "sustained_latency")
    return measurement(
        pair.model,
        pair.target.name,
        metric,
        samples,
        started_at=events.started_at,
        basis=basis,
        warmup=warmup,
        labels=labels,
        parts=parts,
        conditions=replace(events.conditions(), tainted=taint if METRICS[metric].dimension in _TAINTABLE else ""),
    )


def now() -> str:
    """The time, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
