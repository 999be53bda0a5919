"""Metrics that budgets can limit, and the units people write limits in."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgekd.errors import ConfigError, did_you_mean
from edgekd.units.metrics import BASE_UNIT, METRICS, UNITS, Estimator, Metric

__all__ = [
    "BASE_UNIT",
    "METRICS",
    "UNITS",
    "Estimator",
    "Limit",
    "Metric",
    "human",
    "human_as",
    "parse_duration",
    "parse_limit",
    "parse_share",
    "parse_size",
    "read_limit",
    "unknown_metric",
]


def unknown_metric(name: str) -> ConfigError:
    """Say which metrics there are; those that only hold a file against the last release by their rule."""
    named = [each.name for each in METRICS.values() if not each.is_regression]
    return ConfigError(
        f"unknown metric '{name}'",
        allowed=f"{', '.join(named)}; against the last release also NAME_drop of shares and NAME_increase of others",
        next_step=did_you_mean(name, METRICS),
    )


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A parsed limit: `value` in the base unit, `unit` as written."""

    value: float
    unit: str


def parse_limit(metric: str, text: str) -> Limit:
    """Parse what people write in budgets.

    Args:
        metric: A key of `METRICS`.
        text: A number and a unit of the metric's dimension; of errors, a number alone.

    Raises:
        ConfigError: Unknown metric, no number, or a unit of another dimension.

    >>> parse_limit("file_size", "100 kB").value
    100000.0
    >>> parse_limit("accuracy_drop", "1.5 pt").value, parse_limit("mean_squared_error", "0.05").value
    (0.015, 0.05)
    """
    if metric not in METRICS:
        raise unknown_metric(metric)
    return read_limit(METRICS[metric], text)


def read_limit(metric: Metric, text: str) -> Limit:
    """Parse a limit of a metric, which may be one of a budget's own.

    Raises:
        ConfigError: No number, or a unit of another dimension.

    >>> read_limit(METRICS["energy"], "5 mJ").value
    0.005
    """
    units = UNITS[metric.dimension]
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*(\S*)\s*", text)
    if not match or match[2] not in units:
        if "" not in units:
            raise ConfigError(f"limit '{text}' of {metric.name} is no number with a unit", allowed=" ".join(units))
        allowed = " or ".join(f"a number in {unit}" if unit else "a number alone" for unit in units)
        raise ConfigError(f"limit '{text}' of {metric.name} is no such number", allowed=allowed)
    return Limit(value=float(match[1]) * units[match[2]], unit=match[2])


def parse_duration(text: str, where: str | None = None) -> float:
    """Parse a duration that people write, in seconds.

    Raises:
        ConfigError: No number above 0 with a unit.

    >>> parse_duration("10m"), parse_duration("90 s")
    (600.0, 90.0)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|min|h)\s*", text)
    if not match or not float(match[1]):
        raise ConfigError(f"'{text}' is no duration", where=where, allowed='a number and s, m or h, e.g. "10m"')
    return float(match[1]) * {"s": 1, "m": 60, "min": 60, "h": 3600}[match[2]]


def human(value: float, unit: str) -> str:
    """Write a stored value the way people read it.

    >>> human(98496, "B"), human(0.000078, "s"), human(0.0052, "J"), human(0.8766, "1"), human(0.051234, "")
    ('98.5 kB', '78.0 µs', '5.2 mJ', '87.66 %', '0.05123')
    >>> human(21.5, "tokens/s"), human(1234.5, "tokens/s")
    ('21.5 tokens/s', '1,234 tokens/s')
    """
    if unit == "B":
        for factor, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
            if abs(value) >= factor:
                return f"{value / factor:.1f} {name}"
        return f"{value:.0f} B"
    if unit in ("s", "J", "W"):
        for factor, prefix in ((1.0, ""), (1e-3, "m"), (1e-6, "µ")):
            if abs(value) >= factor:
                return f"{value / factor:{'.3g' if value / factor < 10 else '.1f'}} {prefix}{unit}"
        return f"{value / 1e-9:.0f} n{unit}"
    if unit == "1":
        return f"{value * 100:.2f} %"
    digits = (",.0f" if abs(value) >= 100 else ".3g") if unit == "tokens/s" else "g" if unit else ".4g"
    return f"{value:{digits}} {unit}".rstrip()


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


def parse_share(text: str, where: str | None = None) -> float:
    """Parse a share that people write in percent.

    Raises:
        ConfigError: No number with a percent sign.

    >>> parse_share("2 %")
    0.02
    """
    try:
        return parse_limit("accuracy", text).value
    except ConfigError:
        raise ConfigError(f"'{text}' is no share", where=where, allowed='a number in percent, e.g. "2 %"') from None
