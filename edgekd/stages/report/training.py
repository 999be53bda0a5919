"""The charts of validation scores and losses over epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from edgekd.records import EpochRecord
from edgekd.stages.report.charts import COLOURS, Chart, Spec, specification, thinned
from edgekd.stages.report.quality import axis_of, is_share, label_of, score_text
from edgekd.stages.report.seeds import group_of, groups_of

EPOCHS = {
    "field": "epoch",
    "type": "quantitative",
    "title": "epoch",
    "axis": {"tickMinStep": 1, "tickCount": 8, "format": "d", "labelOverlap": "greedy"},
    "scale": {"zero": False, "nice": False},
}


def training(histories: Mapping[str, Sequence[EpochRecord]]) -> list[Chart]:
    """Plot validation scores and losses over epochs of every network that was trained.

    Networks that differ only in their seed share a colour; with several seeds the losses of one network at a
    time are drawn.
    """
    curves = {name: records for name, records in histories.items() if records}
    if not curves:
        return []
    groups = groups_of(curves)
    many = len(groups) < len(curves)
    colours = {group: COLOURS[i % len(COLOURS)] for i, group in enumerate(groups)}
    log = _spread(curves) > 20
    losses = [("all", _losses(curves, colours, log=log))]
    if many:
        losses = [
            (group, _losses({name: curves[name] for name in names}, {group: colours[group]}, log=log))
            for group, names in _student_first(groups).items()
        ]
    log_note = " The axis is logarithmic." if log else ""
    metric = next(iter(curves.values()))[-1].metric
    seeds_note = " Each line is a seed." if many else ""
    return [
        Chart(
            name="score",
            title=f"Validation {label_of(metric)}",
            caption=f"Last: {_ends(curves, groups)}.{seeds_note}",
            options=(("", _scores(curves, colours, metric)),),
        ),
        Chart(
            name="loss",
            title="Losses",
            caption=f"Solid: training; dashed: validation.{log_note}{seeds_note}",
            options=tuple(losses),
            choose="Network",
        ),
    ]


def _student_first(groups: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return dict(sorted(groups.items(), key=lambda group: group[0] != "student"))


def _ends(curves: Mapping[str, Sequence[EpochRecord]], groups: Mapping[str, Sequence[str]]) -> str:
    """Say where every network ended, those of several seeds together."""
    words = []
    for group, names in groups.items():
        last = [curves[name][-1] for name in names]
        scores = sorted(record.validation_score for record in last)
        lengths = sorted(len(curves[name]) for name in names)
        span = _span([score_text(score, last[0].metric) for score in (scores[0], scores[-1])])
        seeds = f" ({len(names)} seeds)" if len(names) > 1 else ""
        epochs = "1 epoch" if lengths[-1] == 1 else f"{_span([str(lengths[0]), str(lengths[-1])])} epochs"
        words.append(f"{group} {span} after {epochs}{seeds}")
    return ", ".join(words)


def _span(ends: Sequence[str]) -> str:
    low, high = ends
    if low == high:
        return low
    return f"{low.removesuffix(' %')} to {high}" if high.endswith(" %") else f"{low} to {high}"


def _line(curves: Mapping[str, Sequence[EpochRecord]]) -> Spec:
    # One epoch makes no line; many make points a smear.
    few = max(map(len, curves.values())) <= 60 and len(curves) <= 4
    return {
        "type": "line",
        "point": {"size": 24} if few else {"size": 12, "opacity": 0},
        "strokeWidth": 1.8 if few else 1.4,
    }


def _colour(colours: Mapping[str, str]) -> Spec:
    return {
        "field": "network",
        "type": "nominal",
        "title": None,
        "legend": {"columns": 3},
        "scale": {"domain": list(colours), "range": list(colours.values())},
    }


def _tooltip(*fields: Spec) -> list[Spec]:
    return [
        {"field": "name", "type": "nominal", "title": "network"},
        {"field": "epoch", "type": "quantitative"},
        *fields,
    ]


def _scores(curves: Mapping[str, Sequence[EpochRecord]], colours: Mapping[str, str], metric: str) -> Spec:
    factor, title = axis_of(metric)
    values = [
        {
            "network": group_of(name),
            "name": name,
            "epoch": record.epoch,
            "value": _rounded(record.validation_score * factor),
        }
        for name, records in curves.items()
        for record in thinned(records)
    ]
    value = {"field": "value", "type": "quantitative", "title": f"validation {title}"}
    return specification(
        f"Validation {label_of(metric)} over epochs of {', '.join(curves)}",
        240,
        data={"values": values},
        mark=_line(curves),
        encoding={
            "x": EPOCHS,
            "y": {**value, "scale": {"zero": False}},
            "color": _colour(colours),
            "detail": {"field": "name", "type": "nominal"},
            "tooltip": _tooltip({**value, "format": ".2f" if is_share(metric) else ".4g"}),
        },
    )


def _losses(curves: Mapping[str, Sequence[EpochRecord]], colours: Mapping[str, str], *, log: bool) -> Spec:
    values: list[dict[str, Any]] = [
        {
            "network": group_of(name),
            "name": name,
            "epoch": record.epoch,
            "of": part,
            "value": _rounded(getattr(record, f"{part}_loss")),
        }
        for name, records in curves.items()
        for record in thinned(records)
        for part in ("train", "validation")
    ]
    loss = {
        "field": "value",
        "type": "quantitative",
        "title": "loss",
        "scale": {"type": "log"} if log else {"zero": False},
        "axis": {"format": "~g", "tickCount": 5, "labelOverlap": "greedy"},
    }
    return specification(
        f"Losses over epochs of {', '.join(curves)}",
        240,
        data={"values": values},
        encoding={"x": EPOCHS, "y": loss, "color": _colour(colours), "detail": {"field": "name", "type": "nominal"}},
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
                    "tooltip": _tooltip(
                        {"field": "of", "type": "nominal", "title": "loss of"},
                        {"field": "value", "type": "quantitative", "title": "loss", "format": ".4g"},
                    )
                },
            },
        ],
    )


def _spread(curves: Mapping[str, Sequence[EpochRecord]]) -> float:
    """How many times the largest loss is the smallest; 0 where a logarithm can't show them."""
    losses = [
        loss for records in curves.values() for each in records for loss in (each.train_loss, each.validation_loss)
    ]
    present = [loss for loss in losses if math.isfinite(loss)]
    return max(present) / min(present) if present and min(present) > 0 else 0.0


def _rounded(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
