"""Files of texts: tables with or without a header, labelled lines, and plain lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgekd.datasets._texts import Text
from edgekd.errors import ConfigError, DataError, did_you_mean

Layout = Literal["csv", "tsv", "labelled_lines", "lines"]


@dataclass(frozen=True, kw_only=True)
class Read:
    """What a file holds, in its order.

    Attributes:
        texts: One a sample, or a pair.
        labels: As they are written; empty where a label is missing.
        lines: Line on which each sample ends.
    """

    texts: tuple[Text, ...]
    labels: tuple[str, ...]
    lines: tuple[int, ...]


def read_texts(
    path: Path,
    *,
    layout: Layout,
    text: Sequence[str],
    pairs: bool,
    label: str | None,
    header: bool,
    fine: bool,
    encoding: str,
) -> Read:
    """Read a file of texts.

    Args:
        path: The file.
        layout: `csv`: commas, and quotes around what holds some; `tsv`: tabs, quotes are nothing special;
            `labelled_lines`: the first word is the label, `COARSE:fine`; `lines`: a text each, without labels.
        text: Columns of a table that are joined to a text, with a space between them.
        pairs: Whether they are two, and are kept apart.
        label: Its column of labels; `None` for none.
        header: Whether its first line names the columns; else they are called 1, 2, 3.
        fine: Whether a label is all of `COARSE:fine`, not what is before the colon.
        encoding: Of the file, as Python calls it.

    Raises:
        DataError: Bytes of another encoding, columns that are missing, ragged rows, or nothing at all.
        ConfigError: No such encoding.
    """
    content = _decode(path, encoding)
    if layout in ("csv", "tsv"):
        found = _read_table(content, path, layout, text, label, pairs=pairs, header=header)
    else:
        rows = [(number, line.strip()) for number, line in enumerate(content.split("\n"), 1) if line.strip()]
        parts = [
            _parted(line, path, number, fine=fine) if layout == "labelled_lines" else (line, "")
            for number, line in rows
        ]
        found = Read(
            texts=tuple(each for each, _ in parts),
            labels=tuple(each for _, each in parts),
            lines=tuple(number for number, _ in rows),
        )
    if not found.texts:
        raise DataError("holds no texts", where=str(path))
    return found


def joined(columns: Sequence[str], *, pairs: bool) -> Text:
    """Make a sample of columns.

    >>> joined(["A title", "a body"], pairs=False), joined(["One", "other"], pairs=True)
    ('A title a body', ('One', 'other'))
    """
    return (columns[0], columns[1]) if pairs else " ".join(columns)


def check_pairs(columns: Sequence[str], key: str) -> None:
    """Refuse pairs of more or less than two columns.

    Raises:
        ConfigError: They are not two.
    """
    if len(columns) != 2:
        raise ConfigError(f"pairs of {len(columns)} columns", where=f"data.{key}", allowed="two columns of texts")


def _decode(path: Path, encoding: str) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding)
    except LookupError:
        raise ConfigError(f"no encoding '{encoding}'", where="data.encoding", allowed="utf-8, latin-1, ...") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"line {line}: byte 0x{content[error.start]:02x} is not {encoding}",
            where=str(path),
            next_step='say what it is, e.g. encoding = "latin-1"',
        ) from None


def _parted(line: str, path: Path, number: int, *, fine: bool) -> tuple[str, str]:
    """Part a labelled line: its text and its label."""
    label, _, text = line.partition(" ")
    if not text.strip():
        raise DataError(f"line {number}: no text after '{label}'", where=str(path), allowed="LABEL text")
    return text.strip(), label if fine else label.partition(":")[0]


def _read_table(
    content: str, path: Path, layout: Layout, text: Sequence[str], label: str | None, *, pairs: bool, header: bool
) -> Read:
    stream = io.StringIO(content, newline="")
    if layout == "csv":
        rows = csv.reader(stream, strict=True)
    else:
        rows = csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)
    texts: list[Text] = []
    labels, lines = [], []
    names: list[str] = []
    try:
        for row in rows:
            if not row:
                continue  # a blank line
            if not names:
                names = [each.strip() for each in row] if header else [str(each + 1) for each in range(len(row))]
                chosen = [_find(names, each, path) for each in text]
                at = None if label is None else _find(names, label, path)
                if header:
                    continue
            if len(row) != len(names):
                raise DataError(f"line {rows.line_num}: {len(row)} values", where=str(path), allowed=f"{len(names)}")
            texts.append(joined([row[each].strip() for each in chosen], pairs=pairs))
            labels.append("" if at is None else row[at].strip())
            lines.append(rows.line_num)
    except csv.Error as error:
        raise DataError(f"line {rows.line_num}: {error}", where=str(path)) from None
    return Read(texts=tuple(texts), labels=tuple(labels), lines=tuple(lines))


def _find(names: Sequence[str], wanted: str, path: Path) -> int:
    if names.count(wanted) != 1:
        raise DataError(
            f"{'no column' if wanted not in names else 'two columns are called'} '{wanted}'",
            where=str(path),
            allowed=", ".join(names),
            next_step=did_you_mean(wanted, names) or "without a header, columns are called 1, 2, 3: header = false",
        )
    return names.index(wanted)
