"""What measures a file on a target."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from edgekd import registry
from edgekd.errors import MeasurementError, ModelError
from edgekd.records import Model, Target


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A file, a target, and the runtime plug-in that reads the file there.

    Attributes:
        stand_in: What gives the file's outputs: the same, another where `runtime` gives none, or nothing. The runner
            goes before programs that are started anew for each sample.
    """

    model: Model
    target: Target
    runtime: ModuleType
    stand_in: ModuleType | None = None


def pair_of(model: Model, target: Target) -> Pair | None:
    """Find what measures a file on a target: the first of its runtimes that reads the file; none where none does."""
    loaded = [registry.load("runtimes", name) for name in target.runtimes]
    readers = [each for each in loaded if model.format in each.FORMATS]
    if model.has_cache:
        readers = [each for each in readers if registry.feeds_cache(each)] or readers
    if not readers:
        return None
    givers = [each for each in readers if getattr(each, "GIVES_OUTPUTS", True)]
    giver = next((each for each in givers if not hasattr(each, "run")), givers[0] if givers else None)
    return Pair(model=model, target=target, runtime=readers[0], stand_in=giver)


def reading_pair_of(model: Model, target: Target) -> Pair:
    """Find what measures a file on a target that must read it.

    Raises:
        ModelError: No runtime of the target does.
    """
    pair = pair_of(model, target)
    if pair is None:
        names = ", ".join(target.runtimes)
        raise ModelError(f"no runtime of {target.name} reads {model.format}", where=str(model.path), allowed=names)
    return pair


def runner_pair_of(model: Model, target: Target) -> Pair:
    """Find what runs a file on a target by the runner, which alone can let two files take turns.

    Raises:
        ModelError: No runtime of the target reads the file.
        MeasurementError: The first that does has a program of its own.
    """
    pair = reading_pair_of(model, target)
    if hasattr(pair.runtime, "run"):
        raise MeasurementError(
            f"{target.name} runs it by another program ({', '.join(target.runtimes)}), which takes no turns",
            where=str(model.path),
            next_step="use a target with another runtime, such as host",
        )
    return pair
