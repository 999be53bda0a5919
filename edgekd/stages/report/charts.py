"""What all charts share: the record, the look and the unit of an axis. A chart is a Vega-Lite specification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Spec = dict[str, Any]
_Item = TypeVar("_Item")

# Colours are the page's own CSS variables, so that charts follow light, dark and print without being drawn again.
COLOURS = ["var(--c1)", "var(--c2)", "var(--c3)", "var(--c4)", "var(--c5)", "var(--c6)"]
POINTS_PER_CURVE = 300  # keeps pages small and charts quick, however long a training is
CONFIG: Spec = {
    "background": "transparent",
    "font": "system-ui, -apple-system, Segoe UI, Roboto, Noto Sans, Liberation Sans, DejaVu Sans, sans-serif",
    "view": {"stroke": "transparent"},
    "axis": {
        "labelColor": "var(--muted)",
        "titleColor": "var(--ink)",
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "gridColor": "var(--line)",
        "domainColor": "var(--edge)",
        "tickColor": "var(--edge)",
        "labelFontSize": 12,
        "titleFontSize": 13,
    },
    "legend": {
        "orient": "top",
        "labelColor": "var(--ink)",
        "titleColor": "var(--muted)",
        "titleFontWeight": "normal",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "labelLimit": 240,
        "symbolOpacity": 1,
        # Legends below each other fit narrow screens.
        "layout": {"top": {"direction": "vertical", "anchor": "start", "margin": 4}},
    },
    "text": {"color": "var(--ink)"},
}


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One chart of the page; several options make it switchable.

    Attributes:
        name: Unique on the page, for the element's id.
        caption: One or two sentences; also what a screen reader says.
        options: Label and specification of every variant.
        key: Lines that tell which number is which file, where points carry numbers.
        choose: What the options are, where there are several.
    """

    name: str
    title: str
    caption: str
    options: tuple[tuple[str, Spec], ...]
    key: tuple[str, ...] = ()
    choose: str = "Cost"


def specification(description: str, height: int, **parts: Any) -> Spec:
    """Give marks and encodings the width of their place on the page, and the look of all charts."""
    return {"description": description, "width": "container", "height": height, "config": CONFIG, **parts}


def axis_unit(values: Sequence[float] | NDArray[np.float64], unit: str) -> tuple[float, str]:
    """Choose the unit an axis is written in, by its middle value.

    >>> axis_unit([1e5, 2e6], "B"), axis_unit([7.8e-5], "s")
    ((1000000.0, 'MB'), (1e-06, 'µs'))
    """
    middle = float(np.median(np.abs(values)))
    scales = {"B": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")), "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))}
    for factor, name in scales.get(unit, ()):
        if middle >= factor:
            return factor, name
    return 1.0, unit


def thinned(items: Sequence[_Item], most: int = POINTS_PER_CURVE) -> list[_Item]:
    """Take at most so many of a sequence, first and last included, evenly by rank.

    >>> thinned([1.0, 2.0, 3.0, 4.0, 5.0], 3)
    [1.0, 3.0, 5.0]
    """
    if len(items) <= most:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, most).round().astype(int)]
