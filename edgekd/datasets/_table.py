"""Tables of text: strict, with the line and the column in every message."""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import DataError, did_you_mean

_FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, kw_only=True)
class Table:
    """What was read of a table; rows in their order.

    Attributes:
        numbers: (rows, columns of numbers) float32.
        texts: The other columns that were asked for, by name.
        lines: Line of each row in the file.
    """

    header: tuple[str, ...]
    columns: tuple[str, ...]
    numbers: NDArray[np.float32]
    texts: dict[str, list[str]]
    lines: tuple[int, ...]


def read_table(
    path: Path, *, numbers: Sequence[str], texts: Sequence[str], delimiter: str, aside: Sequence[str] = ()
) -> Table:
    """Read a CSV file with a header.

    Args:
        path: UTF-8, with or without a byte order mark.
        numbers: Columns of numbers; empty for all that are neither in `texts` nor in `aside`.
        texts: Columns to keep as they are, without spaces around.
        delimiter: One character.
        aside: Columns that `numbers`, where it is empty, does not mean.

    Raises:
        DataError: Columns that are missing or doubled, ragged rows, or values that are no finite numbers.
    """
    where = str(path)
    if len(delimiter) != 1:
        raise DataError(f"'{delimiter}' is not one character", where="data.delimiter")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, delimiter=delimiter, strict=True)
            header = tuple(name.strip() for name in next(rows, []))
            columns = _choose(header, numbers, texts, aside, where)
            text_at = [header.index(name) for name in texts]
            number_at = [(header.index(name), name) for name in columns]
            values = array("d")
            kept: list[list[str]] = [[] for _ in texts]
            lines = []
            for row in rows:
                if not row:
                    continue  # a blank line
                line = rows.line_num
                if len(row) != len(header):
                    raise DataError(f"line {line}: {len(row)} values", where=where, allowed=f"{len(header)}")
                for column, at in zip(kept, text_at, strict=True):
                    column.append(row[at].strip())
                for at, name in number_at:
                    values.append(parse_number(row[at], f"line {line}, column '{name}'", where))
                lines.append(line)
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text: {error.reason} at byte {error.start}", where=where) from None
    except csv.Error as error:
        raise DataError(f"line {rows.line_num}: {error}", where=where) from None
    if not lines:
        raise DataError("holds no rows", where=where)
    return Table(
        header=header,
        columns=columns,
        numbers=np.frombuffer(values, np.float64).reshape(len(lines), -1).astype(np.float32),
        texts=dict(zip(texts, kept, strict=True)),
        lines=tuple(lines),
    )


def parse_number(text: str, at: str, where: str) -> float:
    """Read one number.

    Raises:
        DataError: It is none, or not finite as float32.

    >>> parse_number(" 1e-3", "line 2", "own.csv")
    0.001
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if "_" in text or not abs(value) <= _FLOAT32_MAX:  # float() takes 1_000, "nan" and "inf" too
        raise DataError(f"{at}: {text.strip()!r}", where=where, allowed="a finite number")
    return value


def _choose(
    header: tuple[str, ...], numbers: Sequence[str], texts: Sequence[str], aside: Sequence[str], where: str
) -> tuple[str, ...]:
    if not header:
        raise DataError("empty; its first line names the columns", where=where)
    for name in header:
        if not name or header.count(name) > 1:
            raise DataError(f"two columns are called '{name}'" if name else "a column without a name", where=where)
    for name in (*numbers, *texts):
        if name not in header:
            raise DataError(
                f"no column '{name}'", where=where, allowed=", ".join(header), next_step=did_you_mean(name, header)
            )
    return tuple(numbers) or tuple(name for name in header if name not in texts and name not in aside)
