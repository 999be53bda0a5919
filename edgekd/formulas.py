"""Budgets on several metrics together, such as `file_size + arena_size` or `latency.p99 / latency.p50`."""

from __future__ import annotations

import ast
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from edgekd.errors import ConfigError, MeasurementError
from edgekd.records import Budget
from edgekd.units import METRICS, Metric, unknown_metric

Range = tuple[float, float]
_LONGEST = 200
_GRAMMAR = "metrics, latencies with a quantile (latency.p99), numbers, + - * / ( ), max(…) and min(…)"
# Dimensions of which budgets know units, by their powers of a size, a time and an energy.
_DIMENSIONS = {
    (): "increase",
    (("size", 1),): "size",
    (("time", 1),): "time",
    (("energy", 1),): "energy",
    (("energy", 1), ("time", -1)): "power",
}
_Powers = Counter[str]


@dataclass(frozen=True, kw_only=True)
class Term:
    """A metric in a formula, of a latency with its quantile."""

    metric: str
    statistic: str | None = None

    def __str__(self) -> str:
        return f"{self.metric}.{self.statistic}" if self.statistic else self.metric


@dataclass(frozen=True, kw_only=True)
class Formula:
    """An arithmetic expression over metrics, in their base units.

    Attributes:
        terms: Each once.
        dimension: Of the result, a key of `edgekd.units.UNITS`.
    """

    text: str
    terms: tuple[Term, ...]
    dimension: str
    _body: ast.expr

    def __call__(self, ranges: Mapping[Term, Range]) -> Range:
        """Compute the range of the result from the ranges of the terms, by interval arithmetic.

        Moore, Interval Analysis (1966). A term that is there twice is taken as two that vary on their own, so that the
        range may be wider than need be, never narrower.

        Args:
            ranges: Lowest and highest value of each term, in its base unit; the same number twice for a point.

        Raises:
            MeasurementError: A division by what may be 0, or a result that is no number.

        >>> parse_formula("file_size + 2 * arena_size")({Term(metric="file_size"): (10, 10),
        ...                                              Term(metric="arena_size"): (1, 2)})
        (12.0, 14.0)
        """
        low, high = _range(self._body, ranges)
        if not (math.isfinite(low) and math.isfinite(high)):
            raise MeasurementError(f"{self.text} is no finite number")
        return low, high


def is_formula(metric: str) -> bool:
    """Whether a budget's metric is more than a name.

    >>> is_formula("file_size"), is_formula("latency.p99"), is_formula("latencie")
    (False, True, False)
    """
    return re.fullmatch(r"\w*", metric) is None


@cache
def metric_of(budget: Budget) -> Metric:
    """Find the metric that a budget limits; a formula is one of its own.

    Raises:
        ConfigError: There is no such metric, or the formula is none.

    >>> metric_of(Budget(metric="energy / latency.p50", limit="2 W")).unit
    'W'
    """
    if not is_formula(budget.metric):
        if budget.metric not in METRICS:
            raise unknown_metric(budget.metric)
        return METRICS[budget.metric]
    return Metric(
        name=budget.metric,
        dimension=parse_formula(budget.metric).dimension,
        bound=budget.bound or "at most",
        summary=f"{budget.metric}, in base units",
        estimator="formula",
    )


@cache
def parse_formula(text: str) -> Formula:
    """Parse an expression over metrics; nothing in it is run.

    Raises:
        ConfigError: It is none, or its parts have units that don't fit.

    >>> parse_formula("latency.p99 / latency.p50").terms[0].statistic
    'p99'
    """
    refusal = ConfigError(f"'{text[:_LONGEST]}' is no expression over metrics", allowed=_GRAMMAR)
    if len(text) > _LONGEST:
        raise refusal
    try:
        body = ast.parse(text.strip(), mode="eval").body
        terms = tuple(dict.fromkeys(_terms(body)))
        powers = _powers(body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise refusal from None
    if not terms:
        raise ConfigError(f"'{text}' has no metric in it", allowed=_GRAMMAR)
    dimension = _DIMENSIONS.get(tuple(sorted((name, power) for name, power in powers.items() if power)))
    if dimension is None:
        known = "a size, a time, an energy, a power or a number"
        raise ConfigError(f"'{text}' is of no unit that a limit has", allowed=known)
    return Formula(text=text, terms=terms, dimension=dimension, _body=body)


def _terms(node: ast.expr) -> Iterator[Term]:
    match node:
        case ast.Name(id=name):
            yield _term(name, None)
        case ast.Attribute(value=ast.Name(id=name), attr=statistic):
            yield _term(name, statistic)
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool) and math.isfinite(value):
            return
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            yield from _terms(operand)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div(), right=right):
            yield from _terms(left)
            yield from _terms(right)
        case ast.Call(func=ast.Name(id="max" | "min"), args=[_, _, *_] as args, keywords=[]):
            for each in args:
                yield from _terms(each)
        case _:
            raise SyntaxError


def _term(name: str, statistic: str | None) -> Term:
    if name not in METRICS:
        raise unknown_metric(name)
    metric = METRICS[name]
    if metric.source is not None:
        raise ConfigError(f"{name} holds two models against each other", allowed="metrics of one file")
    if statistic is not None and (metric.estimator != "quantile" or not re.fullmatch(r"p[5-9]\d", statistic)):
        raise ConfigError(f"'{name}.{statistic}' is no quantile of a latency", allowed="latency.p50 to latency.p99")
    return Term(metric=name, statistic=statistic)


def _powers(node: ast.expr) -> _Powers:
    """Powers of a size, a time and an energy that a part of a formula has."""
    match node:
        case ast.Name(id=name) | ast.Attribute(value=ast.Name(id=name)):
            dimension = METRICS[name].dimension
            return Counter({dimension: 1} if dimension in ("size", "time", "energy") else {})
        case ast.UnaryOp(operand=operand):
            return _powers(operand)
        case ast.BinOp(left=left, op=ast.Mult() | ast.Div() as operator, right=right):
            found = Counter(_powers(left))
            found.update(_powers(right)) if isinstance(operator, ast.Mult) else found.subtract(_powers(right))
            return found
        case ast.BinOp(left=left, right=right):
            return _same([left, right])
        case ast.Call(args=args):
            return _same(args)
    return Counter()


def _same(nodes: list[ast.expr]) -> _Powers:
    first, *others = (_powers(each) for each in nodes)
    # Counters with a power of 0 are equal to those without it.
    if any(first != each for each in others):
        said = ", ".join(ast.unparse(each) for each in nodes)
        raise ConfigError(f"{said} are not of the same unit", allowed="sums and comparisons of the same unit")
    return first


def _range(node: ast.expr, ranges: Mapping[Term, Range]) -> Range:
    match node:
        case ast.Name(id=name):
            return _pair(ranges[Term(metric=name)])
        case ast.Attribute(value=ast.Name(id=name), attr=statistic):
            return _pair(ranges[Term(metric=name, statistic=statistic)])
        case ast.Constant(value=int() | float() as value):
            return float(value), float(value)
        case ast.UnaryOp(operand=operand):
            low, high = _range(operand, ranges)
            return -high, -low
        case ast.BinOp(left=left, op=operator, right=right):
            return _combine(operator, _range(left, ranges), _range(right, ranges))
        case ast.Call(func=ast.Name(id=name), args=args):
            lows, highs = zip(*(_range(each, ranges) for each in args), strict=True)
            return (max(lows), max(highs)) if name == "max" else (min(lows), min(highs))
    raise AssertionError(ast.dump(node))  # `_terms` has refused all else


def _pair(range_: Range) -> Range:
    return float(range_[0]), float(range_[1])


def _combine(operator: ast.operator, left: Range, right: Range) -> Range:
    match operator:
        case ast.Add():
            return left[0] + right[0], left[1] + right[1]
        case ast.Sub():
            return left[0] - right[1], left[1] - right[0]
        case ast.Div():
            if right[0] <= 0 <= right[1]:
                raise MeasurementError("a division by what may be 0")
            right = 1 / right[1], 1 / right[0]
    products = [one * other for one in left for other in right]
    return min(products), max(products)
