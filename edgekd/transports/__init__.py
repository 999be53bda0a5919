"""Where model files run: a transport copies files to a target, runs a program there, and brings files back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

_ENOUGH_FREE_BYTES = 200 * 10**6


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A program that ended on a target.

    Attributes:
        code: Exit code; negative is the number of the signal that killed it.
        stdout: All it printed, decoded; bytes that are no UTF-8 are replaced.
        stderr: Kept apart from `stdout`.
    """

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that `check` looked at on a target.

    Attributes:
        name: What was looked at.
        detail: What was found.
        next_step: What to do when it is not right.
    """

    name: str
    right: bool
    detail: str
    next_step: str = ""


def find_room(free_bytes: int, place: str, next_step: str) -> Finding:
    """Say whether a scratch folder holds a model and what it is measured with.

    >>> find_room(5 * 10**6, "/tmp", "make room there").right
    False
    """
    enough = free_bytes >= _ENOUGH_FREE_BYTES
    detail = f"{free_bytes / 1e6:.0f} MB free in {place}"
    return Finding(name="scratch folder", right=enough, detail=detail, next_step="" if enough else next_step)


class Transport(Protocol):
    """A connection to a target, with a scratch folder there that goes when the connection closes.

    A module of one whose programs run on this machine's processor says `ON_THIS_MACHINE = True`.

    Attributes:
        python: The interpreter that runs the runner there.
    """

    python: str

    def push(self, local: Path) -> str:
        """Copy a file into the scratch folder and return its path there; equal names don't collide."""

    def run(self, argv: Sequence[str], timeout_s: float) -> Finished:
        """Run a program in the scratch folder; arguments arrive as they are, whatever they hold.

        Several threads may each run one at the same time.

        Raises:
            TargetError: It could not be started or took longer than `timeout_s`; nothing of it goes on running.
        """

    def pull(self, remote: str, local: Path) -> None:
        """Copy a file back.

        Raises:
            TargetError: There is no such file.
        """

    def check(self) -> tuple[Finding, ...]:
        """Look whether this target can be used, without raising."""

    def close(self) -> None:
        """End what other threads still run there, and remove the scratch folder; a second call does nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
