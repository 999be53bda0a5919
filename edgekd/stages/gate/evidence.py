"""What samples of a measurement say, and why some are no evidence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from edgekd import stats
from edgekd.errors import MeasurementError
from edgekd.records import Measurement
from edgekd.stages.gate.rules import BASES, Rule
from edgekd.stats import Interval
from edgekd.units import Metric

FRACTION = (0.0, 1.0)
# Clocks of targets need not be right to the hour.
_SKEW = timedelta(days=1)
# What labels belong to: scores, predicted classes, confidences.
_LABELLED = ("area", "recall", "calibration")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the samples of a measurement say.

    Attributes:
        what: What was estimated: "p90 of 1000 runs"; empty for exact facts.
        sampled: What to take more of for a narrower interval; empty where there is none.
        doubt: Why the interval proves nothing either way, and what would; empty where it does.
    """

    interval: Interval
    what: str = ""
    sampled: str = ""
    count: int = 1
    doubt: str = ""


def find_fault(rule: Rule, measurement: Measurement, now: datetime) -> str | None:
    """Say why a measurement is no evidence for a budget, if so."""
    accepted = BASES[: BASES.index(rule.budget.basis) + 1]
    if measurement.basis not in accepted:
        return f"is {measurement.basis}; the budget wants {' or '.join(accepted)}"
    if measurement.conditions.tainted:
        return f"is tainted ({measurement.conditions.tainted}); take it again when the target is cool and well powered"
    if _is_ahead(measurement.started_at, now):
        return f"was taken at {measurement.started_at}, yet to come by this machine's clock; set the clock right"
    return _find_wrong_samples(rule.source, measurement)


def _find_wrong_samples(metric: Metric, measurement: Measurement) -> str | None:
    """Say what is wrong with samples of a metric, if something is."""
    if measurement.unit != metric.unit:
        return f"is in '{measurement.unit}' where '{metric.unit}' is wanted"
    samples = measurement.values
    if not samples.size:
        return "has no samples"
    if not np.isfinite(samples).all():
        return "has samples that are not finite"
    return _find_impossible(metric, samples, measurement)


def _is_ahead(started_at: str, now: datetime) -> bool:
    try:
        started = datetime.fromisoformat(started_at)
    except ValueError:
        return False  # none was written down
    return started.replace(tzinfo=started.tzinfo or now.tzinfo) > now + _SKEW


def _find_impossible(metric: Metric, samples: NDArray[np.float64], measurement: Measurement) -> str | None:
    """Say which values a metric can't have, if there are some."""
    smallest, largest = samples.min(), samples.max()
    labels, parts = measurement.labels, measurement.parts
    fault = None
    if metric.estimator == "proportion" and not np.isin(samples, FRACTION).all():
        fault = "has samples other than 0 and 1"
    elif smallest < 0 and metric.estimator != "area":
        fault = "has negative samples"
    elif metric.estimator in ("mean", "exact", "calibration") and metric.unit == "1" and largest > 1:
        fault = "has samples above 1"
    elif metric.estimator in _LABELLED and len(labels) != samples.size:
        fault = f"has {samples.size} scores but {len(labels)} labels"
    elif metric.estimator == "recall" and not (_are_classes(samples) and _are_classes(measurement.label_values)):
        fault = "has classes that are no numbers from 0 on"
    elif metric.estimator == "count" and len(parts) != samples.size:
        fault = f"has {samples.size} counts of {len(parts)} things"
    elif metric.estimator == "exact" and smallest != largest:
        fault = "is no single number"
    elif metric.dimension == "size" and smallest <= 0:
        fault = "is no size above 0"
    return fault


def _are_classes(values: NDArray[np.float64]) -> bool:
    return bool((values >= 0).all() and (values == values.astype(np.int64)).all())


def needs_runs(rule: Rule, measurement: Measurement) -> bool:
    """Whether runs scatter, so that a quantile needs many; an estimate has no spread."""
    return rule.metric.estimator == "quantile" and measurement.basis != "estimated"


def look(rule: Rule, candidate: Measurement) -> Seen:
    """Estimate what a budget limits, with its interval.

    Raises:
        MeasurementError: The samples don't allow it.
    """
    samples, count, confidence = candidate.values, len(candidate.samples), rule.confidence
    name, estimator = rule.source.name, rule.metric.estimator
    if needs_runs(rule, candidate):
        interval = stats.series_quantile_interval(samples, rule.quantile, confidence)
        return Seen(interval=interval, what=f"{rule.statistic} of {count} runs", sampled="runs", count=count)
    if estimator in {"exact", "largest", "quantile"}:
        largest = float(samples.max())
        what = f"largest of {count} seen" if estimator == "largest" else ""
        return Seen(interval=exactly(largest), what=what)
    if estimator == "count":
        return Seen(interval=exactly(float(_count(rule, candidate))), what=rule.budget.part or "")
    if estimator == "recall":
        return _recall(rule, candidate)
    if estimator == "proportion":
        interval = stats.proportion_interval(int(samples.sum()), count, confidence)
    elif estimator == "mean":
        interval = stats.mean_interval(
            samples, confidence, bounds=FRACTION if rule.source.dimension == "share" else None
        )
    elif estimator == "calibration":
        interval = stats.calibration_interval(samples, candidate.label_values, confidence)
    else:
        interval = stats.auc_interval(samples, candidate.label_values, confidence)
    sampled = "runs" if name == "energy" else "samples"
    return Seen(interval=interval, what=f"{name} of {count} {sampled}", sampled=sampled, count=count)


def exactly(value: float) -> Interval:
    """The interval of what has no error."""
    return Interval(estimate=value, low=value, high=value)


def _count(rule: Rule, candidate: Measurement) -> float:
    pattern = rule.budget.part or "*"
    return sum(
        number for number, part in zip(candidate.samples, candidate.parts, strict=True) if fnmatchcase(part, pattern)
    )


def _recall(rule: Rule, candidate: Measurement) -> Seen:
    """The smallest recall of the classes that a budget is about.

    All keep a limit where each one does; that one of many breaks it needs to be shown at a confidence that allows for
    looking at all of them (Bonferroni).
    """
    predicted, true = (each.astype(np.int64) for each in (candidate.values, candidate.label_values))
    pattern, names = rule.budget.part or "*", candidate.parts
    classes = [
        each
        for each in np.unique(true).tolist()
        if fnmatchcase(str(each), pattern) or (each < len(names) and fnmatchcase(names[each], pattern))
    ]
    if not classes:
        known = ", ".join(names) or f"0 to {true.max()}"
        raise MeasurementError(f"no test sample of a class '{pattern}'", allowed=known)
    totals = [int((true == each).sum()) for each in classes]
    hits = [int(((true == each) & (predicted == each)).sum()) for each in classes]
    each_confidence = 1 - (1 - rule.confidence) / len(classes)
    pairs = list(zip(hits, totals, strict=True))
    alone = [stats.proportion_interval(*each, rule.confidence) for each in pairs]
    among = [stats.proportion_interval(*each, each_confidence) for each in pairs] if len(pairs) > 1 else alone
    worst = min(range(len(classes)), key=lambda at: alone[at].estimate)
    interval = Interval(
        estimate=alone[worst].estimate,
        low=min(each.low for each in alone),
        high=min(each.high for each in among),
    )
    number = classes[worst]
    name = names[number] if number < len(names) else str(number)
    what = f"recall of class '{name}'" + (f", the worst of {len(classes)}," if len(classes) > 1 else "")
    return Seen(interval=interval, what=f"{what} in {totals[worst]} samples", sampled="samples", count=totals[worst])
