"""Why a check has its status, and what would change it, in one line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from edgekd.records import Measurement, Status
from edgekd.stages.gate.evidence import Seen
from edgekd.stages.gate.rules import Rule

_LISTED = 4


def explain(rule: Rule, seen: Seen, status: Status) -> str:
    """Say what was observed, and how it stands to the limit."""
    text = rule.write(seen.interval.estimate)
    if seen.sampled:
        low, high = rule.write(seen.interval.low), rule.write(seen.interval.high)
        text = f"{seen.what}, {text} with {100 * rule.confidence:g} % interval [{low}, {high}],"
    elif seen.what:
        text = f"{seen.what}, {text},"
    limit = rule.write(rule.limit.value)
    if seen.doubt:
        return f"{seen.what}, {rule.write(seen.interval.estimate)}: {seen.doubt}"
    if status == "pass":
        return f"{text} keeps the limit {limit}"
    if status == "fail":
        return f"{text} is {'above' if rule.metric.bound == 'at most' else 'below'} the limit {limit}"
    return f"{text} holds the limit {limit}; {_what_decides(rule, seen)}"


def explain_sources(evidence: Sequence[Measurement]) -> str:
    """Say of samples that edgekd did not take what they were read from, and what that does not prove.

    >>> explain_sources([])
    ''
    """
    sources = sorted({each.conditions.source for each in evidence} - {""})
    return f"; read from a {', '.join(sources)}, which does not prove the file" if sources else ""


def explain_nothing(rule: Rule, measured: Mapping[str, Sequence[Measurement]]) -> str:
    """Say what was looked for, and what there is instead."""
    budget = rule.budget
    same_metric = measured.get(rule.told_by, ())
    wanted = " ".join(part for part in (budget.role, budget.format, budget.precision) if part)
    where = f" on {budget.target}" if budget.target else ""
    if same_metric:
        there = sorted({f"{each.model} ({each.format} {each.precision}) on {each.target}" for each in same_metric})
        found = f"{rule.source.name} was measured of"
    else:
        there = sorted(measured)
        found = "measured were only" if there else "nothing was measured"
    more = f" and {len(there) - _LISTED} more" if len(there) > _LISTED else ""
    return f"no {rule.source.name} of a {wanted} file{where}; {found} {', '.join(there[:_LISTED])}{more}".rstrip()


def _what_decides(rule: Rule, seen: Seen) -> str:
    """How many more samples bring the limit out of the interval, whose width goes with 1 / sqrt(n)."""
    distance = abs(rule.limit.value - seen.interval.estimate)
    if rule.limit.value > seen.interval.estimate:
        half = seen.interval.high - seen.interval.estimate
    else:
        half = seen.interval.estimate - seen.interval.low
    if distance <= half / 1000:
        return f"it is so near that more {seen.sampled} will hardly decide"
    more = max(math.ceil(seen.count * ((half / distance) ** 2 - 1)), 1)
    return f"about {more} more {seen.sampled} would decide"
