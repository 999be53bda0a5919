"""Leave to release although a budget is not met: who answers for it, why, how far and until when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from fnmatch import fnmatchcase

from edgekd import units
from edgekd.errors import ConfigError, EdgekdError
from edgekd.formulas import metric_of
from edgekd.records import Budget, Check, Measurement, Waiver
from edgekd.stages.gate.judging import Judgement


def check_waivers(waivers: Sequence[Waiver]) -> None:
    """Refuse waivers that nobody answers for, that never end, or that are about nothing.

    Raises:
        ConfigError: All that is wrong, at once.

    >>> check_waivers([Waiver(metric="latency", owner="", reason="cold start", expires="soon")])
    Traceback (most recent call last):
    edgekd.errors.ConfigError: 2 problems
      waiver 1 (latency): no owner
      waiver 1 (latency): 'soon' is no date; allowed: a day such as 2026-12-31
    """
    problems = [
        ConfigError(e.what, where=f"waiver {number} ({waiver.metric})", allowed=e.allowed, next_step=e.next_step)
        for number, waiver in enumerate(waivers, 1)
        for e in _problems(waiver)
    ]
    if problems:
        raise ConfigError.of(problems)


def _problems(waiver: Waiver) -> Iterator[EdgekdError]:
    for key in ("owner", "reason"):
        if not getattr(waiver, key).strip():
            yield ConfigError(f"no {key}")
    if _day(waiver) is None:
        yield ConfigError(f"'{waiver.expires}' is no date", allowed="a day such as 2026-12-31")
    try:
        metric = metric_of(Budget(metric=waiver.metric, limit=""))
        if waiver.limit is not None:
            units.read_limit(metric, waiver.limit)
    except EdgekdError as error:
        yield error


def _day(waiver: Waiver) -> date | None:
    try:
        return date.fromisoformat(waiver.expires)
    except ValueError:
        return None


def waive(judgement: Judgement, waivers: Sequence[Waiver], today: date) -> Judgement:
    """Let a check that is not passed keep no release back where a waiver covers it; fail it where one has expired.

    Args:
        judgement: Of a check.
        waivers: The first that still holds and goes far enough counts.
        today: As this machine's clock has it, UTC.
    """
    if judgement.check.status == "pass":
        return judgement
    candidate = judgement.evidence[0] if judgement.evidence else None
    covering = [each for each in waivers if _covers(each, judgement.check, candidate)]
    live = [each for each in covering if (day := _day(each)) and day >= today]
    for waiver in live:
        if _goes_so_far(waiver, judgement):
            words = f"waived until {waiver.expires} by {waiver.owner}: {waiver.reason}"
            return _with_reason(replace(judgement, check=replace(judgement.check, waiver=waiver)), words)
    if live:
        return _with_reason(judgement, f"{live[0].owner}'s waiver goes no further than {live[0].limit}")
    if covering:
        failed = replace(judgement, check=replace(judgement.check, status="fail"))
        return _with_reason(failed, f"{covering[0].owner}'s waiver expired on {covering[0].expires}")
    return judgement


def _with_reason(judgement: Judgement, words: str) -> Judgement:
    return replace(judgement, check=replace(judgement.check, reason=f"{judgement.check.reason}; {words}"))


def _covers(waiver: Waiver, check: Check, candidate: Measurement | None) -> bool:
    budget = check.budget
    for key in ("statistic", "reference", "part"):
        if getattr(waiver, key) is not None and getattr(waiver, key) != getattr(budget, key):
            return False
    there = {
        "model": check.model,
        "target": check.target,
        "format": candidate.format if candidate else budget.format or "",
        "precision": candidate.precision if candidate else budget.precision or "",
    }
    return waiver.metric == budget.metric and all(
        getattr(waiver, key) is None or fnmatchcase(value, getattr(waiver, key)) for key, value in there.items()
    )


def _goes_so_far(waiver: Waiver, judgement: Judgement) -> bool:
    """Whether what was observed is surely within what the waiver allows."""
    if waiver.limit is None:
        return True
    if judgement.observation is None:
        return False
    rule = judgement.observation.rule
    return judgement.observation.status_by(replace(rule, limit=units.read_limit(rule.metric, waiver.limit))) == "pass"
