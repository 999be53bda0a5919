"""The processes that a launcher started: the first one runs the recipe, the others train with it and then go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgekd.launch import process_count
from edgekd.pipeline.workspace import Step, Workspace

if TYPE_CHECKING:
    from edgekd.stages.distill.processes import Processes

# Steps that all processes do together.
TOGETHER = {"teachers", "assistants", "distill"}


class Team:
    """The others, as the first process sees them."""

    def __init__(self) -> None:
        self._all = _find() if process_count() > 1 else None

    def begin(self, step: str) -> None:
        """Call all to a step."""
        if self._all and step in TOGETHER:
            self._all.share(step)

    def end(self, step: str) -> None:
        """Wait until all have done a step: each of them writes its files."""
        if self._all and step in TOGETHER:
            self._all.wait()

    def dismiss(self) -> None:
        """Say that there is nothing more to train; once is enough."""
        if self._all:
            self._all.share("")
        self._all = None


def follow(space: Workspace, steps: Sequence[Step]) -> None:
    """Do the steps that the first process calls to, until it needs nobody any more."""
    together = _find()
    while name := together.share(""):
        step = next(step for step in steps if step.name == name)
        step.make(space, space.store.stage(name))
        together.wait()


def _find() -> Processes:
    from edgekd.records import DistillSpec
    from edgekd.stages.distill.processes import find_processes

    return find_processes(DistillSpec(batch_size=process_count()), name="run", folder=None)
