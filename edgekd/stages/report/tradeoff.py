"""The chart of scores over size or latency."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgekd.stages.report.charts import COLOURS, Chart, Spec, axis_unit, specification
from edgekd.stages.report.comparison import Row
from edgekd.stages.report.quality import axis_of, is_share, label_of, lower_is_better
from edgekd.stages.report.summary import Figure
from edgekd.units import human

_SHAPES = {"student": "circle", "control": "triangle-up", "assistant": "square", "teacher": "diamond"}

# A file's number and row, what it costs, and its score.
_Point = tuple[int, Row, Figure, Figure]


def tradeoff(rows: Sequence[Row]) -> Chart | None:
    """Plot the score of every file over its size or latency; `None` where no file has both."""
    costs: list[tuple[str, str, list[_Point]]] = []
    for label, attribute in (("file size", "size"), ("compressed size", "compressed")):
        found = [
            (number, row, Figure(value=float(cost)), row.score)
            for number, row in enumerate(rows, 1)
            if row.score and (cost := getattr(row, attribute))
        ]
        costs.append((label, "B", found))
    for target in dict.fromkeys(each.target for row in rows for each in row.targets):
        found = [
            (number, row, each.p50, score)
            for number, row in enumerate(rows, 1)
            for each in row.targets
            if each.target == target and each.p50 and (score := each.score or row.score)
        ]
        costs.append((f"median latency on {target}{_basis(found, target, rows)}", "s", found))
    options = tuple((label, _tradeoff_spec(label, unit, found)) for label, unit, found in costs if found)
    if not options:
        return None
    metric = rows[0].metric
    name, better = label_of(metric), "Down" if lower_is_better(metric) else "Up"
    return Chart(
        name="tradeoff",
        title=f"{name[0].upper()}{name[1:]} over cost",
        caption=f"{better} and left is better. Bars are 95 % intervals; the horizontal axis is logarithmic.",
        options=options,
        key=tuple(row.model for row in rows),
    )


def _basis(found: Sequence[_Point], target: str, rows: Sequence[Row]) -> str:
    there = [each.p50 for row in rows for each in row.targets if each.target == target and each.p50]
    bases = {each.basis for each in there} | {"some tainted" for each in there if each.tainted}
    return f" ({', '.join(sorted(bases))})" if found and bases != {"measured"} else ""


def _tradeoff_spec(label: str, unit: str, found: Sequence[_Point]) -> Spec:
    factor, shown = axis_unit([cost.value for _, _, cost, _ in found], unit)
    metric = found[0][1].metric
    times, y_title = axis_of(metric)
    values: list[dict[str, Any]] = [
        {
            "n": number,
            "file": row.model,
            "role": row.role,
            "format": row.format,
            "x": round(cost.value / factor, 6),
            "cost": human(cost.value, unit) + (cost.tainted and f", tainted: {cost.tainted}"),
            "y": float(f"{score.value * times:.6g}"),
            "low": float(f"{(score.value if score.low is None else score.low) * times:.6g}"),
            "high": float(f"{(score.value if score.high is None else score.high) * times:.6g}"),
        }
        for number, row, cost, score in found
    ]
    xs = [value["x"] for value in values]
    x = {
        "field": "x",
        "type": "quantitative",
        "title": f"{label} ({shown})",
        "scale": {"type": "log", "domain": [min(xs) / 1.5, max(xs) * 1.5], "nice": False},
        "axis": {"format": "~g", "labelOverlap": "greedy", "tickCount": 6, "grid": True},
    }
    y = {
        "field": "y",
        "type": "quantitative",
        "title": y_title,
        "scale": {"zero": False, "nice": True, "padding": 12},
    }
    digits = ".2f" if is_share(metric) else ".4g"
    tooltip = [
        {"field": "file", "type": "nominal"},
        {"field": "role", "type": "nominal"},
        {"field": "y", "type": "quantitative", "title": y_title, "format": digits},
        {"field": "low", "type": "quantitative", "title": "95 % from", "format": digits},
        {"field": "high", "type": "quantitative", "title": "95 % to", "format": digits},
        {"field": "cost", "type": "nominal", "title": label},
    ]
    formats = ["onnx", "tflite", "torch", "other"]
    present = [each for each in formats if any(value["format"] == each for value in values)]
    colour = {
        "field": "format",
        "type": "nominal",
        "title": None,
        "scale": {"domain": present, "range": [COLOURS[formats.index(each)] for each in present]},
    }
    roles = {"student", "teacher", *(value["role"] for value in values)}
    shapes = {role: mark for role, mark in _SHAPES.items() if role in roles}
    shape = {
        "field": "role",
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(shapes), "range": list(shapes.values())},
        "legend": {"symbolFillColor": "var(--ink)", "symbolStrokeColor": "var(--ink)"},
    }
    layers: list[Spec] = [
        {
            "mark": {"type": "rule", "strokeWidth": 1.5, "opacity": 0.7},
            "encoding": {
                "x": x,
                "y": {**y, "field": "low"},
                "y2": {"field": "high"},
                "color": colour,
            },
        },
        {
            "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1},
            "encoding": {"x": x, "y": y, "color": colour, "shape": shape, "tooltip": tooltip},
        },
    ]
    places = _label_places(values)
    for place in dict.fromkeys(places):
        labels = [value for value, mine in zip(values, places, strict=True) if mine == place]
        layers.append(
            {
                "data": {"values": labels},
                "mark": {"type": "text", "dx": place[0], "dy": place[1], "fontSize": 12, "fontWeight": 600},
                "encoding": {"x": x, "y": y, "text": {"field": "n", "type": "nominal"}},
            }
        )
    return specification(
        f"{label_of(metric)} over {label} of {len(values)} model files", 320, data={"values": values}, layer=layers
    )


def _label_places(values: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """Choose for every point where its number stands, away from other points and numbers.

    Reckons with the narrow plot of a phone, 280 by 300 pixels; wider ones only have more room.
    """
    xs = np.log([value["x"] for value in values])
    ys = np.asarray([value["y"] for value in values], np.float64)
    bottom, top = min(value["low"] for value in values), max(value["high"] for value in values)
    points = np.stack(
        [
            (xs - xs.min() + math.log(1.5)) / (float(np.ptp(xs)) + 2 * math.log(1.5)) * 280,
            (top - ys) / max(top - bottom, 1e-9) * 300,
        ],
        axis=1,
    )
    taken = [tuple(point) for point in points]
    places = []
    for point in points:
        candidates = [(dx, dy) for dx, dy in ((13, -9), (-13, -9), (13, 9), (-13, 9), (20, 0), (-20, 0), (0, 19))]
        clear = [
            min(math.dist(point + place, other) for other in taken if other != tuple(point)) if len(taken) > 1 else 99
            for place in candidates
        ]
        best = next((i for i, room in enumerate(clear) if room > 14), int(np.argmax(clear)))
        places.append(candidates[best])
        taken.append(tuple(point + candidates[best]))
    return places
