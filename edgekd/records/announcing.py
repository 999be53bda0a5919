"""Where what is announced was written."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Place:
    """A line of a file.

    Attributes:
        file: As people would open it from where edgekd runs.
        line: From 1.
    """

    file: str
    line: int
