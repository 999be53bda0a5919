"""How long work tells how far it is, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Hears of a task after the other; the CLI draws it, notebooks may ignore it."""

    def start(self, task: str, total: int) -> None:
        """Begin a task of `total` steps."""

    def advance(self, count: int = 1) -> None:
        """Tell that so many more steps are done."""

    def end(self) -> None:
        """End the task, finished or not."""

    def beside(self) -> Progress:
        """Give what hears of another task, that goes on at the same time in another thread."""


class Silent:
    """Hears everything, says nothing.

    >>> Silent().start("training", 10)
    """

    def start(self, task: str, total: int) -> None:
        """Ignore a beginning."""

    def advance(self, count: int = 1) -> None:
        """Ignore a step."""

    def end(self) -> None:
        """Ignore an end."""

    def beside(self) -> Silent:
        """Ignore others too."""
        return self
