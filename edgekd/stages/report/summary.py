"""Summaries of raw samples: quantiles, proportions and facts, with their intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Literal
from weakref import WeakKeyDictionary

import numpy as np

from edgekd import stats
from edgekd.errors import MeasurementError
from edgekd.records import Basis, Conditions, Measurement
from edgekd.stages.report.quality import is_share, lower_is_better
from edgekd.units import METRICS

Kind = Literal[
    "quantiles", "proportion", "mean", "area", "rank", "fact", "count", "calibration", "classes", "perplexity", "bits"
]
# Of scores that are no means of their samples: the score, its interval, and that of a drop.
_NO_MEANS: Mapping[str, tuple[Callable[..., float], Callable[..., stats.Interval], Callable[..., stats.Interval]]] = {
    "area": (stats.auc, stats.auc_interval, stats.auc_drop_interval),
    "rank": (stats.spearman, stats.spearman_interval, stats.spearman_drop_interval),
    "perplexity": (stats.perplexity, stats.perplexity_interval, stats.perplexity_drop_interval),
    "bits": (stats.bits_per_byte, stats.bits_interval, stats.bits_drop_interval),
}
# Of how many samples something can be said.
_LEAST = {"calibration": stats.CALIBRATION_BINS, "rank": 4}
_SCORED = ("proportion", "mean", "count", "calibration", *_NO_MEANS)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number in its base unit, with the ends of its 95 % interval where it has one.

    Attributes:
        samples: How many raw samples stand behind it.
        tainted: Why it proves nothing, such as throttling; empty is nothing.
    """

    value: float
    low: float | None = None
    high: float | None = None
    samples: int = 1
    basis: Basis = "measured"
    tainted: str = ""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One metric of one file on one target.

    Attributes:
        kind: `proportion` of zeros and ones, `mean` of other scores, `area` under a curve, `quantiles` of times,
            or one `fact`.
        figure: The score, the fact, or the median where the number of samples supports one.
        quantiles: By name (`p50`); only those that the number of samples supports.
    """

    model_sha256: str
    model: str
    target: str
    metric: str
    unit: str
    kind: Kind
    basis: Basis
    samples: int
    warmup: int
    figure: Figure | None
    quantiles: dict[str, Figure] = field(default_factory=dict)
    minimum: float | None = None
    maximum: float | None = None
    conditions: Conditions
    started_at: str = ""


def kind_of(measurement: Measurement) -> Kind:
    """How samples of a metric are summarised.

    >>> kind_of(Measurement(model_sha256="", model="", format="onnx", precision="fp32", role="student", target="host",
    ...                     metric="latency", unit="s", samples=(0.1,)))
    'quantiles'
    """
    known = METRICS.get(measurement.metric)
    if known and known.dimension == "size":
        return "fact"
    if known and known.estimator in _SCORED:
        return known.estimator  # type: ignore[return-value]  # they have the same names
    if known and known.estimator == "recall":
        return "classes"
    if measurement.unit == "1" and len(measurement.samples) > 1 and set(measurement.samples) <= {0, 1}:
        return "proportion"
    if measurement.basis == "estimated":
        return "fact"
    return "quantiles" if measurement.unit == "s" or len(measurement.samples) > 1 else "fact"


def joined(measurements: Iterable[Measurement]) -> list[Measurement]:
    """Join repeated measurements of one metric of one file under the same conditions.

    Times are put together, and so are sizes, of which `summarise` takes the largest. Of repeated proportions the
    one that started last stands: the same data samples counted twice would feign a narrower interval. Of other
    repeated facts, too, the last one stands.
    """
    found: dict[tuple[object, ...], Measurement] = {}
    for each in measurements:
        conditions = tuple(getattr(each.conditions, key) for key in Conditions.MUST_AGREE)
        key = (each.role, each.model_sha256, each.target, each.metric, each.unit, each.basis, conditions)
        first = found.get(key)
        if first is None:
            found[key] = each
        elif kind_of(each) == "quantiles" or each.unit == "B":
            found[key] = first.merge(each)
        elif each.started_at >= first.started_at:
            found[key] = each
    return list(found.values())


# Sections ask for the same measurements again and again; they are forgotten with the measurement.
_SUMMARIES: WeakKeyDictionary[Measurement, Summary] = WeakKeyDictionary()


def summarise(measurement: Measurement) -> Summary:
    """Compute quantiles, a proportion or a fact, with 95 % intervals, from raw samples."""
    if measurement not in _SUMMARIES:
        _SUMMARIES[measurement] = _summarise(measurement)
    return _SUMMARIES[measurement]


def _summarise(measurement: Measurement) -> Summary:
    kind, count = kind_of(measurement), len(measurement.samples)
    summary = Summary(
        model_sha256=measurement.model_sha256,
        model=measurement.model,
        target=measurement.target,
        metric=measurement.metric,
        unit=measurement.unit,
        kind=kind,
        basis=measurement.basis,
        samples=count,
        warmup=len(measurement.warmup),
        figure=None,
        conditions=measurement.conditions,
        started_at=measurement.started_at,
    )
    if not count:
        return summary
    if kind == "classes":
        return summary  # numbers of classes, of which there is no mean
    if count < _LEAST.get(kind, 0):
        return summary
    summary = replace(summary, minimum=float(measurement.values.min()), maximum=float(measurement.values.max()))
    if kind in _SCORED:
        return replace(summary, figure=score_figure(measurement))
    if kind == "fact":
        # Memory may have been read several times; what must fit is the largest.
        largest = float(measurement.values.max())
        return replace(
            summary,
            figure=Figure(value=largest, low=largest, high=largest, samples=count, basis=measurement.basis),
        )
    ordered = np.sort(measurement.values)
    quantiles = {
        name: _figure(measurement, stats.quantile_interval(ordered, stats.QUANTILES[name]))
        for name in stats.supported_quantiles(count)
    }
    return replace(summary, figure=quantiles.get("p50"), quantiles=quantiles)


def has_mean(measurement: Measurement) -> bool:
    """Whether a score is the mean of its samples, so that samples of two files can be held against each other."""
    return kind_of(measurement) not in _NO_MEANS


def score_of(measurement: Measurement) -> float:
    """The score that samples give: their mean, or what else their metric makes of them."""
    if kind_of(measurement) in _NO_MEANS:
        score, _, _ = _NO_MEANS[kind_of(measurement)]
        return score(measurement.values, measurement.label_values)
    return fmean(measurement.samples)


def oriented(measurement: Measurement) -> float:
    """The score with its sign turned where it is an error, so that more is better."""
    score = score_of(measurement)
    return -score if lower_is_better(measurement.metric) else score


def score_figure(measurement: Measurement) -> Figure:
    """A score with its interval, of whichever kind; or a count."""
    samples = measurement.values
    if kind_of(measurement) == "count":
        return Figure(value=float(samples.sum()), basis=measurement.basis)
    if kind_of(measurement) == "calibration":
        return _figure(measurement, stats.calibration_interval(samples, measurement.label_values))
    if kind_of(measurement) == "proportion":
        return _figure(measurement, stats.proportion_interval(round(float(samples.sum())), len(samples)))
    if len(samples) < 2:
        return Figure(value=score_of(measurement), samples=1, basis=measurement.basis)
    if kind_of(measurement) in _NO_MEANS:
        _, interval_of, _ = _NO_MEANS[kind_of(measurement)]
        return _figure(measurement, interval_of(samples, measurement.label_values))
    bounds = (0.0, 1.0) if is_share(measurement.metric) else None
    return _figure(measurement, stats.mean_interval(samples, bounds=bounds))


def gain_between(candidates: Sequence[Measurement], references: Sequence[Measurement]) -> Figure:
    """How much better candidates are than references over the same data samples; above 0 is better.

    Args:
        candidates: One measurement a seed.
        references: Of the same seeds in the same order.
    """
    first = candidates[0]
    if kind_of(first) in _NO_MEANS and len(candidates) == 1 < len(first.samples):
        _, _, drop_of = _NO_MEANS[kind_of(first)]
        upper, lower = (references[0], first) if lower_is_better(first.metric) else (first, references[0])
        interval = drop_of(upper.values, lower.values, first.label_values)
    else:
        ours, theirs = _per_seed(candidates), _per_seed(references)
        if len(ours) == len(ours[0]) == 1 and not is_share(first.metric):
            return Figure(value=float(ours[0][0] - theirs[0][0]), basis=first.basis)
        interval = stats.gain_interval(ours, theirs)
    return _figure(first, interval)


def recovered_between(
    candidates: Sequence[Measurement], references: Sequence[Measurement], best: Measurement
) -> Figure:
    """The share of the gap from references to the best that candidates close.

    Returns:
        Without an interval where the gap can't be told from none, or where one seed gives an area.
    """
    ours, theirs, (top,) = _per_seed(candidates), _per_seed(references), _per_seed([best])
    interval = _recovered_interval(ours, theirs, top)
    if interval:
        return _figure(candidates[0], interval)
    one, two, three = (fmean(map(fmean, each)) for each in (ours, theirs, [top]))
    return Figure(value=(one - two) / (three - two), samples=len(best.samples), basis=best.basis)


def _recovered_interval(
    ours: Sequence[stats.Samples], theirs: Sequence[stats.Samples], top: stats.Samples
) -> stats.Interval | None:
    if len(ours) == len(top) == 1:
        return None
    try:
        return stats.recovered_interval(ours, theirs, top)
    except MeasurementError:
        return None


def _per_seed(measurements: Sequence[Measurement]) -> list[stats.Samples]:
    """Scores of each seed so that more is better; what is no mean is one number, whatever it was made of."""
    if kind_of(measurements[0]) in _NO_MEANS:
        return [[oriented(each)] for each in measurements]
    if lower_is_better(measurements[0].metric):
        return [-each.values for each in measurements]
    return [each.values for each in measurements]


def drop_between(reference: Measurement, candidate: Measurement) -> Figure:
    """What a file lost of another's score over the same data samples; negative is a gain."""
    return replace(gain_between([reference], [candidate]), basis=candidate.basis)


def _figure(measurement: Measurement, interval: stats.Interval) -> Figure:
    return Figure(
        value=interval.estimate,
        low=interval.low,
        high=interval.high,
        samples=len(measurement.samples),
        basis=measurement.basis,
        tainted=measurement.conditions.tainted,
    )
