"""How the page writes numbers and names: the filters of its template."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from markupsafe import Markup, escape

from edgekd.records import CacheFacts, Check, TensorSpec
from edgekd.stages.report.quality import label_of, points_text, score_text
from edgekd.stages.report.summary import Figure
from edgekd.stages.report.teachers import density_of
from edgekd.units import human, human_as

_NONE = "\N{EN DASH}"


def capitalised(text: str) -> str:
    """Begin with a capital, and leave the rest as it is.

    >>> capitalised("mean AUC")
    'Mean AUC'
    """
    return text[:1].upper() + text[1:]


def figure_text(figure: Figure | None, unit: str) -> str:
    """Write a value with its unit."""
    return human(figure.value, unit) if figure else _NONE


def interval_text(figure: Figure | None, unit: str) -> str:
    """Write the ends of an interval, unless it is exact."""
    if figure is None or figure.low is None or figure.high is None or figure.low == figure.high:
        return ""
    return _between(human(figure.low, unit), human(figure.high, unit))


def _between(low: str, high: str) -> str:
    """Name two amounts, and their unit once where it is the same."""
    (first, _, unit), (_, _, other) = low.partition(" "), high.partition(" ")
    return f"{first} to {high}" if unit == other else f"{low} to {high}"


def _power(watts: float | None) -> str:
    return _NONE if watts is None else human(watts, "W")


def score_range_text(figure: Figure, metric: str) -> str:
    """Write the interval of a score, unless it is exact."""
    if figure.low is None or figure.high is None or figure.low == figure.high:
        return ""
    return _score_ends((figure.low, figure.high), metric)


def _score_ends(ends: tuple[float, float], metric: str) -> str:
    return _between(score_text(ends[0], metric), score_text(ends[1], metric))


def _points(value: float, metric: str) -> str:
    return points_text(value, metric).replace("-", "\N{MINUS SIGN}")


def _seconds(value: float) -> str:
    return human(value, "s")


def _sentence(text: str) -> str:
    return capitalised(text) + "."


def _share(value: float) -> str:
    """Write a share with two digits, because small ones matter."""
    return f"{value * 100:.3g} %"


def _change(share: float) -> str:
    """Write by how much of itself something changed, with its sign.

    >>> _change(0.125)
    '+12.5 %'
    """
    return f"{100 * share:+.1f} %".replace("-", "\N{MINUS SIGN}")


def _density(cache: CacheFacts) -> str:
    return f"{density_of(cache):.3g} B"


def _size(value: int | None) -> str:
    return _NONE if value is None else human(value, "B")


def _count(value: int | None) -> str:
    return _NONE if value is None else f"{value:,}".replace(",", "\u202f")


def _shape(tensor: TensorSpec) -> str:
    dimensions = "\N{MULTIPLICATION SIGN}".join("?" if each is None else str(each) for each in tensor.shape)
    return f"{tensor.name} {dimensions} {tensor.dtype}"


def _breakable(name: str) -> Markup:
    """Escape a name and let it break after its dots, dashes and underscores."""
    return Markup(re.sub(r"([._/-])(?=[^._/-])", r"\1<wbr>", str(escape(name))))  # noqa: S704  (escaped just now)


def _drop(figure: Figure, metric: str) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return _between(_points(figure.low, metric), _points(figure.high, metric))


def _observed(check: Check) -> str:
    """Write the interval of a check, unless it is exact."""
    if check.low is None or check.high is None or check.low == check.high:
        return ""
    return _between(amount(check.low, check), amount(check.high, check))


def amount(value: float | None, check: Check) -> str:
    """Write a value of a check in the unit people wrote the limit in, as far as drops go."""
    if value is None:
        return _NONE
    return human_as(check.budget.limit, value, check.unit).replace("-", "\N{MINUS SIGN}")


FILTERS: Mapping[str, Callable[..., object]] = {
    "amount": amount,
    "between": _score_ends,
    "breakable": _breakable,
    "capitalised": capitalised,
    "change": _change,
    "count": _count,
    "density": _density,
    "drop": _drop,
    "figure": figure_text,
    "interval": interval_text,
    "label": label_of,
    "observed": _observed,
    "points": _points,
    "power": _power,
    "range": score_range_text,
    "score": score_text,
    "seconds": _seconds,
    "sentence": _sentence,
    "shape": _shape,
    "share": _share,
    "size": _size,
}
