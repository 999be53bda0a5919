"""What is kept of gates that were held before."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PastFigure:
    """One number that a gate saw, with the budget it was held against, if there was one.

    Attributes:
        statistic: Of latencies, as `reference` is of drops and `part` of recalls and the like; empty where there is
            none.
        model: Name of the file; empty where nothing was measured.
        unit: Of `observed`, `low`, `high` and `limit`: the base unit of the metric.
        low: Lower end of the interval; `None`, as is `high`, of what had no budget.
        bound: `at most` or `at least`; empty, as are `written` and `status`, where there was no budget.
        written: The limit as the budget says it.
        status: Of the check; `waived` where a waiver covered it.
    """

    metric: str
    statistic: str = ""
    reference: str = ""
    part: str = ""
    model: str
    format: str = ""
    precision: str = ""
    target: str
    unit: str
    observed: float | None
    low: float | None = None
    high: float | None = None
    bound: str = ""
    limit: float | None = None
    written: str = ""
    status: str = ""


@dataclass(frozen=True, kw_only=True)
class PastGate:
    """A gate that was held, and every number that it saw.

    Attributes:
        gated_at: ISO 8601, UTC.
        recipe: Name of the recipe, or of the folder where there is none: gates of one recipe make a trend.
        run: Name of the folder.
        status: The verdict.
        fingerprint: Of the verdict and all figures.
        recipe_sha256: Of the recipe's text; empty where there is none, as `commit` is.
        version: Of edgekd.
    """

    gated_at: str
    recipe: str
    run: str
    status: str
    fingerprint: str
    recipe_sha256: str = ""
    commit: str = ""
    version: str = ""
    figures: tuple[PastFigure, ...] = ()
