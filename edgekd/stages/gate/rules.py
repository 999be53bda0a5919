"""Budgets as people wrote them, read and found to make sense."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import get_args

from edgekd import units
from edgekd.errors import ConfigError, EdgekdError, did_you_mean
from edgekd.formulas import Formula, Term, is_formula, metric_of, parse_formula
from edgekd.records import Basis, Budget, Reference, Role

BASES: tuple[str, ...] = get_args(Basis)  # from the strongest evidence to the weakest
_WORDS = (("reference", get_args(Reference)), ("role", get_args(Role)), ("basis", BASES))


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A budget that was read; `reference` and `statistic` have their defaults.

    Attributes:
        confidence: Of the two-sided intervals by which it is judged, in (0, 1).
    """

    budget: Budget
    metric: units.Metric
    limit: units.Limit
    statistic: str
    reference: Reference
    confidence: float

    @cached_property
    def source(self) -> units.Metric:
        """The metric whose measurements it takes."""
        return units.METRICS[self.metric.source] if self.metric.source else self.metric

    @cached_property
    def told_by(self) -> str:
        """The metric whose measurements tell of its source."""
        return self.source.told_by or self.source.name

    @cached_property
    def formula(self) -> Formula | None:
        """Of a budget on several metrics together, what to compute."""
        return parse_formula(self.budget.metric) if self.metric.estimator == "formula" else None

    @cached_property
    def is_drop(self) -> bool:
        """Whether it holds one model against another."""
        return self.metric.source is not None

    @cached_property
    def is_relative(self) -> bool:
        """Whether it is written as a share of the reference."""
        return self.is_drop and self.limit.unit == "%"

    @cached_property
    def unit(self) -> str:
        """Unit of what is observed."""
        return "1" if self.is_relative or self.limit.unit == "%" else self.metric.unit

    @cached_property
    def quantile(self) -> float:
        """Which quantile of a latency, in (0, 1); of rates the one that so many reach: p90 is the tenth from below."""
        share = float(self.statistic.removeprefix("p")) / 100
        return 1 - share if self.source.dimension == "rate" else share

    def of(self, term: Term) -> Rule:
        """The same selectors for one of the metrics of a formula, whose own limit means nothing."""
        budget = replace(self.budget, metric=term.metric, statistic=term.statistic, bound=None)
        return replace(self, budget=budget, metric=units.METRICS[term.metric], statistic=term.statistic or "p90")

    def write(self, value: float) -> str:
        """Write a value for people, with more digits where it would read like a limit that it is not."""
        text = self._short(value)
        if value == self.limit.value or text != self._short(self.limit.value):
            return text
        return f"{value:.9g} {self.unit}".rstrip() if self.unit != "1" else f"{100 * value:.9g} {self.limit.unit}"

    def _short(self, value: float) -> str:
        # Points and shares of the reference are both stored as shares of one.
        if self.unit == "1" and (self.is_drop or self.limit.unit == "pt"):
            return f"{100 * value:.2f} {self.limit.unit}"
        return units.human(value, self.unit)


def read_budgets(budgets: Sequence[Budget], confidence: float) -> list[Rule]:
    """Read all budgets, or say everything that is wrong with them.

    Raises:
        ConfigError: Every problem at once.

    >>> (rule,) = read_budgets([Budget(metric="mean_squared_error_increase", limit="5 %")], 0.95)
    >>> rule.source.name, rule.limit.value, rule.write(0.0123)
    ('mean_squared_error', 0.05, '1.23 %')
    """
    problems: list[EdgekdError] = []
    rules = []
    if not 0 < confidence < 1:
        problems.append(ConfigError(f"confidence is {confidence}", allowed="between 0 and 1"))
    for number, budget in enumerate(budgets, 1):
        where = f"budget {number} ({budget.metric})"
        found = list(_problems(budget))
        problems += [ConfigError(e.what, where=where, allowed=e.allowed, next_step=e.next_step) for e in found]
        if not found:
            metric = metric_of(budget)
            references = metric.references or ("teacher",)
            rules.append(
                Rule(
                    budget=budget,
                    metric=metric,
                    limit=units.read_limit(metric, budget.limit),
                    statistic=budget.statistic or "p90",
                    reference=budget.reference or references[0],
                    confidence=confidence,
                )
            )
    if problems:
        raise ConfigError.of(problems)
    return rules


def _problems(budget: Budget) -> Iterator[EdgekdError]:
    for key, allowed in _WORDS:
        value = getattr(budget, key)
        if value is not None and value not in allowed:
            yield ConfigError(
                f"unknown {key} '{value}'", allowed=", ".join(allowed), next_step=did_you_mean(value, allowed)
            )
    try:
        metric = metric_of(budget)
    except EdgekdError as error:
        yield error
        return
    yield from _limit_problems(budget, metric)
    if budget.statistic is not None:
        if metric.estimator != "quantile" or metric.dimension == "ratio":
            allowed_here = "latency.p99 and the like in the expression" if metric.estimator == "formula" else "none"
            what = f"statistic '{budget.statistic}' has no meaning for {budget.metric}"
            yield ConfigError(what, allowed=allowed_here)
        elif not re.fullmatch(r"p[5-9]\d(\.\d+)?", budget.statistic):
            yield ConfigError(f"unknown statistic '{budget.statistic}'", allowed="p50 to p99.9")
    if budget.reference in get_args(Reference) and budget.reference not in (*metric.references, None):
        yield _no_reference(budget, metric)
    if budget.part is not None and not metric.has_parts:
        parted = ", ".join(each.name for each in units.METRICS.values() if each.has_parts)
        yield ConfigError(f"part '{budget.part}' has no meaning for {budget.metric}", allowed=parted)
    if budget.bound is not None and not is_formula(budget.metric):
        yield ConfigError(f"bound '{budget.bound}' of {budget.metric}", allowed=f"it is always {metric.bound}")


def _limit_problems(budget: Budget, metric: units.Metric) -> Iterator[EdgekdError]:
    try:
        limit = units.read_limit(metric, budget.limit)
    except ConfigError as error:
        yield error
        return
    if not math.isfinite(limit.value):
        yield ConfigError(f"limit '{budget.limit}' is no limit", allowed="a finite number")
    elif allowed := _what_can_be_met(metric, limit.value):
        yield ConfigError(f"limit '{budget.limit}' of {budget.metric} can't be met by any file", allowed=allowed)


def _what_can_be_met(metric: units.Metric, limit: float) -> str | None:
    """What limits could be met, if this one can't, whatever the file and however many samples are taken."""
    if metric.bound == "at least" and metric.dimension == "share":
        if metric.estimator == "exact":
            return "at most 100 %" if limit > 1 else None
        return "less than 100 %, which no number of samples proves" if limit >= 1 else None
    if metric.bound == "at least" and metric.estimator in ("confusion", "rank") and limit >= 1:
        return "less than 1, which no number of samples proves"
    if metric.dimension in ("size", "time", "energy", "rate") and metric.estimator != "formula" and limit <= 0:
        return "more than 0"
    return None


def _no_reference(budget: Budget, metric: units.Metric) -> EdgekdError:
    what = f"reference '{budget.reference}' has no meaning for {budget.metric}"
    if metric.references:
        return ConfigError(what, allowed=", ".join(metric.references))
    known = [each for each in units.METRICS.values() if each.source == budget.metric]
    fitting = [each.name for each in known if budget.reference in each.references]
    return ConfigError(what, next_step=f"use the metric {fitting[0]}" if fitting else None)
