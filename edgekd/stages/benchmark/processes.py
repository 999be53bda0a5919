"""What processes that ran a file tell besides its inferences: its memory, how it starts, and a long run of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgekd import registry
from edgekd.records import Basis, Measurement
from edgekd.stages.benchmark.events import Events, course_of, first_and_last
from edgekd.stages.benchmark.failures import TooBigError
from edgekd.stages.benchmark.pairs import Pair
from edgekd.stages.benchmark.recording import record

_NS_PER_S = 1e9


def memory_of(pair: Pair, events: Events, basis: Basis) -> list[Measurement]:
    """Make the memory that a file takes: its tensor arena, or by how much a process grew; none where neither is told.

    Args:
        pair: The file, and where it ran.
        events: Of a process of its own.
        basis: Of memory there.
    """
    if arena := events.of("arena"):
        return [record(pair, events, "arena_size", [arena["bytes"]], basis=basis)]
    if grown := events.of("memory"):
        return [record(pair, events, "peak_memory", [grown["added_bytes"]], basis=basis)]
    return []  # only Linux tells a process how far it grew


def needed_memory(pair: Pair, error: TooBigError, basis: Basis) -> Measurement:
    """Make the memory that a file needs, which the target does not have.

    Args:
        pair: The file, and where it did not fit.
        error: What its runtime said.
        basis: Of memory there.
    """
    told = error.events.of("error")
    if registry.estimates(pair.runtime):
        basis = "estimated"
    return record(pair, error.events, told.get("metric", "arena_size"), [told["needed_bytes"]], basis=basis)


def starts_of(pair: Pair, processes: Sequence[Events], basis: Basis) -> list[Measurement]:
    """Make load time and first inference, of each process one sample; not every program tells both.

    Args:
        pair: The file, and where it ran.
        processes: The first of them says under which conditions.
        basis: Of times there.
    """
    return [
        record(pair, processes[0], metric, [each.of(event)["ns"] / _NS_PER_S for each in processes], basis=basis)
        for event, metric in (("load", "load_time"), ("first_inference", "first_inference"))
        if all(each.of(event) for each in processes)
    ]


def sustained_of(pair: Pair, events: Events, duration_s: float, basis: Basis) -> Measurement:
    """Make latencies of the last minute of a long run, with those of its first as warm-up, and its course.

    Args:
        pair: The file, and where it ran.
        events: Of the run.
        duration_s: Of the run.
        basis: Of times there.
    """
    seconds = events.of("sustained")["seconds"]
    first, last = first_and_last(seconds, duration_s)
    found = record(pair, events, "sustained_latency", last, basis=basis, warmup=first)
    return replace(found, course=course_of(seconds))
