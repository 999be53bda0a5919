"""Budgets as people wrote them, read and found to make sense."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from edgekd import units
from edgekd.errors import ConfigError, EdgekdError, did_you_mean
from edgekd.records import Basis, Budget, Reference, Role

BASES: tuple[str, ...] = get_args(Basis)  # from the strongest evidence to the weakest
_ROLES: tuple[str, ...] = get_args(Role)
_REFERENCES: tuple[str, ...] = get_args(Reference)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A budget that was read; `reference` and `statistic` have their defaults."""

    budget: Budget
    metric: units.Metric
    limit: units.Limit
    statistic: str
    reference: Reference
    confidence: float

    @property
    def source(self) -> units.Metric:
        """The metric whose measurements it takes."""
        return units.METRICS[self.metric.source or self.metric.name]

    @property
    def is_drop(self) -> bool:
        """Whether it holds one model against another."""
        return self.metric.source is not None

    @property
    def is_relative(self) -> bool:
        """Whether it is written as a share of the reference."""
        return self.is_drop and self.limit.unit == "%"

    @property
    def unit(self) -> str:
        """Unit of what is observed."""
        return "1" if self.is_relative else self.metric.unit

    @property
    def quantile(self) -> float:
        """Which quantile of a latency, in (0, 1)."""
        return float(self.statistic.removeprefix("p")) / 100

    def write(self, value: float) -> str:
        """Write a value for people, with more digits where it would read like a limit that it is not."""
        text = self._short(value)
        if value == self.limit.value or text != self._short(self.limit.value):
            return text
        return f"{value:.9g} {self.unit}".rstrip() if self.unit != "1" else f"{100 * value:.9g} {self.limit.unit}"

    def _short(self, value: float) -> str:
        # Points and shares of the reference are both stored as shares of one.
        if self.is_drop and self.unit == "1":
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
        found = list(_problems(budget, where))
        problems += found
        if not found:
            rules.append(
                Rule(
                    budget=budget,
                    metric=units.METRICS[budget.metric],
                    limit=units.parse_limit(budget.metric, budget.limit),
                    statistic=budget.statistic or "p90",
                    reference=budget.reference or "teacher",
                    confidence=confidence,
                )
            )
    if problems:
        raise ConfigError.of(problems)
    return rules


def _problems(budget: Budget, where: str) -> Iterator[ConfigError]:
    try:
        limit = units.parse_limit(budget.metric, budget.limit)
    except ConfigError as error:
        yield ConfigError(error.what, where=where, allowed=error.allowed, next_step=error.next_step)
    else:
        if not math.isfinite(limit.value):
            yield ConfigError(f"limit '{budget.limit}' is no limit", where=where, allowed="a finite number")
    if budget.statistic is not None:
        if budget.metric not in units.METRICS or units.METRICS[budget.metric].estimator != "quantile":
            yield ConfigError(
                f"statistic '{budget.statistic}' has no meaning for {budget.metric}", where=where, allowed="none"
            )
        elif not re.fullmatch(r"p[5-9]\d(\.\d+)?", budget.statistic):
            yield ConfigError(f"unknown statistic '{budget.statistic}'", where=where, allowed="p50 to p99.9")
    metric = units.METRICS.get(budget.metric)
    if budget.reference is not None and metric is not None and metric.source is None:
        losses = [each.name for each in units.METRICS.values() if each.source == budget.metric]
        yield ConfigError(
            f"reference '{budget.reference}' has no meaning for {budget.metric}",
            where=where,
            next_step=f"use the metric {losses[0]}" if losses else None,
        )
    for key, value, allowed in (
        ("reference", budget.reference or "teacher", _REFERENCES),
        ("role", budget.role, _ROLES),
        ("basis", budget.basis, BASES),
    ):
        if value not in allowed:
            yield ConfigError(
                f"unknown {key} '{value}'",
                where=where,
                allowed=", ".join(allowed),
                next_step=did_you_mean(value, allowed),
            )
