"""Compares the latency of two files on one target: in turns within a process, in one process after another."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgekd.progress import Progress, Silent
from edgekd.records import BenchmarkSpec, Comparison, Conditions, Model, Target, Turns, Verdict
from edgekd.stages.benchmark.events import Events
from edgekd.stages.benchmark.pairs import runner_pair_of
from edgekd.stages.benchmark.recording import now
from edgekd.stages.benchmark.session import Session
from edgekd.stats import Interval, mean_sequence, samples_to_clear

_CONFIDENCE = 0.99
# Where memory falls in one of two ways, fewer processes all fall in the same one too often to go by their spread.
_LEAST_PROCESSES = 8
# In one process; to start it takes about as long.
_TURNS_S = 0.5
_NS_PER_S = 1e9


def compare(
    first: Model,
    second: Model,
    *,
    target: Target,
    threshold: float = 0.01,
    time_limit_s: float = 60.0,
    threads: int | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Find out whether one file is slower than another on a target, by more than a threshold.

    In a process both files take turns, first second second first, so that whatever the machine does meanwhile is done
    to both. Where things fall in memory makes a file faster or slower for as long as the process lives; so there are
    several, that load the one or the other file first, and their ratios of latencies are the samples. Processes run
    until the interval of their mean (`edgekd.stats.mean_sequence`) lies beyond the threshold, on either side, or
    within.

    Args:
        first: What the other file is held against.
        second: What may be slower.
        target: Where both run.
        threshold: A share; differences up to it don't count.
        time_limit_s: For all processes; the first runs in any case, another one if it will end in time.
        threads: `None` takes the target's own number.
        folder: Keeps the raw events of every process, below `folder/target`.
        progress: Hears of seconds that went by.

    Raises:
        ModelError: No runtime of the target reads a file, or it rejects it.
        TargetError: The target can't be reached, lacks a runtime, or took too long.
        MeasurementError: The file on the target is not the one it should be.
    """
    pairs = [runner_pair_of(model, target) for model in (first, second)]
    progress = progress or Silent()
    progress.start("compare", math.ceil(time_limit_s))
    started_at, started, longest_s, told_s = now(), time.perf_counter(), 0.0, 0
    seen: list[Turns] = []
    conditions: list[Conditions] = []
    try:
        with Session(
            target, BenchmarkSpec(time_limit_s=_TURNS_S, threads=threads), None, None, "single_label", folder
        ) as session:
            for pair in pairs:
                session.require(pair.runtime)
            while True:
                first_loaded = len(seen) % 2 == 0
                events = session.take_turns(*(pairs if first_loaded else reversed(pairs)), number=len(seen))
                seen.append(_turns(events, first_loaded=first_loaded))
                conditions.append(events.conditions())
                wall_s = time.perf_counter() - started
                progress.advance(int(wall_s) - told_s)
                longest_s, told_s = max(longest_s, events.wall_s), int(wall_s)
                ratios = [turns.ratio for turns in seen]
                verdict, interval = judge(ratios, threshold)
                if verdict in ("faster", "same", "slower") or wall_s + longest_s > time_limit_s:
                    break
    finally:
        progress.end()
    names = [model.name if first.name != second.name else str(model.path) for model in (first, second)]
    return Comparison(
        first=names[0],
        second=names[1],
        first_sha256=first.sha256,
        second_sha256=second.sha256,
        target=target.name,
        threshold=threshold,
        processes=tuple(seen),
        ratio=statistics.geometric_mean(ratios),
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        confidence=_CONFIDENCE,
        verdict=verdict,
        needed=_needed(ratios, threshold) if verdict == "inconclusive" else None,
        conditions=tuple(conditions[:2]),
        basis=target.time_basis,
        wall_s=wall_s,
        started_at=started_at,
    )


def judge(found: Sequence[float], threshold: float) -> tuple[Verdict, Interval | None]:
    """Say what ratios of latencies show, one a process, and between what their geometric mean lies.

    >>> judge([1.03, 1.031, 1.029, 1.03, 1.028, 1.031, 1.03, 1.032], 0.01)[0]
    'slower'
    >>> judge([1.03, 1.031], 0.01)
    ('inconclusive', None)
    """
    logs = mean_sequence(np.log(found), _CONFIDENCE) if len(found) >= _LEAST_PROCESSES else None
    if logs is None:
        return "inconclusive", None
    interval = Interval(estimate=math.exp(logs.estimate), low=math.exp(logs.low), high=math.exp(logs.high))
    # As many times as fast as as many times as slow, so that it does not matter which file is named first.
    slower, faster = 1 + threshold, 1 / (1 + threshold)
    if interval.low > slower:
        return "slower", interval
    if interval.high < faster:
        return "faster", interval
    if interval.high > slower:
        return "inconclusive", interval
    return "same" if interval.low >= faster else "not_slower", interval


def _needed(found: Sequence[float], threshold: float) -> int | None:
    """How many processes show on which side of the threshold the second file is."""
    if len(found) < 2:
        return _LEAST_PROCESSES
    needed = samples_to_clear(np.log(found), math.log1p(threshold), _CONFIDENCE)
    return needed and max(needed, _LEAST_PROCESSES)


def _turns(events: Events, *, first_loaded: bool) -> Turns:
    model, other = (
        tuple(statistics.median(turn) / _NS_PER_S for turn in events.of("turns")[key]) for key in ("model", "other")
    )
    first, second = (model, other) if first_loaded else (other, model)
    return Turns(first=first, second=second, first_loaded=first_loaded)
