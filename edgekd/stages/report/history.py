"""What the gates before this report saw: each metric of each file, gate after gate."""

from __future__ import annotations

from collections.abc import Sequence

from edgekd.history import Trend, trends_of, value_text
from edgekd.records import PastGate
from edgekd.stages.report.charts import COLOURS, Chart, Spec, axis_unit, specification

# Keep the page small, however many files, targets and metrics there are: `edgekd history` has all of them.
_MOST_TRENDS, _MOST_POINTS = 150, 3_000
_COMMIT_DIGITS = 9
# A limit that is this many times what was observed, or that small a part of it, would flatten the lines.
_FAR = 2.0


def past_trends(gates: Sequence[PastGate]) -> list[Trend]:
    """Find what more than one gate observed; of very many trends those of budgets, what is no pass first."""
    found = [trend for trend in trends_of(gates) if len(trend.points) > 1]
    telling = sorted(found, key=lambda trend: (not trend.latest.status, trend.latest.status == "pass"))
    kept = {id(trend) for trend in telling[:_MOST_TRENDS]}
    return [trend for trend in found if id(trend) in kept]


def history_charts(gates: Sequence[PastGate]) -> list[Chart]:
    """Plot what was observed over the gates of a recipe, oldest first; none where there are no two to join.

    >>> history_charts([])
    []
    """
    trends = past_trends(gates)
    if not trends:
        return []
    most = max(2, _MOST_POINTS // len(trends))
    options = []
    for name, target in dict.fromkeys((trend.name, trend.latest.target) for trend in trends):
        of_one = [trend for trend in trends if (trend.name, trend.latest.target) == (name, target)]
        options.append((f"{name.replace('_', ' ')} on {target or 'no target'}", _spec(gates, of_one, most)))
    return [
        Chart(
            name="history",
            title="Trends",
            caption="What each gate observed, oldest first; one line is one file. Dashed lines are limits of the last "
            "gate; those far from all that was observed are left out, and so are trends past the first "
            f"{_MOST_TRENDS}: edgekd history has them.",
            options=tuple(options),
            choose="Metric",
        )
    ]


def _spec(gates: Sequence[PastGate], trends: Sequence[Trend], most: int) -> Spec:
    numbers = {id(gate): number for number, gate in enumerate(gates, start=1)}
    first = trends[0].latest
    shown = [(trend, trend.points[-most:]) for trend in trends]
    observed = [each.figure.observed or 0.0 for _, points in shown for each in points]
    factor, unit = (0.01, "%") if first.unit == "1" else axis_unit(observed, first.unit)
    values = [
        {
            "n": numbers[id(each.gate)],
            "file": each.figure.model,
            "value": float(f"{(each.figure.observed or 0.0) / factor:.6g}"),
            "text": value_text(each.figure),
            "status": each.figure.status or "no budget",
        }
        for _, points in shown
        for each in points
    ]
    told = [
        {
            "n": number,
            "time": gate.gated_at.replace("T", " ").removesuffix("Z"),
            "run": gate.run,
            "commit": gate.commit[:_COMMIT_DIGITS],
        }
        for number, gate in enumerate(gates, start=1)
    ]
    limits = {trend.latest.limit for trend in trends if trend.latest.limit is not None}
    near = sorted(each for each in limits if min(observed) / _FAR <= each <= _FAR * max(observed))
    title = first.metric.replace("_", " ") + (f" ({unit})" if unit else "")
    y = {
        "field": "value",
        "type": "quantitative",
        "title": title,
        "scale": {"zero": False},
        "axis": {"format": ".4~r", "tickCount": 5, "labelOverlap": "greedy"},
    }
    x = {
        "field": "n",
        "type": "quantitative",
        "title": "gate",
        "axis": {"tickMinStep": 1, "tickCount": 8, "format": "d", "labelOverlap": "greedy", "grid": False},
        "scale": {"zero": False, "nice": False, "padding": 12},
    }
    files = list(dict.fromkeys(trend.latest.model for trend in trends))
    colours = [COLOURS[index % len(COLOURS)] for index in range(len(files))]
    layers: list[Spec] = [
        {
            "transform": [
                {
                    "lookup": "n",
                    "from": {"data": {"values": told}, "key": "n", "fields": ["time", "run", "commit"]},
                }
            ],
            "mark": {"type": "line", "strokeWidth": 1.8, "point": {"size": 40}},
            "encoding": {
                "x": x,
                "y": y,
                "color": {
                    "field": "file",
                    "type": "nominal",
                    "title": None,
                    "legend": {"columns": 2},
                    "scale": {"domain": files, "range": colours},
                },
                "tooltip": [
                    {"field": field, "type": "nominal", "title": name}
                    for field, name in {
                        "file": "file",
                        "text": "observed",
                        "status": "status",
                        "time": "time (UTC)",
                        "run": "run",
                        "commit": "commit",
                    }.items()
                ],
            },
        }
    ]
    if near:
        layers.append(
            {
                "data": {"values": [{"value": float(f"{limit / factor:.6g}")} for limit in near]},
                "mark": {"type": "rule", "strokeDash": [6, 4], "color": "var(--edge)", "strokeWidth": 1.5},
                "encoding": {"y": y},
            }
        )
    description = f"{title} over {len(gates)} gates of {', '.join(files)}"
    return specification(description, 260, data={"values": values}, layer=layers)
