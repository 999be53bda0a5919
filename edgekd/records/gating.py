"""Budgets, what was waived of them, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edgekd.records.names import Basis, Format, Role, Status

Bound = Literal["at most", "at least"]
Reference = Literal["teacher", "student", "baseline"]
Tolerances = Mapping[str, str | Mapping[str, str]]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """A limit on a metric, for the files that its selectors match.

    Attributes:
        metric: One of `edgekd.units.METRICS`, or an expression over them, e.g. `file_size + arena_size`.
        limit: A number with its unit, e.g. `"100 kB"`, `"98 %"`, `"10 ms"`, `"2 pt"`.
        bound: Of an expression only, where it is not `at most`; a metric has its own.
        statistic: Quantile of a latency, e.g. `p90`.
        reference: Of drops and increases: `teacher`, `student` or `baseline`, the last release.
        part: Of metrics that have parts, those to count: a class of `recall`, a kind of `operators`, a rule of `lint`.
        basis: What counts as evidence; emulated times only where the budget says so.
    """

    metric: str
    limit: str
    bound: Bound | None = None
    format: Format | None = None
    precision: str | None = None
    target: str | None = None
    role: Role = "student"
    statistic: str | None = None
    reference: Reference | None = None
    part: str | None = None
    basis: Basis = "measured"


@dataclass(frozen=True, kw_only=True)
class Waiver:
    """Leave to release although a budget is not met, until a day.

    Attributes:
        metric: Of the budgets that it covers, as they write it.
        owner: Who answers for it.
        expires: Its last day, e.g. `2026-12-31`.
        limit: How far: the budget is waived only while this one is kept; `None` is any distance.
        model: Name of a file; it and the next three may hold wildcards, and `None` is any.
    """

    metric: str
    owner: str
    reason: str
    expires: str
    limit: str | None = None
    statistic: str | None = None
    reference: Reference | None = None
    part: str | None = None
    model: str | None = None
    format: Format | None = None
    precision: str | None = None
    target: str | None = None


@dataclass(frozen=True, kw_only=True)
class GateSpec:
    """What a release is held against.

    Attributes:
        regressions: How much worse than the last release files may be, by metric; of metrics with quantiles also by
            statistic. `None` takes defaults.
    """

    budgets: tuple[Budget, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    regressions: Tolerances | None = None


@dataclass(frozen=True, kw_only=True)
class Check:
    """A budget held against one measurement.

    Attributes:
        model: Name of the model file; empty where nothing was measured.
        limit: In the base unit of the metric, as are observed, low and high.
        low: Lower end of the interval of the observed value; equals `high` for exact facts.
        reason: One line: why this status, and what would change it.
        waiver: By which it keeps no release back.
    """

    budget: Budget
    model: str
    target: str
    unit: str
    limit: float
    observed: float | None
    low: float | None
    high: float | None
    status: Status
    reason: str
    waiver: Waiver | None = None


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is not as it was when the last release was made.

    Attributes:
        what: `recipe: distill.epochs`, `data`, `teacher resnet56`, `tool onnxruntime`, `operators of NAME`.
    """

    what: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class Release:
    """The verdict on a set of files; anything but all-`pass` is not a release.

    Attributes:
        strict: Whether what is inconclusive keeps it back.
        waivers: All that were given, whether there was need of them or not.
        baseline: Name of the last release, if it was held against one; `changes` are since then.
    """

    model_sha256s: tuple[str, ...]
    checks: tuple[Check, ...]
    evidence: tuple[str, ...] = ()
    strict: bool = True
    waivers: tuple[Waiver, ...] = ()
    baseline: str = ""
    changes: tuple[Change, ...] = ()

    @property
    def status(self) -> Status:
        """The worst status of all checks that are not waived; no such check proves nothing."""
        counted = [check.status for check in self.checks if check.waiver is None]
        for status in ("fail", "unmeasured", "inconclusive"):
            if status in counted:
                return status
        return "pass" if counted else "unmeasured"

    @property
    def is_refused(self) -> bool:
        """Whether it is no release."""
        return self.status in ("fail", "unmeasured") or (self.strict and self.status == "inconclusive")

    def is_held_back_by(self, check: Check) -> bool:
        """Whether a check alone would refuse it."""
        refused = check.status in ("fail", "unmeasured") or (self.strict and check.status == "inconclusive")
        return refused and check.waiver is None
