"""How the precisions of a mixed file were found: the files that were tried, and what each layer costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgekd.records import LayerCost, MixedFile, MixedSearch
from edgekd.stages.report.charts import COLOURS, Chart, Spec, axis_unit, specification
from edgekd.stages.report.quality import axis_of, is_share, label_of, lower_is_better, score_text
from edgekd.units import human

Searches = Mapping[str, MixedSearch]
_KINDS = ("taken", "mixed", "one precision")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One layer in one precision; `taken` where the file has it."""

    loss: str
    size: str
    taken: bool


@dataclass(frozen=True, kw_only=True)
class Row:
    """One layer; `None` where it can't have a precision."""

    layer: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """What each layer of a file costs in each precision."""

    file: str
    precisions: tuple[str, ...]
    rows: tuple[Row, ...]


def mixed_tables(searches: Searches) -> tuple[Table, ...]:
    """Set the costs of each mixed file's layers side by side.

    >>> cost = LayerCost(layer="stem", precision="fp16", loss=0.00123, size_bytes=928)
    >>> file = MixedFile(layers={"stem": "fp16"}, size_bytes=2000, predicted_loss=0.00123, loss=0.001, score=0.9)
    >>> search = MixedSearch(
    ...     budget="max_drop = 1 pt", metric="accuracy", reference=0.9, costs=(cost,), files=(file,), chosen=0
    ... )
    >>> mixed_tables({"student.mixed.onnx": search})[0].rows[0].cells
    (Cell(loss='0.00123', size='928 B', taken=True),)
    """
    return tuple(_table(name, search) for name, search in searches.items())


def mixed_lines(searches: Searches) -> tuple[str, ...]:
    """Say of each mixed file what was asked for and what was taken."""
    lines = []
    for name, search in searches.items():
        taken = search.files[search.chosen]
        lines.append(
            f"{name}: {search.budget}; {human(taken.size_bytes, 'B')}, {label_of(search.metric)} "
            f"{score_text(taken.score, search.metric)} on validation data, simulated "
            f"(float32 {score_text(search.reference, search.metric)})"
        )
    return tuple(lines)


def mixed_chart(searches: Searches) -> Chart | None:
    """Plot the files that were tried; `None` where no mixed file was asked for."""
    options = tuple((name, _spec(name, search)) for name, search in searches.items())
    if not options:
        return None
    better = "Down" if any(lower_is_better(each.metric) for each in searches.values()) else "Up"
    return Chart(
        name="mixed",
        title="Precisions that were tried",
        caption=f"{better} and left is better. Each point is a file with all layers quantized, simulated on validation "
        "data; sizes are of real files. The line is the float32 student.",
        options=options,
        choose="File",
    )


def _table(name: str, search: MixedSearch) -> Table:
    taken = search.files[search.chosen].layers
    precisions = tuple(dict.fromkeys(cost.precision for cost in search.costs))
    costs = {(cost.layer, cost.precision): cost for cost in search.costs}
    rows = [
        Row(
            layer=layer,
            cells=tuple(_cell(costs.get((layer, each)), taken=taken[layer] == each) for each in precisions),
        )
        for layer in dict.fromkeys(cost.layer for cost in search.costs)
    ]
    return Table(file=name, precisions=precisions, rows=tuple(rows))


def _cell(cost: LayerCost | None, *, taken: bool) -> Cell | None:
    return Cell(loss=f"{cost.loss:.3g}", size=human(cost.size_bytes, "B"), taken=taken) if cost else None


def _spec(name: str, search: MixedSearch) -> Spec:
    factor, unit = axis_unit([float(file.size_bytes) for file in search.files], "B")
    times, y_title = axis_of(search.metric)
    values: list[dict[str, Any]] = [
        {
            "x": round(file.size_bytes / factor, 6),
            "y": float(f"{file.score * times:.6g}"),
            "kind": _kind(file, taken=number == search.chosen),
            "size": human(file.size_bytes, "B"),
            "loss": float(f"{file.loss:.3g}"),
            "predicted": float(f"{file.predicted_loss:.3g}"),
            "layers": _summary(file),
        }
        for number, file in enumerate(search.files)
    ]
    x = {
        "field": "x",
        "type": "quantitative",
        "title": f"file size ({unit})",
        "scale": {"type": "log", "nice": False, "padding": 20},
        "axis": {"format": "~g", "labelOverlap": "greedy", "tickCount": 6, "grid": True},
    }
    y = {"field": "y", "type": "quantitative", "title": f"validation {y_title}", "scale": {"zero": False, "nice": True}}
    present = [kind for kind in _KINDS if any(value["kind"] == kind for value in values)]
    colour = {
        "field": "kind",
        "type": "nominal",
        "title": None,
        "scale": {"domain": present, "range": [COLOURS[_KINDS.index(kind)] for kind in present]},
    }
    tooltip = [
        {"field": "size", "type": "nominal"},
        {
            "field": "y",
            "type": "quantitative",
            "title": y_title,
            "format": ".2f" if is_share(search.metric) else ".4g",
        },
        {"field": "loss", "type": "quantitative", "title": "loss"},
        {"field": "predicted", "type": "quantitative", "title": "sum of its layers' losses"},
        {"field": "layers", "type": "nominal"},
    ]
    reference = {"y": float(f"{search.reference * times:.6g}")}
    layers: list[Spec] = [
        {
            "data": {"values": [reference]},
            "mark": {"type": "rule", "strokeWidth": 1.5, "color": "var(--edge)"},
            "encoding": {"y": y},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1},
            "encoding": {"x": x, "y": y, "color": colour, "tooltip": tooltip},
        },
    ]
    return specification(
        f"Validation {label_of(search.metric)} over size of {len(values)} files that were tried for {name}",
        300,
        data={"values": values},
        layer=layers,
    )


def _kind(file: MixedFile, *, taken: bool) -> str:
    if taken:
        return _KINDS[0]
    return _KINDS[1] if len(set(file.layers.values())) > 1 else _KINDS[2]


def _summary(file: MixedFile) -> str:
    counts: dict[str, int] = {}
    for precision in file.layers.values():
        counts[precision] = counts.get(precision, 0) + 1
    return ", ".join(f"{count} {precision}" for precision, count in counts.items())
