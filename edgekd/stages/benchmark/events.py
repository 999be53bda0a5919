"""What the runner printed on a target, and what its failures mean."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgekd.records import Conditions, Stretch
from edgekd.stages.benchmark.energy import watts_of
from edgekd.stages.benchmark.taint import find_taint

# So many latencies of each second of a long run are in the record; all that the runner kept are in its events.
_KEPT_PER_STRETCH = 20
_FROM_ENVIRONMENT = ("host", "cpu", "arch", "os", "runtime", "runtime_version", "threads")


@dataclass(frozen=True, kw_only=True)
class Events:
    """The events of one process, and when it ran.

    Attributes:
        started_at: ISO 8601, UTC, by this machine's clock.
        wall_s: How long the process took, its start and the way there included.
        code: Its exit code.
        stderr: What native code had to say.
    """

    events: Sequence[Mapping[str, Any]]
    started_at: str = ""
    wall_s: float = 0.0
    code: int = 0
    stderr: str = ""

    def of(self, name: str, **facts: object) -> Mapping[str, Any]:
        """The first event of this name with these facts, or nothing at all."""
        matching = (each for each in self.events if each["event"] == name and facts.items() <= each.items())
        return next(matching, {})

    def all(self, name: str) -> list[Mapping[str, Any]]:
        """All events of this name."""
        return [each for each in self.events if each["event"] == name]

    def conditions(self) -> Conditions:
        """The conditions under which the process ran."""
        environment = self.of("environment")
        before, during, after = (self.of("conditions", when=when) for when in ("before", "during", "after"))
        energy = self.of("energy")
        return Conditions(
            **{key: environment[key] for key in _FROM_ENVIRONMENT},
            governor=before.get("governor"),
            throttled_before=before.get("throttled"),
            throttled_after=after.get("throttled"),
            load_before=before.get("load"),
            temperature_before_c=before.get("temperature_c"),
            temperature_during_c=during.get("temperature_c"),
            temperature_after_c=after.get("temperature_c"),
            frequencies_during_hz=tuple(during.get("frequencies_hz", ())),
            frequencies_after_hz=tuple(after.get("frequencies_hz", ())),
            delegate=self.of("load").get("delegate"),
            length=self.of("load").get("length"),
            cores=environment.get("cores"),
            steady=self.of("warmup").get("steady"),
            energy_source=energy.get("source"),
            idle_w=watts_of(energy.get("idle", ())),
            running_w=watts_of(energy.get("parts", ())),
        )

    def taint(self, *, may_heat: bool = False) -> str:
        """What makes times of this process worth nothing; empty is nothing."""
        before, during, after = (self.of("conditions", when=when) for when in ("before", "during", "after"))
        return find_taint(before, after, during=during, may_heat=may_heat)

    def lines(self) -> bytes:
        """The events as the runner printed them."""
        return "".join(json.dumps(each) + "\n" for each in self.events).encode()

    def death(self) -> str:
        """How the process ended; a shell in between reports a signal as 128 + its number."""
        try:
            return signal.Signals(-self.code if self.code < 0 else self.code - 128).name
        except ValueError:
            return f"exit code {self.code}"


def parse_events(stdout: str) -> list[Mapping[str, Any]]:
    r"""Find the events among the lines; a login message of the target's shell is none.

    >>> parse_events('Welcome!\n{"event": "done"}')
    [{'event': 'done'}]
    """
    events: list[Mapping[str, Any]] = []
    for line in stdout.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "event" in event:
            events.append(event)
    return events


def first_and_last(seconds: Sequence[Mapping[str, Any]], duration_s: float) -> tuple[list[float], list[float]]:
    """Take the first and the last minute of a long run, or halves of a shorter one, in seconds.

    >>> first_and_last([{"start_s": 0.0, "ns": [10**9, 2 * 10**9]}, {"start_s": 3.0, "ns": [4 * 10**9]}], 5)
    ([1.0, 2.0], [4.0])
    """
    part_s = min(60.0, duration_s / 2)
    # The last inferences may have begun long before the end.
    last_s = min(duration_s - part_s, seconds[-1]["start_s"])
    first, last = (
        [ns / 1e9 for each in seconds if low <= each["start_s"] < high for ns in each["ns"]]
        for low, high in ((0, part_s), (last_s, math.inf))
    )
    return first, last


def course_of(seconds: Sequence[Mapping[str, Any]]) -> tuple[Stretch, ...]:
    """Take some latencies of each second of a long run.

    >>> course_of([{"start_s": 0.0, "ns": [10**9, 2 * 10**9]}])
    (Stretch(start_s=0.0, samples=(1.0, 2.0)),)
    """
    return tuple(
        Stretch(
            start_s=each["start_s"],
            samples=tuple(ns / 1e9 for ns in each["ns"][:: -(-len(each["ns"]) // _KEPT_PER_STRETCH)]),
        )
        for each in seconds
    )
