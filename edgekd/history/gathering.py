"""What of a gate is worth keeping."""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib import metadata

import numpy as np

from edgekd.records import Check, Measurement, PastFigure, PastGate, Release, Run
from edgekd.stats import quantile_of_sorted
from edgekd.store import fingerprint
from edgekd.units import METRICS, Metric

# What has no budget is kept as one number without an interval, which would take longer than the whole gate. These are
# the estimators that have such a number; areas and calibration errors are kept where a budget asks for them.
_FACTS, _MEANS, _COUNT, _QUANTILE = ("exact", "largest"), ("proportion", "mean"), "count", "quantile"
_MEDIAN = "p50"


def recipe_name(recipe: str, folder: str) -> str:
    """The name that a recipe gives itself, or that of its run's folder where there is none.

    >>> recipe_name('name = "digits"', "try-2"), recipe_name("", "models")
    ('digits', 'models')
    """
    try:
        name = tomllib.loads(recipe).get("name")
    except tomllib.TOMLDecodeError:  # budgets came from another file, so that nobody has read it
        name = None
    return name if isinstance(name, str) and name else folder


def past_gate(release: Release, run: Run, *, gated_at: datetime, commit: str = "") -> PastGate:
    """Gather what to keep of a gate: each check, and one number for each metric that no budget looked at.

    Args:
        release: The verdict.
        run: What was gated.
        gated_at: With its time zone.
        commit: Of the repository that the run lies in, if any.

    >>> from pathlib import Path
    >>> size = Measurement(
    ...     model_sha256="5e1f", model="student.tflite", format="tflite", precision="static_wi8_ai8",
    ...     role="student", target="file", metric="file_size", unit="B", samples=(98496.0,))
    >>> run = Run(name="try-1", folder=Path(), recipe="", measurements=(size,))
    >>> gate = past_gate(Release(model_sha256s=(), checks=()), run, gated_at=datetime(2026, 11, 29, 12, tzinfo=UTC))
    >>> gate.gated_at, gate.status, [(each.metric, each.observed) for each in gate.figures]
    ('2026-11-29T12:00:00Z', 'unmeasured', [('file_size', 98496.0)])
    """
    figures = (*_checked(release.checks, run.measurements), *_unchecked(release.checks, run.measurements))
    name = recipe_name(run.recipe, run.name)
    return PastGate(
        gated_at=gated_at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        recipe=name,
        run=run.name,
        status=release.status,
        fingerprint=fingerprint(name, release, figures),
        recipe_sha256=hashlib.sha256(run.recipe.encode()).hexdigest() if run.recipe else "",
        commit=commit,
        version=metadata.version("edgekd"),
        figures=figures,
    )


def _checked(checks: Sequence[Check], measurements: Sequence[Measurement]) -> Iterator[PastFigure]:
    files = {each.model: (each.format, each.precision) for each in measurements}
    for check in checks:
        budget = check.budget
        model_format, precision = files.get(check.model, ("", ""))
        metric = METRICS.get(budget.metric)
        yield PastFigure(
            metric=budget.metric,
            statistic=budget.statistic or "",
            reference=budget.reference or "",
            part=budget.part or "",
            model=check.model,
            format=model_format,
            precision=precision,
            target=check.target,
            unit=check.unit,
            observed=_finite(check.observed),
            low=_finite(check.low),
            high=_finite(check.high),
            bound=budget.bound or (metric.bound if metric else "at most"),
            limit=_finite(check.limit),
            written=budget.limit,
            status="waived" if check.waiver else check.status,
        )


def _unchecked(checks: Sequence[Check], measurements: Sequence[Measurement]) -> Iterator[PastFigure]:
    seen = {(check.budget.metric, check.model, check.target) for check in checks if check.observed is not None}
    latest: dict[tuple[str, str, str], Measurement] = {}
    for each in measurements:
        key = each.metric, each.model, each.target
        if each.role not in ("student", "teacher") or key in seen or each.conditions.tainted:
            continue
        if key not in latest or each.started_at >= latest[key].started_at:
            latest[key] = each
    for each in latest.values():
        metric = METRICS.get(each.metric)
        observed = _finite(_estimate(metric, each)) if metric else None
        if metric is None or observed is None:
            continue
        yield PastFigure(
            metric=each.metric,
            statistic=_MEDIAN if metric.estimator == _QUANTILE else "",
            model=each.model,
            format=each.format,
            precision=each.precision,
            target=each.target,
            unit=each.unit,
            observed=observed,
        )


def _estimate(metric: Metric, measurement: Measurement) -> float | None:
    estimator, samples = metric.estimator, measurement.samples
    if estimator == _COUNT:  # of nothing, too: no finding of lint is none
        return sum(samples)
    if not samples:
        return None
    if estimator in _FACTS:
        return min(samples) if metric.dimension == "rate" else max(samples)
    if estimator in _MEANS:
        return sum(samples) / len(samples)
    if estimator == _QUANTILE:
        return quantile_of_sorted(np.sort(measurement.values), 0.5)
    return None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
