"""What went wrong on a target, as the error that its user can act on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from edgekd import registry
from edgekd.errors import DataError, EdgekdError, MeasurementError, ModelError, TargetError
from edgekd.records import Target
from edgekd.stages.benchmark.events import Events
from edgekd.stages.benchmark.pairs import Pair

# What runtimes say of a file that is newer than they are.
_TOO_NEW = re.compile(
    r"Unsupported model IR version|is under development and support for this is limited|old TFLite binary"
)
# ONNX Runtime puts the place in its own source before what it says.
_SOURCE = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : |\S*/\S+\.(?:h|cc):\d+ .*?\) ")
_KINDS = {"model_rejected": ModelError, "inputs_unfit": DataError}


class TooBigError(ModelError):
    """What a file needs does not fit the target's RAM; the events say how much it is."""

    events: Events


def failure(events: Events, runtime: ModuleType, target: Target, place: str) -> EdgekdError:
    """Make an error of the events of a process that did not end well.

    Args:
        events: Of the process.
        runtime: What ran the file.
        target: Where.
        place: The file and the target, or the target alone where no file is at fault.
    """
    error = events.of("error")
    if not error:
        if not events.of("environment"):
            last = (events.stderr.strip().splitlines() or ["it printed nothing"])[-1]
            return TargetError(f"the runner did not start ({events.death()}): {last}", where=target.name)
        doing = "running" if events.of("load") else "loading"
        # Linux ends with SIGKILL what takes more memory than there is.
        full = target.ram_bytes and events.death() == "SIGKILL"
        hint = f"it may need more than the target's {target.ram_bytes} bytes of RAM" if full else None
        return ModelError(f"the runtime crashed ({events.death()}) while {doing} it", where=place, next_step=hint)
    kind, message = error["kind"], _SOURCE.sub("", error["message"])
    if kind == "runtime_missing":
        said = f"'{runtime.REQUIRES}' can't be imported: {message}"
        return TargetError(said, where=target.name, next_step=_get(runtime, target))
    if kind == "ram_too_small":
        too_big = TooBigError(message, where=place)
        too_big.events = events
        return too_big
    step = None
    if _TOO_NEW.search(message):
        found = events.of("environment")
        step = (
            f"{found['runtime']} {found['runtime_version']} there may be too old for it; for a newer one: "
            f"{_get(runtime, target, newer=True)}"
        )
    return _KINDS.get(kind, MeasurementError)(message, where=place, next_step=step)


def _get(runtime: ModuleType, target: Target, *, newer: bool = False) -> str:
    """How a runtime gets there, or a newer one than there is."""
    if hasattr(runtime, "set_up"):  # a program of its own
        return f"edgekd targets setup {target.name} --from FOLDER"
    if hasattr(registry.load("transports", target.transport), "set_up"):
        return f"edgekd targets setup {target.name}"
    extra = registry.EXTRA_OF.get(runtime.REQUIRES)
    package = f"'edgekd[{extra}]'" if extra else runtime.REQUIRES.replace("_", "-")
    return f"pip install {'--upgrade ' if newer else ''}{package}"


def check_file(seen: Mapping[str, Any], pair: Pair) -> None:
    """Make sure that the file on the target is the one that is measured.

    Raises:
        MeasurementError: It is another one.
    """
    found = seen.get("sha256", pair.model.sha256)
    if found != pair.model.sha256:
        raise MeasurementError(
            f"the file there is another one (sha256 {found[:12]}…, not {pair.model.sha256[:12]}…)",
            where=where(pair),
            next_step="it was changed after its record was made: make the record again",
        )


def where(pair: Pair) -> str:
    """Name a file and its target."""
    return f"{pair.model.name} on {pair.target.name}"
