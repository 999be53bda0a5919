"""Gates as trends: what one metric of one file on one target was, gate after gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgekd.records import PastFigure, PastGate
from edgekd.units import human, human_as

# The worst first: of several budgets on one number a trend shows the one that keeps the release back.
_ORDER = ("fail", "unmeasured", "inconclusive", "waived", "pass", "")


@dataclass(frozen=True, kw_only=True)
class Point:
    """What one gate saw of a trend."""

    gate: PastGate
    figure: PastFigure


@dataclass(frozen=True, kw_only=True)
class Trend:
    """One metric of one file on one target over the gates of a recipe.

    Attributes:
        points: Oldest first, of gates that observed it.
        is_current: Whether the last gate of the recipe is one of them.
    """

    recipe: str
    points: tuple[Point, ...]
    is_current: bool = True

    @property
    def latest(self) -> PastFigure:
        """What the last gate saw."""
        return self.points[-1].figure

    @property
    def latest_text(self) -> str:
        """What the last gate saw, as people read it."""
        return value_text(self.latest)

    @property
    def name(self) -> str:
        """The metric, with its statistic, reference and part.

        >>> figure = PastFigure(metric="latency", statistic="p90", model="a", target="host", unit="s", observed=0.1)
        >>> gate = PastGate(gated_at="", recipe="", run="", status="pass", fingerprint="")
        >>> Trend(recipe="", points=(Point(gate=gate, figure=figure),)).name
        'latency p90'
        """
        figure = self.latest
        return " ".join(filter(None, (figure.metric, figure.statistic, figure.part, figure.reference)))

    @property
    def values(self) -> tuple[float, ...]:
        """All that was observed, oldest first, in the base unit."""
        return tuple(each.figure.observed for each in self.points if each.figure.observed is not None)

    def change(self, since: int) -> str:
        """How the latest value differs from another one: of shares in points, else as a share of it.

        Args:
            since: Number of a point, as an index.

        Returns:
            Nothing where there is no other.
        """
        values = self.values
        if not -len(values) <= since < len(values) or since % len(values) == len(values) - 1:
            return ""
        return change_text(values[since], values[-1], self.latest.unit)


def trends_of(gates: Sequence[PastGate]) -> list[Trend]:
    """Sort what gates saw into trends, by recipe, metric, target and file.

    Args:
        gates: Oldest first.

    >>> sizes = [
    ...     PastGate(gated_at="", recipe="digits", run="digits", status="pass", fingerprint="", figures=(
    ...         PastFigure(metric="file_size", model="a.onnx", target="file", unit="B", observed=observed),))
    ...     for observed in (1000.0, 1250.0)]
    >>> [(trend.name, trend.values, trend.change(-2)) for trend in trends_of(sizes)]
    [('file_size', (1000.0, 1250.0), '+25.0 %')]
    """
    found: dict[tuple[str, ...], dict[int, Point]] = {}
    for number, gate in enumerate(gates):
        for figure in gate.figures:
            if figure.observed is None:
                continue
            key = (gate.recipe, figure.metric, figure.statistic, figure.part, figure.reference)
            points = found.setdefault((*key, figure.target, figure.model, figure.unit), {})
            if number not in points or _rank(figure) < _rank(points[number].figure):
                points[number] = Point(gate=gate, figure=figure)
    last = {gate.recipe: number for number, gate in enumerate(gates)}
    return [
        Trend(recipe=key[0], points=tuple(points.values()), is_current=last[key[0]] in points)
        for key, points in sorted(found.items())
    ]


def value_text(figure: PastFigure) -> str:
    """What was observed, as people read it: in points where the budget says points."""
    return "" if figure.observed is None else human_as(figure.written, figure.observed, figure.unit)


def change_text(before: float, after: float, unit: str) -> str:
    """How a value changed.

    >>> change_text(0.98, 0.985, "1"), change_text(0.002, 0.001, "s"), change_text(0.0, 3.0, ""), change_text(2, 2, "B")
    ('+0.50 pt', '-50.0 %', '+3', '=')
    """
    if before == after:
        return "="
    if unit == "1":
        return f"{100 * (after - before):+.2f} pt"
    if before == 0:
        sign = "+" if after > 0 else "-"
        return sign + human(abs(after), unit)
    return f"{100 * (after - before) / abs(before):+.1f} %"


def _rank(figure: PastFigure) -> int:
    return _ORDER.index(figure.status) if figure.status in _ORDER else 0
