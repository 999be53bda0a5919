"""Metrics that budgets can limit, and the units people write limits in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from edgekd.errors import ConfigError, did_you_mean

# Factor to the base unit of each dimension: bytes, seconds, a share of one.
UNITS: dict[str, dict[str, float]] = {
    "size": {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30},
    "time": {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0},
    "share": {"%": 0.01},
    "drop": {"pt": 0.01, "%": 0.01},
}
BASE_UNIT = {"size": "B", "time": "s", "share": "1", "drop": "1"}


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What a metric is: its dimension, and whether a budget bounds it from above or below."""

    name: str
    dimension: Literal["size", "time", "share", "drop"]
    bound: Literal["at most", "at least"]
    summary: str

    @property
    def unit(self) -> str:
        """Unit in which it is stored."""
        return BASE_UNIT[self.dimension]


METRICS = {
    metric.name: metric
    for metric in (
        Metric(name="file_size", dimension="size", bound="at most", summary="bytes of the file"),
        Metric(name="compressed_size", dimension="size", bound="at most", summary="bytes of the file after gzip -9"),
        Metric(name="accuracy", dimension="share", bound="at least", summary="share of test samples predicted right"),
        Metric(
            name="accuracy_drop",
            dimension="drop",
            bound="at most",
            summary="accuracy lost against the teacher or student: '2 pt' in points, '2 %' of the reference",
        ),
        Metric(name="latency", dimension="time", bound="at most", summary="time of one steady-state inference"),
        Metric(name="load_time", dimension="time", bound="at most", summary="time to load the model"),
        Metric(name="first_inference", dimension="time", bound="at most", summary="time of the first inference"),
        Metric(
            name="peak_memory", dimension="size", bound="at most", summary="peak resident memory added by the model"
        ),
        Metric(name="arena_size", dimension="size", bound="at most", summary="tensor arena of TFLite Micro"),
        Metric(
            name="parity",
            dimension="share",
            bound="at least",
            summary="share of samples where the file predicts what the torch student predicts",
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A parsed limit: `value` in the base unit, `unit` as written."""

    value: float
    unit: str


def parse_limit(metric: str, text: str) -> Limit:
    """Parse what people write in budgets.

    Args:
        metric: A key of `METRICS`.
        text: A number and a unit of the metric's dimension.

    Raises:
        ConfigError: Unknown metric, no number, or a unit of another dimension.

    >>> parse_limit("file_size", "100 kB").value
    100000.0
    >>> parse_limit("accuracy_drop", "1.5 pt").value
    0.015
    """
    if metric not in METRICS:
        raise ConfigError(
            f"unknown metric '{metric}'", allowed=", ".join(METRICS), next_step=did_you_mean(metric, METRICS)
        )
    units = UNITS[METRICS[metric].dimension]
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*(\S+)\s*", text)
    if not match or match[2] not in units:
        raise ConfigError(f"limit '{text}' of {metric} is no number with a unit", allowed=" ".join(units))
    return Limit(value=float(match[1]) * units[match[2]], unit=match[2])


def human(value: float, unit: str) -> str:
    """Write a stored value the way people read it.

    >>> human(98496, "B"), human(0.000078, "s"), human(0.8766, "1")
    ('98.5 kB', '78.0 µs', '87.66 %')
    """
    if unit == "B":
        for factor, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
            if abs(value) >= factor:
                return f"{value / factor:.1f} {name}"
        return f"{value:.0f} B"
    if unit == "s":
        for factor, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
            if abs(value) >= factor:
                return f"{value / factor:.3g} {name}" if value / factor < 10 else f"{value / factor:.1f} {name}"
        return f"{value / 1e-9:.0f} ns"
    return f"{value * 100:.2f} %" if unit == "1" else f"{value:g} {unit}"


def human_as(limit: str, value: float, unit: str) -> str:
    """Write a value in the words of the limit that it is held against: drops in points where people wrote points.

    >>> human_as("3 pt", 0.0123, "1"), human_as("3 %", 0.0123, "1")
    ('1.23 pt', '1.23 %')
    """
    return f"{value * 100:.2f} pt" if limit.rstrip().endswith("pt") else human(value, unit)


def parse_size(text: str, where: str | None = None) -> int:
    """Parse a size that people write, in bytes.

    Raises:
        ConfigError: No number with a unit.

    >>> parse_size("500 MB")
    500000000
    """
    try:
        return int(parse_limit("file_size", text).value)
    except ConfigError:
        raise ConfigError(f"'{text}' is no size", where=where, allowed='a number and a unit, e.g. "500 MB"') from None
