"""The charts of classes: recall and precision, what is taken for what, and confidence against how often it is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgekd import stats
from edgekd.stages.report.charts import COLOURS, Chart, Spec, specification
from edgekd.stages.report.classes import ClassFigures, FileClasses

CLASSES_SHOWN = 30
_LANE = 18  # pixels of height for one class
_NAME_PIXELS = 140
_RECALL, _PRECISION = "recall", "precision"


def class_charts(files: Sequence[FileClasses]) -> list[Chart]:
    """Plot each file's classes, its mistakes where there are few classes, and its confidences."""
    charts = [_fares(files)]
    if matrices := [each for each in files if each.counts]:
        charts.append(_confusion(matrices))
    if sure := [each for each in files if each.bins]:
        charts.append(_reliability(sure))
    return charts


def _options(files: Sequence[FileClasses], specs: Sequence[Spec]) -> tuple[tuple[str, Spec], ...]:
    return tuple((f"{each.model} on {each.target}", spec) for each, spec in zip(files, specs, strict=True))


def _percent(value: float) -> float:
    return float(f"{100 * value:.5g}")


def _fares(files: Sequence[FileClasses]) -> Chart:
    most = max(len(each.names) for each in files)
    few = f" The worst {CLASSES_SHOWN} classes are drawn." if most > CLASSES_SHOWN else ""
    return Chart(
        name="recall",
        title="Recall and precision of classes",
        caption="The worst recall is on top. Dots are recall, the share of a class's samples that is found, with its "
        "95 % interval; diamonds are precision, the share of samples taken for the class that is of it. Of 20 classes "
        f"one is outside of its interval by chance.{few}",
        options=_options(files, [_fare_spec(each) for each in files]),
        choose="File",
    )


def _fare_spec(file: FileClasses) -> Spec:
    shown = file.classes[:CLASSES_SHOWN]
    values = [row for each in shown for row in _fare_rows(each)]
    lowest = min((row.get("l", row["v"]) for row in values), default=0.0)
    x = {
        "field": "v",
        "type": "quantitative",
        "title": "share (%)",
        "scale": {"domain": [max(0.0, lowest - 2), 100], "nice": False},
        "axis": {"format": ".4~r", "tickCount": 6, "labelOverlap": "greedy"},
    }
    y = {
        "field": "c",
        "type": "nominal",
        "title": None,
        "sort": [each.name for each in shown],
        "axis": {"labelLimit": _NAME_PIXELS, "ticks": False, "domain": False, "grid": True},
    }
    kinds = [_RECALL, _PRECISION]
    colour = {
        "field": "k",
        "type": "nominal",
        "title": None,
        "scale": {"domain": kinds, "range": COLOURS[:2]},
        "legend": {"columns": 2},
    }
    shape = {"field": "k", "type": "nominal", "title": None, "scale": {"domain": kinds, "range": ["circle", "diamond"]}}
    tooltip = [
        {"field": "c", "type": "nominal", "title": "class"},
        {"field": "k", "type": "nominal", "title": " "},
        {"field": "v", "type": "quantitative", "title": "%", "format": ".4"},
        {"field": "t", "type": "nominal", "title": "of"},
    ]
    return specification(
        f"Recall and precision of {len(shown)} classes of {file.model} on {file.target}",
        _LANE * len(shown) + 20,
        data={"values": values},
        layer=[
            {
                "transform": [{"filter": f"datum.k === '{_RECALL}'"}],
                "mark": {"type": "rule", "strokeWidth": 2, "opacity": 0.6},
                "encoding": {"x": {**x, "field": "l"}, "x2": {"field": "h"}, "y": y, "color": colour},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
                "encoding": {"x": x, "y": y, "color": colour, "shape": shape, "tooltip": tooltip},
            },
        ],
    )


def _fare_rows(each: ClassFigures) -> list[dict[str, Any]]:
    rows = []
    for kind, figure in ((_RECALL, each.recall), (_PRECISION, each.precision)):
        if figure and figure.low is not None and figure.high is not None:
            row = {"c": each.name, "k": kind, "v": _percent(figure.value), "t": f"{figure.samples} samples"}
            ends = {"l": _percent(figure.low), "h": _percent(figure.high)}
            rows.append(row | ends if kind == _RECALL else row)
    return rows


def _confusion(files: Sequence[FileClasses]) -> Chart:
    return Chart(
        name="confusion",
        title="What is taken for what",
        caption="Each row is a true class, each column what the file predicts; numbers are test samples. What is right "
        "is in one colour, mistakes in another, darker the larger their share of the row.",
        options=_options(files, [_confusion_spec(each) for each in files]),
        choose="File",
    )


def _confusion_spec(file: FileClasses) -> Spec:
    size = len(file.names)
    totals = [max(sum(row), 1) for row in file.counts]
    worst = max((file.counts[i][j] / totals[i] for i in range(size) for j in range(size) if i != j), default=0.0) or 1.0
    cells = []
    for i, row in enumerate(file.counts):
        for j, count in enumerate(row):
            if count:
                share = count / totals[i]
                depth = 0.1 + 0.9 * (share if i == j else share / worst)
                cells.append(
                    {"t": file.names[i], "p": file.names[j], "n": count, "s": _percent(share), "o": round(depth, 2)}
                )
    names = list(file.names)
    axis = {"labelLimit": 110, "ticks": False, "domain": False}
    place = {
        "x": {
            "field": "p",
            "type": "nominal",
            "sort": names,
            "title": "predicted",
            "scale": {"domain": names},
            "axis": {**axis, "orient": "top", "labelAngle": -60 if max(map(len, names)) > 3 else 0},
        },
        "y": {
            "field": "t",
            "type": "nominal",
            "sort": names,
            "title": "true",
            "scale": {"domain": names},
            "axis": axis,
        },
    }
    return specification(
        f"Confusion matrix of {size} classes of {file.model} on {file.target}",
        max(24 * size, 90),
        data={"values": cells},
        layer=[
            {
                "mark": {"type": "rect", "cornerRadius": 2},
                "encoding": {
                    **place,
                    "color": {
                        "condition": {"test": "datum.t === datum.p", "value": COLOURS[0]},
                        "value": COLOURS[1],
                    },
                    "opacity": {"field": "o", "type": "quantitative", "scale": None, "legend": None},
                    "tooltip": [
                        {"field": "t", "type": "nominal", "title": "true"},
                        {"field": "p", "type": "nominal", "title": "predicted"},
                        {"field": "n", "type": "quantitative", "title": "samples"},
                        {"field": "s", "type": "quantitative", "title": "% of the true class", "format": ".3"},
                    ],
                },
            },
            {
                "mark": {"type": "text", "fontSize": 11},
                "encoding": {
                    **place,
                    "text": {"field": "n", "type": "quantitative"},
                    "color": {"condition": {"test": "datum.o > 0.7", "value": "var(--paper)"}, "value": "var(--ink)"},
                },
            },
        ],
    )


def _reliability(files: Sequence[FileClasses]) -> Chart:
    return Chart(
        name="reliability",
        title="Confidence against how often it is right",
        caption=f"Each dot is one of {stats.CALIBRATION_BINS} groups of as many samples each, by confidence, with the "
        "95 % interval of its share right. On the line confidence says what happens; below it the file is too sure of "
        "itself.",
        options=_options(files, [_reliability_spec(each) for each in files]),
        choose="File",
    )


def _reliability_spec(file: FileClasses) -> Spec:
    values = []
    for each in file.bins:
        interval = stats.proportion_interval(each.right, each.samples)
        values.append(
            {
                "c": _percent(each.confidence),
                "r": _percent(interval.estimate),
                "l": _percent(interval.low),
                "h": _percent(interval.high),
                "n": each.samples,
            }
        )
    ends = [max(0.0, min(min(each["c"], each["l"]) for each in values) - 2), 100.0]
    scale = {"domain": ends, "nice": False, "zero": False}
    axis = {"format": ".4~r", "tickCount": 6}
    x = {"field": "c", "type": "quantitative", "title": "mean confidence (%)", "scale": scale, "axis": axis}
    y = {"field": "r", "type": "quantitative", "title": "share right (%)", "scale": scale, "axis": axis}
    return specification(
        f"Reliability of the confidences of {file.model} on {file.target}",
        280,
        layer=[
            {
                "data": {"values": [{"c": end, "r": end} for end in ends]},
                "mark": {"type": "line", "color": "var(--edge)", "strokeDash": [4, 4]},
                "encoding": {"x": x, "y": y},
            },
            {
                "data": {"values": values},
                "mark": {"type": "rule", "strokeWidth": 2, "color": COLOURS[0], "opacity": 0.6},
                "encoding": {"x": x, "y": {**y, "field": "l"}, "y2": {"field": "h"}},
            },
            {
                "data": {"values": values},
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1, "color": COLOURS[0]},
                "encoding": {
                    "x": x,
                    "y": y,
                    "tooltip": [
                        {**x, "title": "mean confidence (%)", "format": ".4"},
                        {**y, "title": "share right (%)", "format": ".4"},
                        {"field": "n", "type": "quantitative", "title": "samples"},
                    ],
                },
            },
        ],
    )
