"""What a bundle says of itself, and what became of that when it was looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class BundledFile:
    """A file in a bundle."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class BundleIndex:
    """All that a bundle holds beside this list.

    Attributes:
        edgekd_bundle: Format of the bundle; raised when a file in it changes its meaning.
        files: By path in the bundle.
    """

    edgekd_bundle: int
    files: Mapping[str, BundledFile]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Something that a bundle says, and whether it holds.

    Attributes:
        state: `unchecked` where it may hold and could not be looked at.
        detail: What was found, in a line.
    """

    name: str
    state: Literal["ok", "wrong", "unchecked"]
    detail: str
