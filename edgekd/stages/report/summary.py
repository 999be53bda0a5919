"""Summaries of raw samples: quantiles, proportions and facts, with their intervals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from edgekd import stats
from edgekd.records import Basis, Conditions, Measurement
from edgekd.units import METRICS

Kind = Literal["quantiles", "proportion", "fact"]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number in its base unit, with the ends of its 95 % interval where it has one.

    Attributes:
        samples: How many raw samples stand behind it.
    """

    value: float
    low: float | None = None
    high: float | None = None
    samples: int = 1
    basis: Basis = "measured"


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One metric of one file on one target.

    Attributes:
        kind: `proportion` of zeros and ones, `quantiles` of times, or one `fact`.
        figure: The proportion, the fact, or the median where the number of samples supports one.
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
    if (known.dimension if known else "") == "share" or (
        measurement.unit == "1" and len(measurement.samples) > 1 and set(measurement.samples) <= {0, 1}
    ):
        return "proportion"
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
        key = (each.model_sha256, each.target, each.metric, each.unit, each.basis, conditions)
        first = found.get(key)
        if first is None:
            found[key] = each
        elif kind_of(each) == "quantiles" or each.unit == "B":
            found[key] = first.merge(each)
        elif each.started_at >= first.started_at:
            found[key] = each
    return list(found.values())


def summarise(measurement: Measurement) -> Summary:
    """Compute quantiles, a proportion or a fact, with 95 % intervals, from raw samples."""
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
    summary = replace(summary, minimum=float(min(measurement.samples)), maximum=float(max(measurement.samples)))
    if kind == "proportion":
        return replace(summary, figure=proportion(measurement))
    if kind == "fact":
        # Memory may have been read several times; what must fit is the largest.
        largest = float(max(measurement.samples))
        return replace(
            summary,
            figure=Figure(value=largest, low=largest, high=largest, samples=count, basis=measurement.basis),
        )
    quantiles = {
        name: _figure(measurement, stats.quantile_interval(measurement.samples, stats.QUANTILES[name]))
        for name in stats.supported_quantiles(count)
    }
    return replace(summary, figure=quantiles.get("p50"), quantiles=quantiles)


def proportion(measurement: Measurement) -> Figure:
    """A share of ones with its interval."""
    return _figure(measurement, stats.proportion_interval(round(sum(measurement.samples)), len(measurement.samples)))


def drop_between(reference: Measurement, candidate: Measurement) -> Figure:
    """Accuracy lost from one file to another over the same data samples, as a share; negative is a gain."""
    return _figure(candidate, stats.paired_drop_interval(reference.samples, candidate.samples))


def _figure(measurement: Measurement, interval: stats.Interval) -> Figure:
    return Figure(
        value=interval.estimate,
        low=interval.low,
        high=interval.high,
        samples=len(measurement.samples),
        basis=measurement.basis,
    )
