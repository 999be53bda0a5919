"""Tables of text, of facts, and of what is in a model file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from edgekd.units import human

if TYPE_CHECKING:
    from edgekd.inspection import Anatomy


def anatomy_tables(anatomy: Anatomy, *, layers: bool) -> list[Table]:
    """What is in a model file."""
    facts = Table(box=None, pad_edge=False, show_header=False)
    for key, value in {
        "format": anatomy.format,
        "size": human(anatomy.size_bytes, "B"),
        "parameters": f"{anatomy.parameters:,}",
        "MACs": f"{anatomy.macs:,}",
        "layout": anatomy.layout,
        "inputs": ", ".join(f"{each.name} {_shape(each.shape)} {each.dtype}" for each in anatomy.inputs),
        "outputs": ", ".join(f"{each.name} {_shape(each.shape)} {each.dtype}" for each in anatomy.outputs),
        "operators": ", ".join(f"{name} x{count}" for name, count in anatomy.operators),
        "tensors": ", ".join(
            f"{each.dtype} x{each.tensors} ({human(each.size_bytes, 'B')})" for each in anatomy.dtypes
        ),
    }.items():
        facts.add_row(f"[cyan]{key}[/]", escape(value))
    if not layers:
        return [facts]
    by_layer = Table(title="Layers", title_justify="left", box=None, pad_edge=False)
    for column in ("layer", "operator", "output"):
        by_layer.add_column(column)
    for column in ("parameters", "MACs", "weights", "bytes"):
        by_layer.add_column(column, justify="right")
    for layer in anatomy.layers:
        by_layer.add_row(
            escape(layer.name[-60:]),
            layer.operator,
            _shape(layer.output_shape),
            f"{layer.parameters:,}",
            f"{layer.macs:,}",
            layer.weight_dtype or "",
            f"{layer.size_bytes:,}",
        )
    return [facts, by_layer]


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of text."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    return table


def facts_table(facts: Mapping[str, Any]) -> Table:
    """Keys and values."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for key, value in facts.items():
        table.add_row(f"[cyan]{escape(key)}[/]", escape(str(value)))
    return table


def _shape(shape: Sequence[int | None]) -> str:
    return "x".join("?" if each is None else str(each) for each in shape)
