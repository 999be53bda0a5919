"""What long runs cost: their first minute against their last, or halves of shorter ones, and all that is between."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgekd.records import Measurement, Stretch
from edgekd.stages.report.charts import COLOURS, Chart, Spec, axis_unit, specification
from edgekd.stages.report.summary import Figure, summarise
from edgekd.stats import quantile_of_sorted
from edgekd.units import human

_MINUTE_S = 60.0
POINTS_PER_RUN = 120  # keeps the page small; of ten minutes a point is five seconds


@dataclass(frozen=True, kw_only=True)
class LongRun:
    """A file that ran for long on a target.

    Attributes:
        first: Quantiles of latency at its start, by name; of its end are `last`.
        change: Of the median, as a share of that at the start.
    """

    measurement: Measurement
    first: dict[str, Figure]
    last: dict[str, Figure]
    change: float

    @property
    def degrees(self) -> str:
        """The hottest zone before and after, in degrees Celsius, where the target tells."""
        conditions = self.measurement.conditions
        ends = (conditions.temperature_before_c, conditions.temperature_after_c)
        return " to ".join("?" if each is None else f"{each:.0f}" for each in ends) if any(ends) else ""


@dataclass(frozen=True, kw_only=True)
class _Point:
    """Some seconds of a run: when, and p10, p50 and p90 of the latency, in s."""

    start_s: float
    low: float
    p50: float
    high: float


def long_runs(measurements: Sequence[Measurement]) -> tuple[LongRun, ...]:
    """Find the long runs, and hold their start against their end."""
    return tuple(
        LongRun(
            measurement=each,
            first=summarise(replace(each, samples=each.warmup)).quantiles,
            last=summarise(each).quantiles,
            change=statistics.median(each.samples) / statistics.median(each.warmup) - 1,
        )
        for each in measurements
        if each.metric == "sustained_latency" and each.warmup and each.samples
    )


def sustained_lines(measurements: Sequence[Measurement]) -> tuple[str, ...]:
    """Say how the median latency of each long run changed, a line each.

    >>> hot = Measurement(model_sha256="", model="m.onnx", format="onnx", precision="fp32", role="student",
    ...                   target="pi", metric="sustained_latency", unit="s", samples=(0.012,), warmup=(0.01,))
    >>> sustained_lines([hot])
    ('m.onnx on pi, sustained: p50 10.0 ms at the start, 12.0 ms at the end (+20.0 %)',)
    """
    return tuple(
        f"{run.measurement.model} on {run.measurement.target}, sustained: "
        f"p50 {human(statistics.median(run.measurement.warmup), 's')} at the start, "
        f"{human(statistics.median(run.measurement.samples), 's')} at the end ({100 * run.change:+.1f} %)"
        + (", tainted" if run.measurement.conditions.tainted else "")
        for run in long_runs(measurements)
    )


def sustained_charts(found: Sequence[LongRun]) -> list[Chart]:
    """Plot the latency of every long run over its time, one chart a target."""
    runs = [run.measurement for run in found if run.measurement.course]
    charts = []
    for index, target in enumerate(dict.fromkeys(run.target for run in runs)):
        curves = [(run, _curve(run.course)) for run in runs if run.target == target]
        cut = any(point.high > _top(curve) for _, curve in curves for point in curve)
        charts.append(
            Chart(
                name=f"sustained-{index}",
                title=f"Latency over a long run on {target}",
                caption="The line is the median of some inferences of each second, the band their p10 to p90"
                + (", cut off where some of it is far above the rest. " if cut else ". ")
                + "The shaded parts are what the table compares; the dashed line is the median of the first.",
                options=tuple((run.model, _spec(run, curve)) for run, curve in curves),
                choose="File",
            )
        )
    return charts


def _spec(run: Measurement, curve: Sequence[_Point]) -> Spec:
    duration_s = _duration_s(run.course)
    part_s = min(_MINUTE_S, duration_s / 2)
    time_factor, time_unit = (_MINUTE_S, "min") if duration_s >= 3 * _MINUTE_S else (1.0, "s")
    factor, unit = axis_unit(run.warmup, "s")
    points = [
        {
            "t": _rounded(point.start_s / time_factor),
            **{name: _rounded(getattr(point, name) / factor) for name in ("low", "p50", "high")},
        }
        for point in curve
    ]
    parts = [
        {"t": _rounded(start_s / time_factor), "end": _rounded((start_s + part_s) / time_factor)}
        for start_s in (0.0, duration_s - part_s)
    ]
    bottom, top = min(point.low for point in curve), _top(curve)
    margin = 0.05 * (top - bottom or top)
    x = {
        "field": "t",
        "type": "quantitative",
        "title": f"time ({time_unit})",
        "axis": {"tickCount": 8, "labelOverlap": "greedy", "grid": False},
        "scale": {"domain": [0, _rounded(duration_s / time_factor)], "nice": False},
    }
    y = {
        "field": "p50",
        "type": "quantitative",
        "title": f"latency ({unit})",
        "axis": {"format": ".4~r", "tickCount": 5, "labelOverlap": "greedy"},
        "scale": {"domain": [_rounded((bottom - margin) / factor), _rounded((top + margin) / factor)], "nice": False},
    }
    layers: list[Spec] = [
        {
            "data": {"values": parts},
            "mark": {"type": "rect", "color": "var(--edge)", "opacity": 0.18},
            "encoding": {"x": x, "x2": {"field": "end"}},
        },
        {
            "data": {"values": [{"p50": _rounded(statistics.median(run.warmup) / factor)}]},
            "mark": {"type": "rule", "strokeDash": [6, 4], "color": "var(--edge)", "strokeWidth": 1.5},
            "encoding": {"y": y},
        },
        {
            "mark": {"type": "area", "color": COLOURS[0], "opacity": 0.25, "clip": True},
            "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
        },
        {
            "mark": {"type": "line", "color": COLOURS[0], "strokeWidth": 1.8, "point": {"size": 40, "opacity": 0}},
            "encoding": {"x": x, "y": y, "tooltip": _tooltip(x["title"], y["title"])},
        },
    ]
    description = f"Latency of {run.model} over time on {run.target}"
    return specification(description, 260, data={"values": points}, layer=layers)


def _tooltip(time_title: object, title: object) -> list[Spec]:
    shown = {"t": time_title, "p50": f"p50, {title}", "low": "p10", "high": "p90"}
    return [{"field": field, "type": "quantitative", "title": name, "format": ".4~g"} for field, name in shown.items()]


def _duration_s(course: Sequence[Stretch]) -> float:
    """Until the end of the last stretch, which took about as long as the others."""
    last_s = course[-1].start_s
    return last_s + last_s / (len(course) - 1) if len(course) > 1 else sum(course[0].samples)


def _curve(course: Sequence[Stretch]) -> list[_Point]:
    """Quantiles of equal parts of a run, at most `POINTS_PER_RUN`."""
    size = -(-len(course) // POINTS_PER_RUN)
    return [_point(course[index : index + size]) for index in range(0, len(course), size)]


def _point(part: Sequence[Stretch]) -> _Point:
    samples = np.sort([sample for each in part for sample in each.samples])
    low, p50, high = (quantile_of_sorted(samples, each) for each in (0.1, 0.5, 0.9))
    return _Point(start_s=statistics.fmean(each.start_s for each in part), low=low, p50=p50, high=high)


def _top(curve: Sequence[_Point]) -> float:
    """Where the axis ends: the median never goes higher, and of the band only peaks that would flatten all else."""
    bottom, highest = min(point.low for point in curve), max(point.high for point in curve)
    usual = max(*(point.p50 for point in curve), float(np.quantile([point.high for point in curve], 0.95)))
    return usual if highest - bottom > 2 * (usual - bottom) else highest


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
