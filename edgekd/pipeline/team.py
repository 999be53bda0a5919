"""The processes that a launcher started: the first one runs the recipe, the others train with it and then go."""

from __future__ import annotations

from collections.abc import Sequence

from edgekd.launch import process_count
from edgekd.pipeline.workspace import Step, Workspace

# Steps that all processes do together.
TOGETHER = {"teachers", "assistants", "distill"}


class Team:
    """The others, as the first process sees them."""

    def __init__(self) -> None:
        self._listens = process_count() > 1

    def begin(self, step: str) -> None:
        """Call all to a step."""
        if self._listens:
            _share(step)

    def dismiss(self) -> None:
        """Say that there is nothing more to train; once is enough."""
        if self._listens:
            _share("")
        self._listens = False


def follow(space: Workspace, steps: Sequence[Step]) -> None:
    """Do the steps that the first process calls to, until it needs nobody any more."""
    while name := _share(""):
        step = next(step for step in steps if step.name == name)
        step.make(space, space.store.stage(name))


def _share(name: str) -> str:
    """Give all processes what the first one says."""
    from edgekd.records import DistillSpec
    from edgekd.stages.distill.processes import find_processes

    return find_processes(DistillSpec(batch_size=process_count()), name="run", folder=None).share(name)
