"""The release gate: budgets held against measurements, with yes, no, or not proven yet for each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np

from edgekd import stats
from edgekd.errors import MeasurementError
from edgekd.records import Budget, Check, Measurement, Release, Status
from edgekd.stages.gate.evidence import find_fault, look, needs_runs
from edgekd.stages.gate.reasons import explain, explain_nothing, explain_sources
from edgekd.stages.gate.rules import Rule, read_budgets
from edgekd.store import fingerprint

__all__ = ["gate"]


def gate(measurements: Sequence[Measurement], *, budgets: Sequence[Budget], confidence: float = 0.95) -> Release:
    """Hold budgets against measurements, one check for each measurement that a budget's selectors match.

    A check passes when the whole confidence interval keeps the limit, fails when none of it does and is
    inconclusive in between. No such measurement, samples that can't be right, or evidence of a weaker basis
    than the budget wants give `unmeasured`. Selectors take `*` and `?`. The torch student does not ship, so
    that a budget checks it only when it says `format = "torch"`; other trainings of the student (`repeat`,
    `control`) are checked only by budgets of that role. Drops and increases pair a file with every reference
    measured on as many samples; where a target took fewer of them, only a budget that names it asks for more.

    Args:
        measurements: In any order.
        budgets: Without any, nothing is proven.
        confidence: Of the two-sided intervals, in (0, 1).

    Returns:
        Checks in the order of the budgets, hashes of the shipped files that were checked, and fingerprints
        of the measurements that were looked at.

    Raises:
        ConfigError: Budgets that make no sense, all named at once.

    >>> size = Measurement(
    ...     model_sha256="5e1f", model="student.tflite", format="tflite", precision="static_wi8_ai8",
    ...     role="student", target="host", metric="file_size", unit="B", samples=(98496.0,))
    >>> release = gate([size], budgets=[Budget(metric="file_size", limit="100 kB")])
    >>> release.status, release.checks[0].reason
    ('pass', '98.5 kB keeps the limit 100.0 kB')
    """
    rules = read_budgets(budgets, confidence)
    prints = _Fingerprints()
    ordered = [
        each
        for _, equal in itertools.groupby(sorted(measurements, key=_subject), _subject)
        for each in prints.sorted(list(equal))
    ]
    verdicts = [verdict for rule in rules for verdict in _judge(rule, ordered)]
    evidence = [measurement for verdict in verdicts for measurement in verdict.evidence]
    checked = [verdict.evidence[0] for verdict in verdicts if verdict.evidence]
    return Release(
        model_sha256s=tuple(
            sorted({each.model_sha256 for each in checked if each.role == "student" and each.format != "torch"})
        ),
        checks=tuple(verdict.check for verdict in verdicts),
        evidence=tuple(sorted({prints.of(each) for each in evidence})),
    )


def _subject(measurement: Measurement) -> tuple[str, ...]:
    return measurement.model, measurement.target, measurement.model_sha256, measurement.metric


class _Fingerprints:
    """Hashes of measurements, of those that are asked for: each is over all samples."""

    def __init__(self) -> None:
        self._found: dict[int, str] = {}

    def of(self, measurement: Measurement) -> str:
        """The hash of a measurement that lives as long as this does."""
        key = id(measurement)
        if key not in self._found:
            self._found[key] = fingerprint(measurement)
        return self._found[key]

    def sorted(self, measurements: list[Measurement]) -> list[Measurement]:
        """Measurements in an order that does not depend on how they came."""
        return sorted(measurements, key=self.of) if len(measurements) > 1 else measurements


@dataclass(frozen=True, kw_only=True)
class _Verdict:
    """A check and the measurements behind it; the first is the one that was checked."""

    check: Check
    evidence: tuple[Measurement, ...] = ()


def _judge(rule: Rule, ordered: Sequence[Measurement]) -> Iterator[_Verdict]:
    same_metric = [each for each in ordered if each.metric == rule.source.name]
    candidates = [each for each in same_metric if _selected(rule.budget, each)]
    if not candidates:
        check = replace(_open(rule, None), reason=explain_nothing(rule, ordered, same_metric))
        yield _Verdict(check=check)
    for candidate in candidates:
        if not rule.is_drop:
            yield _check(rule, candidate, None)
            continue
        references = _references(rule, candidate, same_metric)
        paired = [each for each in references if len(each.samples) == len(candidate.samples)]
        for reference in paired:
            yield _check(rule, candidate, reference)
        is_part = any(
            each.model_sha256 == candidate.model_sha256 and len(each.samples) > len(candidate.samples)
            for each in candidates
        )
        if not paired and (rule.budget.target is not None or not is_part):
            if references:
                sizes = ", ".join(sorted({str(len(each.samples)) for each in references}))
                reason = f"measured on other samples: {len(candidate.samples)} here, {sizes} of the {rule.reference}"
            else:
                reason = f"the {rule.source.name} of the {rule.reference} was not measured"
            yield _Verdict(check=replace(_open(rule, candidate), reason=reason), evidence=(candidate,))


def _selected(budget: Budget, measurement: Measurement) -> bool:
    if measurement.role != budget.role:
        return False
    if budget.format is None and measurement.role == "student" and measurement.format == "torch":
        return False
    return all(
        pattern is None or fnmatchcase(value, pattern)
        for value, pattern in (
            (measurement.format, budget.format),
            (measurement.precision, budget.precision),
            (measurement.target, budget.target),
        )
    )


def _references(rule: Rule, candidate: Measurement, measured: Sequence[Measurement]) -> list[Measurement]:
    """Measurements to compare with: every teacher's, or the student's before export; each only once."""
    found: dict[tuple[object, ...], Measurement] = {}
    for each in measured:
        before_export = each.format == "torch" and each.precision == "fp32"
        if (
            each.role == rule.reference
            and (rule.reference == "teacher" or before_export)
            and each.model_sha256 != candidate.model_sha256
        ):
            found.setdefault((each.model_sha256, each.basis, each.unit, each.samples, each.labels), each)
    return list(found.values())


def _check(rule: Rule, candidate: Measurement, reference: Measurement | None) -> _Verdict:
    evidence = (candidate,) if reference is None else (candidate, reference)
    check = _open(rule, candidate)
    for measurement in evidence:
        if fault := find_fault(rule, measurement):
            name = f"{rule.source.name} of {measurement.model} on {measurement.target}"
            return _Verdict(check=replace(check, reason=f"{name} {fault}"), evidence=evidence)
    if needs_runs(rule, candidate):
        count, needed = len(candidate.samples), stats.runs_needed(rule.quantile, rule.confidence)
        if count < needed:
            observed = float(np.quantile(candidate.samples, rule.quantile))
            reason = (
                f"{rule.statistic} of {count} runs, {rule.write(observed)}, proves nothing: "
                f"{100 * rule.confidence:g} % confidence needs {needed} runs; take {needed - count} more"
            )
            check = replace(check, observed=observed, status="inconclusive", reason=reason)
            return _Verdict(check=check, evidence=evidence)
    try:
        seen = look(rule, candidate, reference)
    except MeasurementError as error:
        return _Verdict(check=replace(check, reason=str(error)), evidence=evidence)
    status = _status(rule, seen.interval)
    check = replace(
        check,
        observed=seen.interval.estimate,
        low=seen.interval.low,
        high=seen.interval.high,
        status=status,
        reason=explain(rule, seen, status) + explain_sources(evidence),
    )
    return _Verdict(check=check, evidence=evidence)


def _status(rule: Rule, interval: stats.Interval) -> Status:
    # Mirrored for lower bounds, so that "at most" is the only case.
    sign = 1 if rule.metric.bound == "at most" else -1
    low, high = sorted((sign * interval.low, sign * interval.high))
    limit = sign * rule.limit.value
    if high <= limit:
        return "pass"
    return "fail" if low > limit else "inconclusive"


def _open(rule: Rule, candidate: Measurement | None) -> Check:
    """A check that nothing is known of yet."""
    return Check(
        budget=rule.budget,
        model=candidate.model if candidate else "",
        target=candidate.target if candidate else rule.budget.target or "",
        unit=rule.unit,
        limit=rule.limit.value,
        observed=None,
        low=None,
        high=None,
        status="unmeasured",
        reason="",
    )
