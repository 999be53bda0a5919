"""How samples are parted so that what is measured was never learned."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNLABELLED = -1


def choose_held_out(
    labels: NDArray[np.generic],
    groups: NDArray[np.int64] | None,
    share: float,
    seed: int,
    *,
    by_class: bool,
    leave: int = 1,
) -> NDArray[np.bool_]:
    """Choose the samples to hold out.

    Whole groups where there are any, so that a voice or a patient that was learned is not asked again; else the
    same share of every class; else any samples. Samples without a label stay: nothing can be measured on them.

    Args:
        labels: (N, ...).
        groups: (N,) the group of each sample.
        share: To hold out.
        seed: Of the draw.
        by_class: Labels are indices of classes, and no class may be left out.
        leave: So many groups must stay.

    Returns:
        (N,), true where held out.

    >>> held = choose_held_out(np.zeros(6), np.array([0, 0, 1, 1, 2, 2]), 0.3, 0, by_class=False)
    >>> int(held.sum())
    2
    """
    rng = np.random.default_rng(seed)
    held = np.zeros(len(labels), bool)
    if groups is not None:
        names, sizes = np.unique(groups, return_counts=True)
        order = rng.permutation(len(names))
        total = np.cumsum(sizes[order])
        # At least one group; as near to the share as whole groups allow.
        count = int(np.abs(total - share * len(labels)).argmin()) + 1 if share > 0 else 0
        held[np.isin(groups, names[order[: max(0, min(count, len(names) - leave))]])] = True
        return held
    order = rng.permutation(len(labels))
    if not by_class:
        held[order[: round(share * len(labels))]] = True
        return held
    for label in np.unique(labels):
        members = order[labels[order] == label]
        if label != UNLABELLED:
            held[members[: round(share * len(members))]] = True
    return held


def hash_of_split(inputs: NDArray[Any], labels: NDArray[Any]) -> str:
    """Hash samples and labels of a split, in their order: what is measured on equal ones can be paired.

    >>> hash_of_split(np.zeros((2, 3)), np.array([0, 1])) == hash_of_split(np.zeros((3, 2)), np.array([0, 1]))
    False
    """
    digest = hashlib.sha256()
    for array in (inputs, labels):
        digest.update(f"{array.dtype.str} {array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
