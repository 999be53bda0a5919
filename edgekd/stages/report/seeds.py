"""Networks that were trained several times: the number at the end of a name is its seed."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SEED = re.compile(r"^(?P<group>.+)-seed-(?P<seed>\d+)$")


def seed_of(name: str) -> int | None:
    """Read the seed off a network's name; `None` where it was trained once.

    >>> seed_of("control-seed-12"), seed_of("control")
    (12, None)
    """
    match = _SEED.match(name)
    return int(match["seed"]) if match else None


def group_of(name: str) -> str:
    """Take the seed off a network's name.

    >>> group_of("control-seed-12"), group_of("teacher-0")
    ('control', 'teacher-0')
    """
    match = _SEED.match(name)
    return match["group"] if match else name


def groups_of(names: Iterable[str]) -> dict[str, list[str]]:
    """Put networks that differ only in their seed together, seeds in order.

    >>> groups_of(["student-seed-1", "teacher-0", "student-seed-0"])
    {'student': ['student-seed-0', 'student-seed-1'], 'teacher-0': ['teacher-0']}
    """
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(group_of(name), []).append(name)
    return {
        group: sorted(each, key=lambda name: (seed_of(name) is not None, seed_of(name) or 0))
        for group, each in found.items()
    }
