"""What samples of a measurement say, and why some are no evidence."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgekd import stats
from edgekd.errors import MeasurementError
from edgekd.records import Measurement
from edgekd.stages.gate.rules import BASES, Rule
from edgekd.units import Metric

_FRACTION = (0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the samples of a measurement say.

    Attributes:
        what: What was estimated: "p90 of 1000 runs"; empty for exact facts.
        sampled: What to take more of for a narrower interval; empty where there is none.
    """

    interval: stats.Interval
    what: str = ""
    sampled: str = ""
    count: int = 1


def find_fault(rule: Rule, measurement: Measurement) -> str | None:
    """Say why a measurement is no evidence for a budget, if so."""
    accepted = BASES[: BASES.index(rule.budget.basis) + 1]
    if measurement.basis not in accepted:
        return f"is {measurement.basis}; the budget wants {' or '.join(accepted)}"
    if measurement.conditions.tainted:
        return f"is tainted ({measurement.conditions.tainted}); take it again when the target is cool and well powered"
    metric = rule.source
    if measurement.unit != metric.unit:
        return f"is in '{measurement.unit}' where '{metric.unit}' is wanted"
    samples = np.asarray(measurement.samples, dtype=np.float64)
    if not samples.size:
        return "has no samples"
    if not np.isfinite(samples).all():
        return "has samples that are not finite"
    return _find_impossible(metric, samples, len(measurement.labels))


def _find_impossible(metric: Metric, samples: NDArray[np.float64], labels: int) -> str | None:
    """Say which values a metric can't have, if there are some."""
    smallest, largest = samples.min(), samples.max()
    fault = None
    if metric.estimator == "proportion" and not np.isin(samples, _FRACTION).all():
        fault = "has samples other than 0 and 1"
    elif smallest < 0 and metric.estimator != "area":
        fault = "has negative samples"
    elif metric.estimator in ("mean", "exact") and metric.dimension == "share" and largest > 1:
        fault = "has samples above 1"
    elif metric.estimator == "area" and labels != samples.size:
        fault = f"has {samples.size} scores but {labels} labels"
    elif metric.estimator == "exact" and smallest != largest:
        fault = "is no single number"
    elif metric.dimension == "size" and smallest <= 0:
        fault = "is no size above 0"
    return fault


def needs_runs(rule: Rule, measurement: Measurement) -> bool:
    """Whether runs scatter, so that a quantile needs many; an estimate has no spread."""
    return rule.metric.estimator == "quantile" and measurement.basis != "estimated"


def look(rule: Rule, candidate: Measurement, reference: Measurement | None) -> Seen:
    """Estimate what a budget limits, with its interval.

    Raises:
        MeasurementError: The samples don't allow it.
    """
    samples, count = candidate.samples, len(candidate.samples)
    name, confidence = rule.metric.name, rule.confidence
    bounds = _FRACTION if rule.source.dimension == "share" else None
    if reference is not None:
        return _compare(rule, candidate, reference, bounds)
    if needs_runs(rule, candidate):
        interval = stats.quantile_interval(samples, rule.quantile, confidence)
        return Seen(interval=interval, what=f"{rule.statistic} of {count} runs", sampled="runs", count=count)
    if rule.metric.estimator in {"exact", "largest", "quantile"}:
        largest = float(max(samples))
        interval = stats.Interval(estimate=largest, low=largest, high=largest)
        return Seen(interval=interval, what=f"largest of {count} seen" if rule.metric.estimator == "largest" else "")
    if rule.metric.estimator == "proportion":
        interval = stats.proportion_interval(int(sum(samples)), count, confidence)
    elif rule.metric.estimator == "mean":
        interval = stats.mean_interval(samples, confidence, bounds=bounds)
    else:
        interval = stats.auc_interval(samples, candidate.labels, confidence)
    return Seen(interval=interval, what=f"{name} of {count} samples", sampled="samples", count=count)


def _compare(rule: Rule, candidate: Measurement, reference: Measurement, bounds: tuple[float, float] | None) -> Seen:
    """Bound what a file has lost against a reference over the same samples; errors grow where shares shrink."""
    before, after, confidence = reference.samples, candidate.samples, rule.confidence
    if rule.metric.estimator == "proportion":
        bound = stats.relative_drop_interval if rule.is_relative else stats.paired_drop_interval
        interval = bound(before, after, confidence)
    elif rule.metric.estimator == "mean":
        interval = stats.mean_drop_interval(before, after, confidence, relative=rule.is_relative, bounds=bounds)
    else:
        if candidate.labels != reference.labels:
            raise MeasurementError(f"measured on other samples than {reference.model}: their labels differ")
        interval = stats.auc_drop_interval(before, after, candidate.labels, confidence, relative=rule.is_relative)
    what = f"drop from {reference.model}"
    if rule.source.bound == "at most":
        interval = replace(interval, estimate=-interval.estimate, low=-interval.high, high=-interval.low)
        what = f"increase over {reference.model}"
    return Seen(interval=interval, what=f"{what} in {len(after)} samples", sampled="samples", count=len(after))
