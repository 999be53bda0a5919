"""What was waived, and what is not as it was at the last release."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgekd.records import Budget, Change, Check, Release, Waiver
from edgekd.stages.report.budgets import Line, lines_of
from edgekd.verdict import metric_text

State = Literal["used", "expired", "goes not so far", "not needed"]


@dataclass(frozen=True, kw_only=True)
class Leave:
    """A waiver, and what came of it.

    Attributes:
        what: The metric that it is about.
        where: Which files and targets.
        state: `goes not so far` where checks are further off than it allows.
        checks: What it let pass.
    """

    waiver: Waiver
    what: str
    where: str
    state: State
    checks: tuple[Check, ...]


@dataclass(frozen=True, kw_only=True)
class SinceLast:
    """Waivers, and the last release.

    Attributes:
        waivers: Used ones first.
        baseline: Name of the last release; empty where there was none.
        changes: Since then.
        regressions: Checks against it; those that are not passed first.
    """

    waivers: tuple[Leave, ...]
    baseline: str
    changes: tuple[Change, ...]
    regressions: tuple[Line, ...]

    @property
    def worse(self) -> tuple[Line, ...]:
        """Regressions that are not passed."""
        return tuple(each for each in self.regressions if each.check.status != "pass")


_ORDER: tuple[State, ...] = ("used", "expired", "goes not so far", "not needed")


def leave_of(release: Release | None) -> SinceLast | None:
    """Gather what a release says of waivers and of the last release; `None` where it knows neither.

    >>> leave_of(None) is None
    True
    """
    if release is None or not (release.waivers or release.baseline):
        return None
    found = [_leave(each, release) for each in dict.fromkeys(release.waivers)]
    against = [each for each in lines_of(release) if each.check.budget.reference == "baseline"]
    return SinceLast(
        waivers=tuple(sorted(found, key=lambda each: _ORDER.index(each.state))),
        baseline=release.baseline,
        changes=release.changes,
        regressions=tuple(sorted(against, key=lambda each: each.check.status == "pass")),
    )


def _leave(waiver: Waiver, release: Release) -> Leave:
    used = tuple(each for each in release.checks if each.waiver == waiver)
    names = (
        *(str(value) for value in (waiver.model, waiver.format, waiver.precision) if value),
        *([f"on {waiver.target}"] if waiver.target else []),
        *([f"against the {waiver.reference}"] if waiver.reference else []),
    )
    about = Budget(metric=waiver.metric, statistic=waiver.statistic, part=waiver.part, limit="")
    return Leave(
        waiver=waiver,
        what=metric_text(about),
        where=" ".join(names) or "any file",
        state="used" if used else _why_not(waiver, release),
        checks=used,
    )


def _why_not(waiver: Waiver, release: Release) -> State:
    """Why a waiver let nothing pass: the gate says it in the reasons of checks."""
    reasons = [
        each.reason
        for each in release.checks
        if each.waiver is None and each.status != "pass" and each.budget.metric == waiver.metric
    ]
    if any(f"{waiver.owner}'s waiver expired on {waiver.expires}" in reason for reason in reasons):
        return "expired"
    if any(f"{waiver.owner}'s waiver goes no further than {waiver.limit}" in reason for reason in reasons):
        return "goes not so far"
    return "not needed"
