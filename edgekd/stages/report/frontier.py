"""Every file by two of its metrics, budgets as lines, and the files that no other beats in both."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgekd.records import Release
from edgekd.stages.report.charts import CONFIG
from edgekd.stages.report.comparison import Row, TargetFigures
from edgekd.stages.report.quality import is_share, label_of, lower_is_better, points_text, score_text
from edgekd.stages.report.summary import Figure
from edgekd.units import human
from edgekd.verdict import describe_budget

# A value with the ends of its interval, in the axis's unit; in words; and what is not as it should be of it.
Value = tuple[float, float, float, str, str]
_NO_TARGET = "none"
# Key, label, unit, and what a budget calls it.
_COSTS = (
    ("size", "file size", "B", ("file_size", None)),
    ("compressed", "compressed size", "B", ("compressed_size", None)),
    ("parameters", "parameters", "", None),
    ("p50", "latency p50", "s", ("latency", "p50")),
    ("p90", "latency p90", "s", ("latency", "p90")),
    ("p99", "latency p99", "s", ("latency", "p99")),
    ("first_inference", "first inference", "s", ("first_inference", None)),
    ("load", "load time", "s", ("load_time", None)),
    ("peak_memory", "peak memory", "B", ("peak_memory", None)),
    ("arena", "arena size", "B", ("arena_size", None)),
    ("sram", "SRAM", "B", ("sram_size", None)),
    ("dram", "DRAM", "B", ("dram_size", None)),
    ("flash", "flash", "B", ("flash_size", None)),
    ("energy", "energy of an inference", "J", ("energy", None)),
)
_OF_FILE = ("size", "compressed", "parameters")


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A metric that files differ in.

    Attributes:
        unit: `B`, `s` or `J`, which the page writes with a prefix; `%`; `pt`; or none.
        log: Whether ratios count rather than differences.
        budget: Metric and statistic of the budgets that limit it.
    """

    key: str
    label: str
    unit: str
    less_is_better: bool
    log: bool
    budget: tuple[str, str | None] | None


@dataclass(frozen=True, kw_only=True)
class Point:
    """One file on one target.

    Attributes:
        number: Of the file, from 1, as the table of files has it.
        values: By key of the axis.
    """

    number: int
    row: Row
    target: str
    values: Mapping[str, Value]


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row of the table: one file in one view.

    Attributes:
        best: Whether it is on the frontier.
    """

    number: int
    model: str
    x: str
    y: str
    best: bool


@dataclass(frozen=True, kw_only=True)
class Frontier:
    """All that the chart and its table can show.

    Attributes:
        view: Target and keys of both axes that are shown first.
        data: The same as JSON for the page's script.
    """

    axes: tuple[Axis, ...]
    points: tuple[Point, ...]
    targets: tuple[str, ...]
    view: tuple[str, str, str]
    lines: tuple[Line, ...]
    data: Mapping[str, Any]

    def label(self, key: str) -> str:
        """What an axis is called."""
        return next(axis.label for axis in self.axes if axis.key == key)


def frontier_of(rows: Sequence[Row], release: Release | None = None) -> Frontier | None:
    """Gather every file's metrics on every target; `None` where no two metrics are known of one file.

    >>> frontier_of(()) is None
    True
    """
    points = list(_points(rows))
    known = {key for point in points for key in point.values}
    axes = tuple(axis for axis in _axes(rows[0].metric if rows else "accuracy") if axis.key in known)
    view = _first_view(points, axes)
    if view is None:
        return None
    targets = tuple(dict.fromkeys(point.target for point in points))
    best = {
        _view_name(target, one.key, other.key): numbers
        for target in targets
        for one, other in itertools.combinations(axes, 2)
        if (numbers := _unbeaten(points, target, one, other))
    }
    unbeaten = best.get(_view_name(*view), [])
    lines = tuple(
        Line(
            number=point.number,
            model=point.row.model,
            x=point.values[view[1]][3],
            y=point.values[view[2]][3],
            best=point.number in unbeaten,
        )
        for point in points
        if point.target == view[0] and {*view[1:]} <= {*point.values}
    )
    return Frontier(
        axes=axes,
        points=tuple(points),
        targets=targets,
        view=view,
        lines=lines,
        data=_data(points, axes, targets, view, best, release),
    )


def _axes(metric: str) -> Iterator[Axis]:
    """In the order in which people choose: first what a file is worth, then what it costs."""
    share = is_share(metric)
    less = lower_is_better(metric)
    yield Axis(
        key="score",
        label=label_of(metric),
        unit="%" if share else "",
        less_is_better=less,
        log=False,
        budget=(metric, None),
    )
    loss = f"{metric}_{'drop' if share else 'increase'}"
    yield Axis(
        key="drop",
        label=f"{label_of(metric)} lost against the teacher",
        unit="pt" if share else "",
        less_is_better=True,
        log=False,
        budget=(loss, None),
    )
    for key, label, unit, budget in _COSTS:
        yield Axis(key=key, label=label, unit=unit, less_is_better=True, log=True, budget=budget)


def _points(rows: Sequence[Row]) -> Iterator[Point]:
    """Every file on every target, with what is known of it there and what is known of it anywhere."""
    costs = [key for key, *_ in _COSTS if key not in _OF_FILE]
    found = dict.fromkeys(
        line.target for row in rows for line in row.targets if any(getattr(line, key) for key in costs)
    )
    for number, row in enumerate(rows, 1):
        everywhere = dict(_values_of(row, TargetFigures(target="", score=row.score, drop=row.drop)))
        for target in found or [_NO_TARGET]:
            # Where one target gave several lines under different conditions, the first stands for it.
            line = next((each for each in row.targets if each.target == target), TargetFigures(target=target))
            yield Point(number=number, row=row, target=target, values={**everywhere, **dict(_values_of(row, line))})


def _values_of(row: Row, line: TargetFigures) -> Iterator[tuple[str, Value]]:
    share = is_share(row.metric)
    if line.score:
        yield "score", _value(line.score, 100.0 if share else 1.0, score_text(line.score.value, row.metric))
    if line.drop:
        yield "drop", _value(line.drop, 100.0 if share else 1.0, points_text(line.drop.value, row.metric))
    for key, _, unit, _ in _COSTS:
        if key in _OF_FILE:
            amount: int | None = getattr(row, key)
            figure = Figure(value=float(amount)) if amount else None
        else:
            figure = getattr(line, key)
        if figure and figure.value > 0:
            yield key, _value(figure, 1.0, human(figure.value, unit) if unit else f"{figure.value:,.0f}")


def _value(figure: Figure, factor: float, words: str) -> Value:
    low = figure.value if figure.low is None else figure.low
    high = figure.value if figure.high is None else figure.high
    note = "tainted" if figure.tainted else "" if figure.basis == "measured" else figure.basis
    value, low, high = (float(f"{each * factor:.6g}") for each in (figure.value, low, high))
    why = f"tainted: {figure.tainted}" if figure.tainted else note
    return value, low, high, f"{words}, {why}" if why else words, note


def _first_view(points: Sequence[Point], axes: Sequence[Axis]) -> tuple[str, str, str] | None:
    """The run's metric over latency where that is known of two files, else over size, else any two that are known."""
    keys = [axis.key for axis in axes]
    pairs = [
        *(("p50", "score"), ("size", "score"), ("p50", "size")),
        *((x, y) for y, x in itertools.combinations(keys, 2)),
    ]
    for least in (2, 1):
        for x, y in pairs:
            for target in dict.fromkeys(point.target for point in points):
                found = [each for each in points if each.target == target and {x, y} <= {*each.values}]
                if len(found) >= least:
                    return target, x, y
    return None


def _unbeaten(points: Sequence[Point], target: str, one: Axis, other: Axis) -> list[int]:
    """Numbers of the files than which none is better in one of two metrics and no worse in the other."""
    found = [
        (
            point.values[one.key][0] * (1 if one.less_is_better else -1),
            point.values[other.key][0] * (1 if other.less_is_better else -1),
            point.number,
        )
        for point in points
        if point.target == target and one.key in point.values and other.key in point.values
    ]
    return [number for x, y, number in found if not any(u <= x and v <= y and (u, v) != (x, y) for u, v, _ in found)]


def _view_name(target: str, x: str, y: str) -> str:
    return "|".join((target, *sorted((x, y))))


def _data(
    points: Sequence[Point],
    axes: Sequence[Axis],
    targets: Sequence[str],
    view: tuple[str, str, str],
    best: Mapping[str, Sequence[int]],
    release: Release | None,
) -> dict[str, Any]:
    return {
        "config": CONFIG,
        "view": view,
        "axes": {
            axis.key: {
                "label": axis.label,
                "unit": axis.unit,
                "less": axis.less_is_better,
                "log": axis.log,
            }
            for axis in axes
        },
        "files": [
            {"name": row.model, "role": row.role, "format": row.format, "precision": row.precision}
            for row in {point.number: point.row for point in points}.values()
        ],
        "points": [
            {"n": point.number, "target": targets.index(point.target), "values": point.values} for point in points
        ],
        "best": best,
        "limits": list(_limits(axes, targets, release)),
    }


def _limits(axes: Sequence[Axis], targets: Sequence[str], release: Release | None) -> Iterator[dict[str, Any]]:
    """Budgets as values of axes, each once for every target that it limits; a file's own limits hold on all."""
    seen = set()
    for check in release.checks if release else ():
        budget = check.budget
        for axis in axes:
            if axis.budget is None or axis.budget[0] != budget.metric or axis.budget[1] not in (None, budget.statistic):
                continue
            of_file = axis.key in _OF_FILE or check.target not in targets
            place = None if of_file else targets.index(check.target)
            value = check.limit * (100 if axis.unit in ("%", "pt") else 1)
            words = " ".join(
                [describe_budget(budget), *(f"({each})" for each in (budget.format, budget.precision) if each)]
            )
            if (key := (axis.key, place, value, words)) not in seen:
                seen.add(key)
                yield {"axis": axis.key, "target": place, "value": float(f"{value:.6g}"), "text": words}
