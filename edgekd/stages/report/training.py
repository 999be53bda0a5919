"""The charts of validation accuracy and losses over epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from edgekd.records import EpochRecord
from edgekd.stages.report.charts import COLOURS, Chart, specification


def training(histories: Mapping[str, Sequence[EpochRecord]]) -> list[Chart]:
    """Plot validation accuracy and losses over epochs of every network that was trained."""
    curves = {name: records for name, records in histories.items() if records}
    if not curves:
        return []
    names = list(curves)
    colour = {
        "field": "network",
        "type": "nominal",
        "title": None,
        "legend": {"columns": 3},
        "scale": {"domain": names, "range": [COLOURS[i % len(COLOURS)] for i in range(len(names))]},
    }
    x = {
        "field": "epoch",
        "type": "quantitative",
        "title": "epoch",
        "axis": {"tickMinStep": 1, "tickCount": 8, "format": "d", "labelOverlap": "greedy"},
        "scale": {"zero": False, "nice": False},
    }
    # One epoch makes no line; many make points a smear.
    point = {"size": 24} if max(map(len, curves.values())) <= 60 else {"size": 12, "opacity": 0}
    line = {"type": "line", "point": point, "strokeWidth": 1.8}
    accuracies = [
        {"network": name, "epoch": record.epoch, "value": _share(record.validation_score)}
        for name, records in curves.items()
        for record in records
    ]
    losses: list[dict[str, Any]] = [
        {"network": name, "epoch": record.epoch, "of": part, "value": _finite(getattr(record, f"{part}_loss"))}
        for name, records in curves.items()
        for record in records
        for part in ("train", "validation")
    ]
    tooltip = [{"field": "network", "type": "nominal"}, {"field": "epoch", "type": "quantitative"}]
    accuracy = specification(
        f"Validation accuracy over epochs of {', '.join(names)}",
        240,
        data={"values": accuracies},
        mark=line,
        encoding={
            "x": x,
            "y": {
                "field": "value",
                "type": "quantitative",
                "title": "validation accuracy (%)",
                "scale": {"zero": False},
            },
            "color": colour,
            "tooltip": [
                *tooltip,
                {"field": "value", "type": "quantitative", "title": "validation accuracy (%)", "format": ".2f"},
            ],
        },
    )
    present = [float(each["value"]) for each in losses if each["value"] is not None]
    log = bool(present) and min(present) > 0 and max(present) / min(present) > 20
    value = {
        "field": "value",
        "type": "quantitative",
        "title": "loss",
        "scale": {"type": "log"} if log else {"zero": False},
        "axis": {"format": "~g", "tickCount": 5, "labelOverlap": "greedy"},
    }
    loss = specification(
        f"Losses over epochs of {', '.join(names)}",
        240,
        data={"values": losses},
        encoding={"x": x, "y": value, "color": colour},
        layer=[
            {
                "mark": {"type": "line", "strokeWidth": 1.8},
                "encoding": {
                    "strokeDash": {
                        "field": "of",
                        "type": "nominal",
                        "title": None,
                        "scale": {"domain": ["train", "validation"], "range": [[1, 0], [5, 4]]},
                        "legend": {"symbolType": "stroke", "symbolSize": 400, "symbolStrokeColor": "var(--ink)"},
                    }
                },
            },
            {
                # Points that are not seen carry the tooltips: seen ones would hide the dashes.
                "mark": {"type": "circle", "size": 60, "opacity": 0},
                "encoding": {
                    "tooltip": [
                        *tooltip,
                        {"field": "of", "type": "nominal", "title": "loss of"},
                        {"field": "value", "type": "quantitative", "title": "loss", "format": ".4g"},
                    ]
                },
            },
        ],
    )
    ends = ", ".join(
        f"{name} {records[-1].validation_score * 100:.2f} % after {len(records)} epochs"
        for name, records in curves.items()
    )
    log_note = " The axis is logarithmic." if log else ""
    return [
        Chart(name="accuracy", title="Validation accuracy", caption=f"Last: {ends}.", options=(("", accuracy),)),
        Chart(
            name="loss",
            title="Losses",
            caption=f"Solid: training; dashed: validation.{log_note}",
            options=(("", loss),),
        ),
    ]


def _share(value: float) -> float | None:
    return round(value * 100, 4) if math.isfinite(value) else None


def _finite(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
