"""The release gate: budgets held against measurements, with yes, no, or not proven yet for each."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import get_args

import numpy as np

from edgekd import stats, units
from edgekd.errors import ConfigError, EdgekdError, MeasurementError, did_you_mean
from edgekd.records import Basis, Budget, Check, Measurement, Release, Role, Status
from edgekd.store import fingerprint

_BASES: tuple[str, ...] = get_args(Basis)  # from the strongest evidence to the weakest
_ROLES: tuple[str, ...] = get_args(Role)
_FACTS = ("file_size", "compressed_size", "arena_size")
_SHARES = ("accuracy", "parity")
_LISTED = 4


def gate(measurements: Sequence[Measurement], *, budgets: Sequence[Budget], confidence: float = 0.95) -> Release:
    """Hold budgets against measurements, one check for each measurement that a budget's selectors match.

    A check passes when the whole confidence interval keeps the limit, fails when none of it does and is
    inconclusive in between. No such measurement, samples that can't be right, or evidence of a weaker basis
    than the budget wants give `unmeasured`. Selectors take `*` and `?`. The torch student does not ship, so
    that a budget checks it only when it says `format = "torch"`. Drops pair a file with every reference
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
    rules = _read(budgets, confidence)
    prints = {id(each): fingerprint(each) for each in measurements}
    ordered = sorted(measurements, key=lambda each: (each.model, each.target, each.model_sha256, prints[id(each)]))
    verdicts = [verdict for rule in rules for verdict in _judge(rule, ordered)]
    evidence = [measurement for verdict in verdicts for measurement in verdict.evidence]
    checked = [verdict.evidence[0] for verdict in verdicts if verdict.evidence]
    return Release(
        model_sha256s=tuple(
            sorted({each.model_sha256 for each in checked if each.role == "student" and each.format != "torch"})
        ),
        checks=tuple(verdict.check for verdict in verdicts),
        evidence=tuple(sorted({prints[id(each)] for each in evidence})),
    )


# --- budgets ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """A budget that was read; `reference` and `statistic` have their defaults."""

    budget: Budget
    metric: units.Metric
    limit: units.Limit
    statistic: str
    reference: Role
    confidence: float

    @property
    def source(self) -> str:
        """The metric whose measurements it takes."""
        return "accuracy" if self.metric.name == "accuracy_drop" else self.metric.name

    @property
    def quantile(self) -> float:
        return float(self.statistic.removeprefix("p")) / 100

    def write(self, value: float) -> str:
        """Write a value for people, with more digits where it would read like a limit that it is not."""
        text = self._short(value)
        if value == self.limit.value or text != self._short(self.limit.value):
            return text
        return f"{value:.9g} {self.metric.unit}" if self.metric.unit != "1" else f"{100 * value:.9g} {self.limit.unit}"

    def _short(self, value: float) -> str:
        # Points and shares of the reference are both stored as shares of one.
        if self.metric.dimension == "drop":
            return f"{100 * value:.2f} {self.limit.unit}"
        return units.human(value, self.metric.unit)


def _read(budgets: Sequence[Budget], confidence: float) -> list[_Rule]:
    """Read all budgets, or say everything that is wrong with them."""
    problems: list[EdgekdError] = []
    rules = []
    if not 0 < confidence < 1:
        problems.append(ConfigError(f"confidence is {confidence}", allowed="between 0 and 1"))
    for number, budget in enumerate(budgets, 1):
        where = f"budget {number} ({budget.metric})"
        found = list(_problems(budget, where))
        problems += found
        if not found:
            rules.append(
                _Rule(
                    budget=budget,
                    metric=units.METRICS[budget.metric],
                    limit=units.parse_limit(budget.metric, budget.limit),
                    statistic=budget.statistic or "p90",
                    reference=budget.reference or "teacher",
                    confidence=confidence,
                )
            )
    if problems:
        raise ConfigError.of(problems)
    return rules


def _problems(budget: Budget, where: str) -> Iterator[ConfigError]:
    try:
        limit = units.parse_limit(budget.metric, budget.limit)
    except ConfigError as error:
        yield ConfigError(error.what, where=where, allowed=error.allowed, next_step=error.next_step)
    else:
        if not math.isfinite(limit.value):
            yield ConfigError(f"limit '{budget.limit}' is no limit", where=where, allowed="a finite number")
    if budget.statistic is not None:
        if budget.metric != "latency":
            yield ConfigError(
                f"statistic '{budget.statistic}' has no meaning for {budget.metric}", where=where, allowed="none"
            )
        elif not re.fullmatch(r"p[5-9]\d(\.\d+)?", budget.statistic):
            yield ConfigError(f"unknown statistic '{budget.statistic}'", where=where, allowed="p50 to p99.9")
    if budget.reference is not None and budget.metric != "accuracy_drop":
        yield ConfigError(
            f"reference '{budget.reference}' has no meaning for {budget.metric}",
            where=where,
            next_step="use the metric accuracy_drop" if budget.metric == "accuracy" else None,
        )
    for key, value, allowed in (
        ("reference", budget.reference or "teacher", _ROLES),
        ("role", budget.role, _ROLES),
        ("basis", budget.basis, _BASES),
    ):
        if value not in allowed:
            yield ConfigError(
                f"unknown {key} '{value}'",
                where=where,
                allowed=", ".join(allowed),
                next_step=did_you_mean(value, allowed),
            )


# --- verdicts --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Verdict:
    """A check and the measurements behind it; the first is the one that was checked."""

    check: Check
    evidence: tuple[Measurement, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What the samples of a measurement say.

    Attributes:
        what: What was estimated: "p90 of 1000 runs"; empty for exact facts.
        sampled: What to take more of for a narrower interval; empty where there is none.
    """

    interval: stats.Interval
    what: str = ""
    sampled: str = ""
    count: int = 1


def _judge(rule: _Rule, ordered: Sequence[Measurement]) -> Iterator[_Verdict]:
    same_metric = [each for each in ordered if each.metric == rule.source]
    candidates = [each for each in same_metric if _selected(rule.budget, each)]
    if not candidates:
        check = replace(_open(rule, None), reason=_why_nothing(rule, ordered, same_metric))
        yield _Verdict(check=check)
    for candidate in candidates:
        if rule.metric.name != "accuracy_drop":
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
                reason = f"the accuracy of the {rule.reference} was not measured"
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


def _references(rule: _Rule, candidate: Measurement, accuracies: Sequence[Measurement]) -> list[Measurement]:
    """Accuracies to compare with: every teacher's, or the student's before export; each only once."""
    found: dict[tuple[object, ...], Measurement] = {}
    for each in accuracies:
        before_export = each.format == "torch" and each.precision == "fp32"
        if (
            each.role == rule.reference
            and (rule.reference == "teacher" or before_export)
            and each.model_sha256 != candidate.model_sha256
        ):
            found.setdefault((each.model_sha256, each.basis, each.unit, each.samples), each)
    return list(found.values())


def _check(rule: _Rule, candidate: Measurement, reference: Measurement | None) -> _Verdict:
    evidence = (candidate,) if reference is None else (candidate, reference)
    check = _open(rule, candidate)
    for measurement in evidence:
        if fault := _fault(rule, measurement):
            name = f"{rule.source} of {measurement.model} on {measurement.target}"
            return _Verdict(check=replace(check, reason=f"{name} {fault}"), evidence=evidence)
    if rule.metric.name == "latency":
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
        seen = _look(rule, candidate, reference)
    except MeasurementError as error:
        return _Verdict(check=replace(check, reason=str(error)), evidence=evidence)
    status = _status(rule, seen.interval)
    check = replace(
        check,
        observed=seen.interval.estimate,
        low=seen.interval.low,
        high=seen.interval.high,
        status=status,
        reason=_reason(rule, seen, status),
    )
    return _Verdict(check=check, evidence=evidence)


def _fault(rule: _Rule, measurement: Measurement) -> str | None:
    """Why a measurement is no evidence for a budget, if so."""
    accepted = _BASES[: _BASES.index(rule.budget.basis) + 1]
    if measurement.basis not in accepted:
        return f"is {measurement.basis}; the budget wants {' or '.join(accepted)}"
    metric = units.METRICS[rule.source]
    if measurement.unit != metric.unit:
        return f"is in '{measurement.unit}' where '{metric.unit}' is wanted"
    samples = np.asarray(measurement.samples, dtype=np.float64)
    fault = None
    if not samples.size:
        fault = "has no samples"
    elif not np.isfinite(samples).all():
        fault = "has samples that are not finite"
    elif metric.name in _SHARES and not np.isin(samples, (0.0, 1.0)).all():
        fault = "has samples other than 0 and 1"
    elif samples.min() < 0:
        fault = "has negative samples"
    elif metric.name in _FACTS and (samples.min() <= 0 or samples.min() != samples.max()):
        fault = "is no single size above 0"
    elif metric.dimension == "size" and samples.min() <= 0:
        fault = "is no size above 0"
    return fault


def _look(rule: _Rule, candidate: Measurement, reference: Measurement | None) -> _Seen:
    samples, count = candidate.samples, len(candidate.samples)
    name, confidence = rule.metric.name, rule.confidence
    if reference is not None:
        bound = stats.relative_drop_interval if rule.limit.unit == "%" else stats.paired_drop_interval
        interval = bound(reference.samples, samples, confidence)
        what = f"drop from {reference.model} in {count} samples"
        return _Seen(interval=interval, what=what, sampled="samples", count=count)
    if name in _SHARES:
        interval = stats.proportion_interval(int(sum(samples)), count, confidence)
        return _Seen(interval=interval, what=f"{name} of {count} samples", sampled="samples", count=count)
    if name == "latency":
        interval = stats.quantile_interval(samples, rule.quantile, confidence)
        return _Seen(interval=interval, what=f"{rule.statistic} of {count} runs", sampled="runs", count=count)
    largest = float(max(samples))
    interval = stats.Interval(estimate=largest, low=largest, high=largest)
    return _Seen(interval=interval, what="" if name in _FACTS else f"largest of {count} seen", count=count)


def _status(rule: _Rule, interval: stats.Interval) -> Status:
    # Mirrored for lower bounds, so that "at most" is the only case.
    sign = 1 if rule.metric.bound == "at most" else -1
    low, high = sorted((sign * interval.low, sign * interval.high))
    limit = sign * rule.limit.value
    if high <= limit:
        return "pass"
    return "fail" if low > limit else "inconclusive"


# --- reasons ---------------------------------------------------------------------------------------


def _reason(rule: _Rule, seen: _Seen, status: Status) -> str:
    text = rule.write(seen.interval.estimate)
    if seen.sampled:
        low, high = rule.write(seen.interval.low), rule.write(seen.interval.high)
        text = f"{seen.what}, {text} with {100 * rule.confidence:g} % interval [{low}, {high}],"
    elif seen.what:
        text = f"{seen.what}, {text},"
    limit = rule.write(rule.limit.value)
    if status == "pass":
        return f"{text} keeps the limit {limit}"
    if status == "fail":
        return f"{text} is {'above' if rule.metric.bound == 'at most' else 'below'} the limit {limit}"
    return f"{text} holds the limit {limit}; {_what_decides(rule, seen)}"


def _what_decides(rule: _Rule, seen: _Seen) -> str:
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


def _open(rule: _Rule, candidate: Measurement | None) -> Check:
    """A check that nothing is known of yet."""
    return Check(
        budget=rule.budget,
        model=candidate.model if candidate else "",
        target=candidate.target if candidate else rule.budget.target or "",
        unit=rule.metric.unit,
        limit=rule.limit.value,
        observed=None,
        low=None,
        high=None,
        status="unmeasured",
        reason="",
    )


def _why_nothing(rule: _Rule, ordered: Sequence[Measurement], same_metric: Sequence[Measurement]) -> str:
    budget = rule.budget
    wanted = " ".join(part for part in (budget.role, budget.format, budget.precision) if part)
    where = f" on {budget.target}" if budget.target else ""
    if same_metric:
        there = sorted({f"{each.model} ({each.format} {each.precision}) on {each.target}" for each in same_metric})
        found = f"{rule.source} was measured of"
    else:
        there = sorted({each.metric for each in ordered})
        found = "measured were only" if there else "nothing was measured"
    more = f" and {len(there) - _LISTED} more" if len(there) > _LISTED else ""
    return f"no {rule.source} of a {wanted} file{where}; {found} {', '.join(there[:_LISTED])}{more}".rstrip()
