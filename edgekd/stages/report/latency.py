"""The charts of raw latency samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgekd.records import Measurement
from edgekd.stages.report.charts import COLOURS, Chart, axis_unit, specification, thinned
from edgekd.stages.report.comparison import Row
from edgekd.stages.report.summary import summarise
from edgekd.units import human

POINTS_PER_FILE = 500
POINTS_PER_REPORT = 8000  # keeps the page well below 1.5 MB, however many files there are
_LANE = 58  # pixels of height for one file's strip


def latencies(measurements: Sequence[Measurement], rows: Sequence[Row]) -> list[Chart]:
    """Plot the raw latency samples of every file, one chart a target."""
    found = [each for each in measurements if each.metric == "latency" and each.samples and each.basis != "estimated"]
    numbers = {row.sha256: number for number, row in enumerate(rows, 1)}
    found.sort(key=lambda each: numbers.get(each.model_sha256, 0))
    cap = max(20, min(POINTS_PER_FILE, POINTS_PER_REPORT // max(len(found), 1)))
    charts = []
    for index, target in enumerate(dict.fromkeys(each.target for each in measurements)):
        here = [each for each in found if each.target == target]
        if here:
            charts.append(_latency_chart(f"latency-{index}", target, here, numbers, cap))
    return charts


def _latency_chart(name: str, target: str, here: Sequence[Measurement], numbers: Mapping[str, int], cap: int) -> Chart:
    everything = np.concatenate([each.values for each in here])
    factor, unit = axis_unit(everything, "s")
    log = bool(everything.min() > 0 and everything.max() / everything.min() > 10)
    points, marks, heads = [], [], []
    for lane, each in enumerate(here):
        summary = summarise(each)
        row = {"file": each.model, "lane": lane}
        words = ", ".join(f"{q} {human(figure.value, 's')}" for q, figure in summary.quantiles.items() if q != "p99")
        few = f"{len(each.samples)} runs" + ("" if words else ", too few for quantiles")
        basis = "" if each.basis == "measured" else f", {each.basis}"
        tainted = each.conditions.tainted and f", tainted: {each.conditions.tainted}"
        heads.append(
            {
                "lane": lane - 0.36,
                "file": each.model,
                "text": f"{numbers.get(each.model_sha256, '')}  {_short(each.model)}{', tainted' if tainted else ''}",
                "more": f"{words + ', ' if words else ''}{few}{basis}{tainted}",
            }
        )
        for order, sample in enumerate(thinned(np.sort(each.values).tolist(), cap)):
            # The golden ratio spreads neighbours apart, the same way every time.
            jitter = (order * 0.618033988749895) % 1 - 0.5
            points.append({"f": lane, "v": float(f"{sample / factor:.5g}"), "y": round(lane + 0.14 + jitter * 0.34, 3)})
        for q, figure in summary.quantiles.items():
            if q != "p99":
                marks.append({**row, "q": q, "x": figure.value / factor, "y": lane - 0.06, "y2": lane + 0.34})
    x = {
        "field": "v",
        "type": "quantitative",
        "title": f"latency ({unit})",
        "scale": {"type": "log", "nice": False, "padding": 8} if log else {"zero": False, "padding": 8},
        # Not ~g: Vega chooses so few digits for it that 120 becomes 1.2e+2.
        "axis": {"format": ".4~r", "tickCount": 6, "labelOverlap": "greedy"},
    }
    y = {
        "field": "y",
        "type": "quantitative",
        "axis": None,
        "scale": {"domain": [-0.62, len(here) - 0.55], "reverse": True, "nice": False, "zero": False},
    }
    spec = specification(
        f"Latency of every run of {len(here)} model files on {target}",
        _LANE * len(here) + 10,
        layer=[
            {
                "data": {"values": points},
                "mark": {"type": "circle", "size": 12, "opacity": 0.4, "color": COLOURS[0]},
                "encoding": {"x": x, "y": y, "tooltip": {**x, "format": ".4g"}},
            },
            {
                "data": {"values": marks},
                "mark": {"type": "rule", "strokeWidth": 2.5, "color": COLOURS[1]},
                "encoding": {
                    "x": {**x, "field": "x"},
                    "y": y,
                    "y2": {"field": "y2"},
                    "tooltip": [
                        {"field": "file", "type": "nominal"},
                        {"field": "q", "type": "nominal", "title": "quantile"},
                        {"field": "x", "type": "quantitative", "title": f"latency ({unit})", "format": ".4g"},
                    ],
                },
            },
            {
                "data": {"values": heads},
                "mark": {"type": "text", "align": "left", "x": 0, "fontSize": 12},
                "encoding": {
                    "x": {"value": 2},
                    "y": {**y, "field": "lane"},
                    "text": {"field": "text", "type": "nominal"},
                    "tooltip": [
                        {"field": "file", "type": "nominal"},
                        {"field": "more", "type": "nominal", "title": ""},
                    ],
                },
            },
        ],
    )
    most = max(len(each.samples) for each in here)
    shown = f" At most {cap} of up to {most} runs are drawn, evenly chosen by rank." if most > cap else ""
    log_note = " The axis is logarithmic." if log else ""
    taint_note = " Tainted times prove nothing." if any(each.conditions.tainted for each in here) else ""
    return Chart(
        name=name,
        title=f"Latency on {target}",
        caption=f"Every dot is one run; upright lines are p50 and p90.{log_note}{shown}{taint_note}",
        options=(("", spec),),
    )


def _short(name: str, longest: int = 40) -> str:
    return name if len(name) <= longest else f"{name[: longest // 2]}…{name[-longest // 2 :]}"
