"""A table of the user's own: one row a sample, columns of numbers as features, one or more as labels."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgekd.datasets import Source, Split
from edgekd.datasets._labels import NORMAL_AND_ANOMALY, mark_anomalies, number_classes, number_groups, sort_classes
from edgekd.datasets._places import find
from edgekd.datasets._table import Table, parse_number, read_table
from edgekd.errors import ConfigError, DataError


def load(
    *,
    path: Path,
    labels: tuple[str, ...],
    test_path: Path | None = None,
    features: tuple[str, ...] = (),
    group: str | None = None,
    task: Literal["single_label", "multi_label", "regression", "reconstruction"] = "single_label",
    classes: tuple[str, ...] | None = None,
    normal: str | None = None,
    delimiter: str = ",",
    standardise: bool = True,
) -> Source:
    r"""Load a table whose first line names its columns.

    Args:
        path: UTF-8; a relative one is also looked for in the folders of `EDGEKD_DATA`.
        labels: Columns. `single_label` and `reconstruction`: one, of any text, empty where a label is missing.
            `multi_label`: one of 0 and 1 for each class. `regression`: one or more of numbers.
        test_path: A table of the same columns, kept for the end.
        features: Columns of numbers, in this order; all others by default.
        group: Column that says what belongs together (a patient); no split parts a group.
        task: What is learned.
        classes: Their names, in an order of one's own.
        normal: For reconstruction: the label of normal samples; all others are anomalies.
        delimiter: Between values, one character.
        standardise: Give each feature mean 0 and deviation 1 over the training split.

    Returns:
        Inputs (N, features).

    Raises:
        DataError: A table that is not as described; says line and column.
        ConfigError: Label columns that do not suit the task.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "own.csv"
    >>> _ = file.write_text("width,height,kind\n1,2,cat\n3,4,dog\n")
    >>> source = load(path=file, labels=("kind",))
    >>> source.classes, source.train.inputs.tolist(), source.train.labels.tolist()
    (('cat', 'dog'), [[1.0, 2.0], [3.0, 4.0]], [0, 1])
    """
    if not labels or (len(labels) > 1 and task in ("single_label", "reconstruction")):
        raise ConfigError(
            f"{len(labels)} label columns for {task}", where="data.labels", allowed="one" if labels else "one or more"
        )
    if both := (set(labels) | {group}) & set(features):
        raise ConfigError(f"column '{both.pop()}' is a feature too", where="data.features")
    tables = [_read(find(path), labels, features, group, delimiter)]
    if test_path is not None:
        tables.append(_read(find(test_path, "test_path"), labels, tables[0][1].columns, group, delimiter))
    names = _names(tables[0][1], labels, task, classes)
    train, *test = (_as_split(file, table, labels, group, task, names, normal) for file, table in tables)
    return Source(
        train=train,
        test=test[0] if test else None,
        classes=names,
        scale=1.0,
        task=task,
        front_end={"features": list(tables[0][1].columns)},
        standardise=1 if standardise else None,
    )


def files(*, path: Path, test_path: Path | None = None, **_: object) -> list[Path]:
    """The tables."""
    return [find(path), *([find(test_path, "test_path")] if test_path is not None else [])]


def _read(
    path: Path, labels: tuple[str, ...], features: tuple[str, ...], group: str | None, delimiter: str
) -> tuple[Path, Table]:
    texts = (*labels, *([group] if group is not None else []))
    table = read_table(path, numbers=features, texts=texts, delimiter=delimiter)
    if not table.columns:
        raise DataError("no feature columns", where=str(path), allowed="some beside those of labels and groups")
    return path, table


def _names(table: Table, labels: tuple[str, ...], task: str, classes: tuple[str, ...] | None) -> tuple[str, ...]:
    if task == "reconstruction":
        return NORMAL_AND_ANOMALY
    if task == "single_label":
        return tuple(classes) if classes else sort_classes(table.texts[labels[0]])
    if classes and len(classes) != len(labels):
        raise ConfigError(f"{len(classes)} names", where="data.classes", allowed=f"{len(labels)}, one a label column")
    return tuple(classes or labels)


def _as_split(
    path: Path,
    table: Table,
    labels: tuple[str, ...],
    group: str | None,
    task: str,
    classes: tuple[str, ...],
    normal: str | None,
) -> Split:
    known: NDArray[np.generic]
    if task == "single_label":
        known = number_classes(table.texts[labels[0]], classes, str(path))
    elif task == "reconstruction":
        known = mark_anomalies(table.texts[labels[0]], normal, str(path))
    else:
        known = _parse_wide(path, table, labels, task)
    groups = None if group is None else number_groups(table.texts[group])
    return Split(inputs=table.numbers, labels=known, groups=groups)


def _parse_wide(path: Path, table: Table, labels: tuple[str, ...], task: str) -> NDArray[np.generic]:
    values = np.empty((len(table.lines), len(labels)))
    for column, name in enumerate(labels):
        for row, (line, text) in enumerate(zip(table.lines, table.texts[name], strict=True)):
            at = f"line {line}, column '{name}'"
            values[row, column] = parse_number(text, at, str(path))
            if task == "multi_label" and values[row, column] not in (0, 1):
                raise DataError(f"{at}: {text!r}", where=str(path), allowed="0 or 1")
    return values.astype(np.int64 if task == "multi_label" else np.float32)
