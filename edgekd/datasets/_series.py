"""Files of time series, and how series become windows."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgekd.datasets._table import parse_number, read_table
from edgekd.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Series:
    """One recording.

    Attributes:
        values: (channels, length) float32.
        labels: One, or one for each step of time; empty text where it is missing.
        group: What it belongs to; `None` where nothing is known.
        where: File and line, for messages.
    """

    values: NDArray[np.float32]
    labels: tuple[str, ...]
    group: str | None
    where: str


def read_ts(path: Path) -> list[Series]:
    """Read the .ts format of sktime and aeon: `a1,a2,…:b1,b2,…:label`, a line a series, lengths may differ.

    Raises:
        DataError: Says in which line; time stamps and missing values are refused.
    """
    facts: dict[str, str] = {}
    found: list[Series] = []
    in_data = False
    for number, line in _lines(path):
        at = f"line {number}"
        if in_data:
            found.append(_parse_ts(line, facts, at, path))
        elif line.lower() == "@data":
            in_data = True
        elif match := re.fullmatch(r"@(\w+)(?:\s+(.*))?", line):
            facts[match[1].lower()] = (match[2] or "").strip()
        elif not line.startswith("#"):
            raise DataError(f"{at}: '{line[:40]}'", where=str(path), allowed="@key value, # or @data")
    if not in_data or not found:
        raise DataError("no @data" if not in_data else "no series after @data", where=str(path))
    return found


def read_matrix(path: Path) -> list[Series]:
    """Read the text format of the UCR archive: label, then values, a line a series of one channel.

    Values are parted by spaces, tabs or commas; NaN at the end of a line ends a shorter series.

    Raises:
        DataError: Says in which line.
    """
    found = []
    for number, line in _lines(path):
        label, *texts = re.split(r"\s*,\s*|\s+", line)
        while texts and texts[-1].lower() == "nan":
            texts.pop()
        found.append(_one(path, number, [texts], _plain(label)))
    if not found:
        raise DataError("holds no series", where=str(path))
    return found


def read_long(
    path: Path, *, series: str, channels: tuple[str, ...], label: str, group: str | None, delimiter: str
) -> list[Series]:
    """Read a table with a row for each step of time, in order; a column says to which series it belongs.

    Raises:
        DataError: Says line and column.
    """
    texts = [series, *([] if label == "none" else [label]), *([] if group is None else [group])]
    table = read_table(path, numbers=channels, texts=texts, delimiter=delimiter)
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(table.texts[series]):
        rows.setdefault(name, []).append(row)
    found = []
    for name, each in rows.items():
        groups = {table.texts[group][row] for row in each} if group is not None else {None}
        where = f"{path}: series '{name}'"
        if len(groups) > 1:
            raise DataError("belongs to several groups", where=where, allowed="one")
        labels = tuple(table.texts[label][row] for row in each) if label != "none" else ("",)
        found.append(Series(values=table.numbers[each].T, labels=labels, group=groups.pop(), where=where))
    return found


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Windows of equal length.

    Attributes:
        values: (N, channels, length) float32.
        labels: Of each window, those of the steps it covers (not of padding).
        series: (N,) number of the series it is from.
    """

    values: NDArray[np.float32]
    labels: list[tuple[str, ...]]
    series: NDArray[np.int64]


def cut(found: Sequence[Series], length: int, hop: int, padding: Literal["zero", "edge"]) -> Windows:
    """Cut series into windows; what is left at the end and is shorter than a window is dropped.

    Args:
        found: Of the same channels.
        length: Of a window; a series that is shorter becomes one window, padded at its end.
        hop: From the start of one window to that of the next.
        padding: With zeros, or with the last value.

    Raises:
        DataError: Series of different channels.
    """
    channels = len(found[0].values)
    for each in found:
        if len(each.values) != channels:
            raise DataError(f"{len(each.values)} channels", where=each.where, allowed=f"{channels}, as the first has")
    starts = [range(0, max(1, each.values.shape[1] - length + 1), hop) for each in found]
    count = sum(map(len, starts))
    values = np.zeros((count, channels, length), np.float32)
    labels: list[tuple[str, ...]] = []
    series = np.empty(count, np.int64)
    for number, (each, begins) in enumerate(zip(found, starts, strict=True)):
        for begin in begins:
            index = len(labels)
            part = each.values[:, begin : begin + length]
            values[index, :, : part.shape[1]] = part
            if padding == "edge":
                values[index, :, part.shape[1] :] = part[:, -1:]
            series[index] = number
            labels.append(each.labels if len(each.labels) == 1 else each.labels[begin : begin + length])
    return Windows(values=values, labels=labels, series=series)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if text := line.strip():
                    yield number, text
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text: {error.reason} at byte {error.start}", where=str(path)) from None


def _parse_ts(line: str, facts: dict[str, str], at: str, path: Path) -> Series:
    if facts.get("timestamps", "false").lower() == "true":
        raise DataError("series with time stamps", where=str(path), allowed="@timeStamps false")
    dimensions = line.split(":")
    kind, *classes = facts.get("classlabel", "false").split()
    label = ""
    if kind.lower() == "true" or facts.get("targetlabel", "").lower() == "true":
        label = dimensions.pop().strip()
        if classes and label not in classes:
            raise DataError(f"{at}: label '{label}'", where=str(path), allowed=f"as @classLabel says: {classes}")
    if facts.get("dimensions", "").isdecimal() and len(dimensions) != int(facts["dimensions"]):
        raise DataError(f"{at}: {len(dimensions)} dimensions", where=str(path), allowed=f"{facts['dimensions']}")
    return _one(path, int(at.split()[1]), [each.split(",") for each in dimensions], label)


def _one(path: Path, number: int, channels: list[list[str]], label: str) -> Series:
    at = f"line {number}"
    if not channels or not channels[0]:
        raise DataError(f"{at}: no values", where=str(path))
    if len({len(each) for each in channels}) > 1:
        raise DataError(f"{at}: channels of different lengths", where=str(path))
    values = [[parse_number(text, at, str(path)) for text in each] for each in channels]
    return Series(values=np.array(values, np.float32), labels=(label,), group=None, where=f"{path}: {at}")


def _plain(label: str) -> str:
    """`1.0000000e+00`, as matrices of numbers have it, is class 1."""
    try:
        value = float(label)
    except ValueError:
        return label
    return str(int(value)) if math.isfinite(value) and value == int(value) else label
