"""Chooses a precision for every layer at once: a multiple-choice knapsack, solved exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgekd.errors import ExportError

# Of two assignments that lose the same the smaller one, without a say in which loses less.
_TIE = 1e-9
# HiGHS stops where two are within 1e-6: losses of one network lie further apart than that from each other.
_SCALE = 1e6


@dataclass(frozen=True, kw_only=True)
class Option:
    """One precision that a layer may get.

    Attributes:
        loss: What it costs.
        size: In bytes.
    """

    precision: str
    loss: float
    size: int


Options = Mapping[str, Sequence[Option]]
Assignment = Mapping[str, str]


def assign(options: Options, limit: float) -> Assignment:
    """Find the assignment that loses least within a size.

    min sum_lp loss_lp x_lp with sum_p x_lp = 1 for each layer l, sum_lp size_lp x_lp <= limit, x binary (the
    multiple-choice knapsack problem: Kellerer, Pferschy & Pisinger, Knapsack Problems, 2004, section 11.1), by HiGHS.

    Args:
        options: By layer.
        limit: Of the sum of sizes, in bytes.

    Returns:
        A precision for each layer.

    Raises:
        ExportError: Even the smallest assignment is larger.

    >>> small, exact = Option(precision="int4", loss=0.5, size=50), Option(precision="int8", loss=0.1, size=100)
    >>> assign({"stem": [small, exact], "head": [small, exact]}, 150) in (
    ...     {"stem": "int4", "head": "int8"}, {"stem": "int8", "head": "int4"}
    ... )
    True
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    pairs = [(layer, option) for layer, given in options.items() for option in given]
    losses = np.array([option.loss for _, option in pairs])
    sizes = np.array([option.size for _, option in pairs], np.float64)
    one_each = np.array([[float(layer == each) for each, _ in pairs] for layer in options])
    found = milp(
        _SCALE * (losses / (losses.max() or 1.0) + _TIE * sizes / sizes.sum()),
        integrality=np.ones(len(pairs), np.int64),
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(sizes[None] / limit, -np.inf, 1.0)],
        options={"mip_rel_gap": 0.0},
    )
    if found.x is None:
        raise ExportError(
            f"no assignment of precisions fits {limit:,.0f} B",
            where="mixed",
            allowed=f"{sum(min(each.size for each in given) for given in options.values()):,} B or more",
        )
    return {layer: option.precision for (layer, option), taken in zip(pairs, found.x, strict=True) if taken > 0.5}


def sweep(options: Options, points: int) -> Iterator[Assignment]:
    """Find the best assignments of sizes between the smallest one and the one that loses least.

    Args:
        options: By layer.
        points: How many sizes, each by the same share larger than the one before.

    Returns:
        The smallest first, each once.
    """
    least = sum(min(option.size for option in given) for given in options.values())
    exact = {layer: min(given, key=lambda option: (option.loss, option.size)) for layer, given in options.items()}
    most = sum(option.size for option in exact.values())
    seen: list[Assignment] = []
    for limit in np.geomspace(least, most, points):
        found = assign(options, float(limit))
        if found not in seen:
            seen.append(found)
            yield found


def solve(options: Options, points: int, limits: Sequence[float]) -> list[Assignment]:
    """Give a sweep's assignments, and the best ones of some sizes."""
    return [*sweep(options, points), *(assign(options, limit) for limit in limits)]


def size_of(options: Options, assignment: Assignment) -> int:
    """Sum of an assignment's sizes, in bytes."""
    return sum(_option(options[layer], precision).size for layer, precision in assignment.items())


def loss_of(options: Options, assignment: Assignment) -> float:
    """Sum of an assignment's losses."""
    return sum(_option(options[layer], precision).loss for layer, precision in assignment.items())


def _option(given: Sequence[Option], precision: str) -> Option:
    return next(option for option in given if option.precision == precision)
