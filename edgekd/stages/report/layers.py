"""How far each layer of a file is from the float32 file's, and where it goes past what its precision explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgekd.records import LayerParity
from edgekd.stages.report.charts import COLOURS, Chart, Spec, specification

Layers = Mapping[str, Sequence[LayerParity]]

# Above this nobody can tell a layer from the same one.
_MOST_DB = 100.0


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One layer of one file."""

    text: str
    past: bool


@dataclass(frozen=True, kw_only=True)
class Row:
    """One layer of all files of a format; `None` where a file has fused it into another."""

    layer: str
    operator: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """All layers of the files of a format."""

    format: str
    precisions: tuple[str, ...]
    rows: tuple[Row, ...]


def layer_tables(layers: Layers) -> tuple[Table, ...]:
    """Set the files of each format side by side.

    >>> one = LayerParity(layer="stem", operator="Conv", sqnr_db=31.4, max_error=0.1, mean_error=0.01)
    >>> layer_tables({"student.static_wi8_ai8.onnx": [one]})[0].rows[0].cells[0].text
    '31.4'
    """
    return tuple(_table(format_name, files) for format_name, files in _by_format(layers).items())


def parted_lines(layers: Layers) -> tuple[str, ...]:
    """Name the first layer of each file that is past what its precision explains."""
    found = ((name, next((each for each in file if each.past), None)) for name, file in layers.items())
    return tuple(
        f"{name} parts from the float32 file at {each.layer} ({each.operator}): {each.sqnr_db:.1f} dB"
        for name, each in found
        if each is not None
    )


def layer_chart(layers: Layers) -> Chart | None:
    """Plot the signal-to-noise ratio along the network; `None` where no file was compared."""
    options = tuple((format_name, _spec(format_name, files)) for format_name, files in _by_format(layers).items())
    if not options:
        return None
    return Chart(
        name="layers",
        title="Signal over noise, layer by layer",
        caption="Each layer's outputs against those of the float32 file, after all that came before it. A sudden fall "
        f"is a layer that the precision does not suit. {_MOST_DB:g} dB stands for that and more.",
        options=options,
        choose="Format",
    )


def _by_format(layers: Layers) -> dict[str, dict[str, Sequence[LayerParity]]]:
    """Files of quantized weights or activations, by format and precision; float32 files have nothing to show."""
    found: dict[str, dict[str, Sequence[LayerParity]]] = {}
    for name, file in layers.items():
        _, precision, format_name = name.rsplit(".", 2)
        if file and precision != "fp32":
            found.setdefault(format_name, {})[precision] = file
    return found


def _table(format_name: str, files: Mapping[str, Sequence[LayerParity]]) -> Table:
    longest = max(files.values(), key=len)
    by_layer = {precision: {(each.layer, each.operator): each for each in file} for precision, file in files.items()}
    rows = [
        Row(
            layer=each.layer,
            operator=each.operator,
            cells=tuple(_cell(found.get((each.layer, each.operator))) for found in by_layer.values()),
        )
        for each in longest
    ]
    return Table(format=format_name, precisions=tuple(files), rows=tuple(rows))


def _cell(layer: LayerParity | None) -> Cell | None:
    if layer is None:
        return None
    return Cell(text=f"{min(layer.sqnr_db, _MOST_DB):.1f}", past=layer.past)


def _spec(format_name: str, files: Mapping[str, Sequence[LayerParity]]) -> Spec:
    longest = max(files.values(), key=len)
    order = {(each.layer, each.operator): index for index, each in enumerate(longest)}
    values: list[dict[str, Any]] = [
        {
            "precision": precision,
            "layer": f"{order[key] + 1} {each.layer}",
            "operator": each.operator,
            "order": order[key],
            "ratio": float(f"{min(each.sqnr_db, _MOST_DB):.4g}"),
            "error": float(f"{each.max_error:.3g}"),
        }
        for precision, file in files.items()
        for each in file
        if (key := (each.layer, each.operator)) in order
    ]
    names = list(files)
    return specification(
        f"Signal-to-noise ratio of each layer of the {format_name} files",
        280,
        data={"values": values},
        mark={"type": "line", "point": {"size": 30}, "strokeWidth": 1.8},
        encoding={
            "x": {
                "field": "layer",
                "type": "nominal",
                "title": None,
                "sort": {"field": "order"},
                "axis": {"labelAngle": -60, "labelLimit": 150, "labelOverlap": "greedy"},
            },
            "y": {"field": "ratio", "type": "quantitative", "title": "signal over noise (dB)"},
            "order": {"field": "order"},
            "color": {
                "field": "precision",
                "type": "nominal",
                "title": None,
                "legend": {"columns": 2},
                "scale": {"domain": names, "range": [COLOURS[i % len(COLOURS)] for i in range(len(names))]},
            },
            "tooltip": [
                {"field": "precision", "type": "nominal"},
                {"field": "layer", "type": "nominal"},
                {"field": "operator", "type": "nominal"},
                {"field": "ratio", "type": "quantitative", "title": "signal over noise (dB)"},
                {"field": "error", "type": "quantitative", "title": "largest error"},
            ],
        },
    )
