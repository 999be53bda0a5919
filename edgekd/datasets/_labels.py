"""Names of classes and groups as people write them, made the numbers that a split holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgekd.datasets._splits import UNLABELLED
from edgekd.errors import DataError, did_you_mean

NORMAL_AND_ANOMALY = ("normal", "anomaly")


def number_groups(names: Sequence[object] | NDArray[np.generic]) -> NDArray[np.int64]:
    """Number groups in the order of their names.

    >>> number_groups(["theo", "lucas", "theo"]).tolist()
    [1, 0, 1]
    """
    return np.unique(np.asarray([str(name) for name in names]), return_inverse=True)[1].astype(np.int64)


def sort_classes(names: Sequence[str]) -> tuple[str, ...]:
    """Order the names of classes that occur: as numbers where all are, else as text; empty ones are no class.

    >>> sort_classes(["10", "9", "", "9"])
    ('9', '10')
    """
    found = {name for name in names if name}
    try:
        return tuple(sorted(found, key=lambda name: (float(name), name)))
    except ValueError:
        return tuple(sorted(found))


def number_classes(names: Sequence[str], classes: tuple[str, ...], where: str) -> NDArray[np.int64]:
    """Turn names into indices of `classes`; an empty name is a missing label, -1.

    Raises:
        DataError: A name that is no class.

    >>> number_classes(["b", "a", ""], ("a", "b"), "data").tolist()
    [1, 0, -1]
    """
    if len(set(classes)) != len(classes):
        raise DataError(f"a class is named twice: {', '.join(classes)}", where="data.classes")
    index = {name: number for number, name in enumerate(classes)}
    index[""] = UNLABELLED
    for name in names:
        if name not in index:
            raise DataError(
                f"label '{name}' is no class",
                where=where,
                allowed=", ".join(classes),
                next_step=did_you_mean(name, classes),
            )
    return np.array([index[name] for name in names], np.int64)


def mark_anomalies(names: Sequence[str], normal: str | None, where: str) -> NDArray[np.int64]:
    """Label samples for reconstruction: 0 where the name is the normal class, 1 elsewhere.

    Raises:
        DataError: Which class is normal was not said, or no sample is of it, or one has no label.

    >>> mark_anomalies(["1", "3", "1"], "1", "data").tolist()
    [0, 1, 0]
    """
    classes = sort_classes(names)
    if normal is None or normal not in classes:
        raise DataError(
            "which class is normal?" if normal is None else f"no sample of the normal class '{normal}'",
            where=where if normal else "data.normal",
            allowed=", ".join(classes),
            next_step=did_you_mean(normal, classes) if normal else None,
        )
    if "" in names:
        raise DataError("a sample without a label: it may be an anomaly", where=where)
    return np.array([name != normal for name in names], np.int64)
