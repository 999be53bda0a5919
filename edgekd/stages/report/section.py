"""A part of the page, and what all parts are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgekd.records import Run
from edgekd.stages.report.charts import Chart
from edgekd.stages.report.classes import Classes
from edgekd.stages.report.comparison import Row
from edgekd.stages.report.quality import label_of, primary_metric
from edgekd.stages.report.words import capitalised


@dataclass(frozen=True, kw_only=True)
class Findings:
    """A run, and what is computed of it once because it takes long: the rows of its files, and their classes."""

    run: Run
    rows: tuple[Row, ...]
    classes: Classes | None = None

    @property
    def metric(self) -> str:
        """What the run is about, as a title."""
        return capitalised(label_of(self.rows[0].metric if self.rows else primary_metric(())))


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of the page.

    Attributes:
        name: Its anchor, and that of its template: `templates/NAME.html.j2` writes what stands below the heading.
        facts: What that template may use, by name, beside `charts`.
        data: What the page's scripts get beside the charts, by name.
    """

    name: str
    title: str
    facts: Mapping[str, object] = field(default_factory=dict)
    charts: Sequence[Chart] = ()
    data: Mapping[str, object] = field(default_factory=dict)
