"""What samples of a measurement say, and why some are no evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from edgekd.units import METRICS, Metric

FRACTION = (0.0, 1.0)
# Clocks of targets need not be right to the hour.
_SKEW = timedelta(days=1)
# What labels belong to: scores, predicted classes or values, confidences, likelihoods of windows.
_LABELLED = ("area", "recall", "confusion", "rank", "calibration", "perplexity", "bits")
# Of which samples may be any numbers.
_SIGNED = ("area", "rank")


# Of metrics that no mean over samples gives, but labels beside them.
_BOUND_OF: Mapping[str, Callable[..., Interval]] = {
    "auc": stats.auc_interval,
    "mcc": stats.mcc_interval,
    "macro_f1": stats.macro_f1_interval,
    "perplexity": stats.perplexity_interval,
    "spearman": stats.spearman_interval,
    "bits_per_byte": stats.bits_interval,
}
# What is taken of metrics that are not told from single samples of the data.
_SAMPLED = {
    **dict.fromkeys(("energy", "latency", "sustained_latency"), "runs"),
    **dict.fromkeys(("perplexity", "bits_per_byte"), "windows"),
    "decode_rate": "tokens",
}


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
    unit = METRICS[metric.told_by].unit if metric.told_by else metric.unit
    if measurement.unit != unit:
        return f"is in '{measurement.unit}' where '{unit}' is wanted"
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
    fault = None
    if metric.estimator == "proportion" and not ((samples == 0) | (samples == 1)).all():
        fault = "has samples other than 0 and 1"
    elif smallest < 0 and metric.estimator not in _SIGNED:
        fault = "has negative samples"
    elif metric.estimator in ("mean", "exact", "calibration") and metric.unit == "1" and largest > 1:
        fault = "has samples above 1"
    elif metric.estimator == "exact" and smallest != largest:
        fault = "is no single number"
    elif metric.dimension in ("size", "rate") and smallest <= 0:
        fault = f"is no {metric.dimension} above 0"
    return fault or _find_unfit(metric, samples, measurement)


def _find_unfit(metric: Metric, samples: NDArray[np.float64], measurement: Measurement) -> str | None:
    """Say which labels or parts don't belong to the samples, if there are some."""
    labels, parts = measurement.label_values, measurement.parts
    fault = None
    if metric.estimator in _LABELLED and labels.size != samples.size:
        fault = f"has {samples.size} scores but {labels.size} labels"
    elif metric.estimator in ("recall", "confusion") and not (_are_classes(samples) and _are_classes(labels)):
        fault = "has classes that are no numbers from 0 on"
    elif metric.estimator in ("perplexity", "bits") and not labels.min() > 0:
        fault = "has windows without tokens or bytes"
    elif metric.estimator == "count" and len(parts) != samples.size:
        fault = f"has {samples.size} counts of {len(parts)} things"
    elif parts and metric.has_parts and metric.estimator != "recall" and len(parts) != samples.size:
        fault = f"has {samples.size} samples of {len(parts)} parts"
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
    samples, confidence = samples_of(rule, candidate), rule.confidence
    count = len(samples)
    name, estimator = rule.source.name, rule.metric.estimator
    if needs_runs(rule, candidate):
        interval, sampled = stats.series_quantile_interval(samples, rule.quantile, confidence), sampled_of(rule.source)
        return Seen(interval=interval, what=f"{rule.statistic} of {count} {sampled}", sampled=sampled, count=count)
    if estimator in {"exact", "largest", "quantile"}:
        is_rate = rule.source.dimension == "rate"
        extreme = float(samples.min() if is_rate else samples.max())
        what = f"{'smallest' if is_rate else 'largest'} of {count} seen" if estimator == "largest" else ""
        return Seen(interval=exactly(extreme), what=what)
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
        interval = _BOUND_OF[name](samples, candidate.label_values, confidence)
    sampled = sampled_of(rule.source)
    return Seen(interval=interval, what=f"{name} of {count} {sampled}", sampled=sampled, count=count)


def sampled_of(metric: Metric) -> str:
    """What more of makes the interval of a metric narrower."""
    return _SAMPLED.get(metric.name, "samples")


def samples_of(rule: Rule, measurement: Measurement) -> NDArray[np.float64]:
    """The samples that a budget is about: those of its part, where it names one that samples are of.

    Raises:
        MeasurementError: There are none of that part.
    """
    pattern, parts = rule.budget.part, measurement.parts
    if pattern is None or not rule.metric.has_parts or rule.metric.estimator in ("count", "recall"):
        return measurement.values
    chosen = np.array([fnmatchcase(each, pattern) for each in parts], dtype=bool)
    if not chosen.any():
        known = ", ".join(dict.fromkeys(parts)) or "none"
        raise MeasurementError(f"no {rule.source.name} of '{pattern}'", allowed=known)
    found: NDArray[np.float64] = measurement.values[chosen]
    return found


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
