"""The chart of what distilling gained, seed by seed."""

from __future__ import annotations

from typing import Any

from edgekd.stages.report.charts import COLOURS, Chart, Spec, specification
from edgekd.stages.report.gain import ARMS, Gain
from edgekd.stages.report.quality import axis_of, label_of, lower_is_better, score_text

_LANE = 30  # pixels of height for one seed


def gain_chart(found: Gain | None) -> Chart | None:
    """Plot each seed's student beside its control, and the teacher as a line; `None` without a control."""
    if found is None or found.control is None:
        return None
    factor, title = axis_of(found.metric)
    seeds = sorted({each.seed for each in found.scores}, key=lambda seed: -1 if seed is None else seed)
    shipped = {each.seed for each in found.scores if each.shipped}
    lanes = {seed: _lane(seed, shipped=seed in shipped and len(seeds) > 1) for seed in seeds}
    values: list[dict[str, Any]] = [
        {
            "seed": lanes[each.seed],
            "network": each.network,
            "of": ARMS[each.arm],
            "x": float(f"{each.score * factor:.6g}"),
            "score": score_text(each.score, found.metric),
        }
        for each in found.scores
    ]
    arms = {ARMS["distilled"]: COLOURS[0], ARMS["control"]: COLOURS[1]}
    layers: list[Spec] = []
    x = {
        "field": "x",
        "type": "quantitative",
        "title": f"test {title}",
        "scale": {"zero": False, "nice": True, "padding": 10},
        "axis": {"format": ".4~r", "tickCount": 6, "labelOverlap": "greedy", "grid": True},
    }
    y = {
        "field": "seed",
        "type": "nominal",
        "title": None,
        "sort": list(lanes.values()),
        "axis": {"labelLimit": 140, "ticks": False, "domain": False},
    }
    # The legend shows arms by colour; the teacher is a mark of its own.
    colour = {
        "field": "of",
        "type": "nominal",
        "title": None,
        "scale": {"domain": [*arms, "teacher"], "range": [*arms.values(), COLOURS[2]]},
        "legend": {"columns": 3, "symbolType": "circle"},
    }
    tooltip = [
        {"field": "network", "type": "nominal"},
        {"field": "score", "type": "nominal", "title": label_of(found.metric)},
    ]
    if found.teacher is not None and found.teacher_score is not None:
        teacher = {
            "network": found.teacher,
            "of": "teacher",
            "x": float(f"{found.teacher_score * factor:.6g}"),
            "score": score_text(found.teacher_score, found.metric),
        }
        layers.append(
            {
                "data": {"values": [teacher]},
                "mark": {"type": "rule", "strokeWidth": 2.5},
                "encoding": {"x": x, "color": colour, "tooltip": tooltip},
            }
        )
    else:
        colour["scale"] = {"domain": list(arms), "range": list(arms.values())}
    layers += [
        {
            "mark": {"type": "line", "strokeWidth": 2, "color": "var(--edge)", "opacity": 0.7},
            "encoding": {"x": x, "y": y, "detail": {"field": "seed", "type": "nominal"}},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1},
            "encoding": {"x": x, "y": y, "color": colour, "tooltip": tooltip},
        },
    ]
    better = "left" if lower_is_better(found.metric) else "right"
    line = "; the upright line is the teacher" if found.teacher else ""
    same = "Each row is a seed: the same start and order of data with teachers and without."
    caption = f"{same} Further {better} is better{line}."
    spec = specification(
        f"Test {label_of(found.metric)} of {len(values)} students with and without teachers",
        _LANE * len(lanes) + 20,
        data={"values": values},
        layer=layers,
    )
    return Chart(name="gain", title="Seed by seed", caption=caption, options=(("", spec),))


def _lane(seed: int | None, *, shipped: bool) -> str:
    name = "student" if seed is None else f"seed {seed}"
    return f"{name}, ships" if shipped else name
