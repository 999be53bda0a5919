"""Makes records of samples."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from edgekd.records import Basis, Conditions, Measurement, Model
from edgekd.units import METRICS


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
        warmup=tuple(map(float, warmup)),
        conditions=conditions,
        basis=basis,
        started_at=started_at,
    )


def now() -> str:
    """The time, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
