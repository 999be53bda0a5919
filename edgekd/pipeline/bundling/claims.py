"""What a bundle says, with what was found of it."""

from __future__ import annotations

from collections.abc import Sequence

from edgekd.records import Claim

_SHOWN = 3


def claim(name: str, wrong: Sequence[str], right: str) -> Claim:
    """Say that something holds, or the first few things that are wrong with it.

    >>> claim("files", ["a (missing)", "b (changed)", "c (extra)", "d (extra)"], "all there").detail
    'a (missing), b (changed), c (extra) and 1 more'
    """
    if not wrong:
        return Claim(name=name, state="ok", detail=right)
    return Claim(name=name, state="wrong", detail=shorten(wrong))


def shorten(wrong: Sequence[str]) -> str:
    """The first few of a list, and how many more there are."""
    more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    return f"{', '.join(wrong[:_SHOWN])}{more}"
