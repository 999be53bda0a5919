"""Holds one budget against each measurement that it is about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, partial

import numpy as np

from edgekd import stats
from edgekd.errors import MeasurementError
from edgekd.formulas import Formula
from edgekd.records import Check, Comparison, Measurement, Status
from edgekd.stages.gate.comparing import compare, is_paired
from edgekd.stages.gate.evidence import Seen, find_fault, look, needs_runs, sampled_of, samples_of
from edgekd.stages.gate.reasons import explain, explain_nothing, explain_sources
from edgekd.stages.gate.rules import Rule
from edgekd.stages.gate.selecting import FILE, find_lost, find_predecessors, find_references, select, ships
from edgekd.stats import Interval


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that budgets are held against.

    Attributes:
        measured: By metric, in an order that does not depend on how they came.
        baseline: Measurements of the last release.
        comparisons: In turns, of files with those of the last release.
    """

    measured: Mapping[str, Sequence[Measurement]]
    baseline: Sequence[Measurement]
    comparisons: Sequence[Comparison]
    now: datetime

    @cached_property
    def predecessors(self) -> Mapping[str, str]:
        """Names of files, with those of the last release whose place they take."""
        return find_predecessors([each for group in self.measured.values() for each in group], self.baseline)

    @cached_property
    def _places_before(self) -> frozenset[tuple[str | None, str]]:
        return frozenset((each.model, each.target) for each in self.baseline)

    def is_new(self, candidate: Measurement) -> bool:
        """Whether the last release had no such file, or did not measure it on that target: nothing got worse then."""
        place = self.predecessors.get(candidate.model), candidate.target
        return ships(candidate) and place not in self._places_before

    def before(self, rule: Rule) -> Sequence[Measurement]:
        """Measurements of a rule's metric of the last release."""
        return [each for each in self.baseline if each.metric == rule.told_by]


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What was seen by a rule, and what another rule would see in the same samples."""

    rule: Rule
    seen: Seen
    look: Callable[[Rule], Seen]

    @property
    def is_sampled(self) -> bool:
        """Whether chance had a part in it."""
        return bool(self.seen.sampled) and not self.seen.doubt

    def status_by(self, rule: Rule) -> Status:
        """Hold the samples against another limit, or at another confidence."""
        try:
            return status_of(rule, self.look(rule))
        except MeasurementError:
            return "inconclusive"  # too few samples to say anything so surely


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A check and what is behind it.

    Attributes:
        evidence: The first is the measurement that was checked.
        observation: What samples said, where they did.
    """

    check: Check
    evidence: tuple[Measurement, ...] = ()
    observation: Observation | None = None


def judge(rule: Rule, evidence: Evidence) -> Iterator[Judgement]:
    """Hold a budget against every measurement that its selectors match."""
    if rule.formula is not None:
        yield from _judge_formula(rule, rule.formula, evidence)
        return
    of_metric = evidence.measured.get(rule.told_by, ())
    selected = candidates = select(rule, of_metric)
    lost: list[Measurement] = []
    if rule.reference == "baseline" and evidence.baseline:
        lost = find_lost(rule, candidates, evidence.before(rule), evidence.predecessors)
        candidates = [each for each in candidates if not evidence.is_new(each)]
    for each in lost:
        yield _open(rule, each, f"the last release has it: {rule.source.name} of {each.model} was not measured now")
    if not selected and not lost:
        yield _open(rule, None, explain_nothing(rule, evidence.measured))
    for candidate in candidates:
        if not rule.is_drop:
            yield _check(rule, [(rule, candidate)], evidence, partial(look, candidate=candidate))
            continue
        references = find_references(rule, candidate, of_metric, evidence.before(rule), evidence.predecessors)
        paired = [each for each in references if _can_pair(rule, candidate, each)]
        for reference in paired:
            see = partial(compare, candidate=candidate, reference=reference, comparisons=evidence.comparisons)
            yield _check(rule, [(rule, candidate), (rule, reference)], evidence, see)
        is_asked = rule.budget.target is not None or rule.reference == "baseline"
        if not paired and (is_asked or not _is_part(candidate, candidates)):
            why = _why_not_paired(rule, candidate, references, is_given=bool(evidence.baseline))
            yield replace(_open(rule, candidate, why), evidence=(candidate,))


def _can_pair(rule: Rule, candidate: Measurement, reference: Measurement) -> bool:
    return not is_paired(rule) or len(reference.samples) == len(candidate.samples)


def _is_part(candidate: Measurement, candidates: Sequence[Measurement]) -> bool:
    """Whether a file answered more samples on another target."""
    return any(
        each.model_sha256 == candidate.model_sha256 and len(each.samples) > len(candidate.samples)
        for each in candidates
    )


def _why_not_paired(rule: Rule, candidate: Measurement, references: Sequence[Measurement], *, is_given: bool) -> str:
    whose = "last release" if rule.reference == "baseline" else rule.reference
    if rule.reference == "baseline" and not is_given:
        return "there is no last release to hold it against; give it with --baseline"
    if not references:
        what = f"the {rule.source.name} of the {whose} was not measured"
        if rule.reference == "baseline":
            what += f" for a {candidate.format} {candidate.precision} file on {candidate.target}"
        return what
    sizes = ", ".join(sorted({str(len(each.samples)) for each in references}))
    return f"measured on other samples: {len(candidate.samples)} here, {sizes} of the {whose}"


def _judge_formula(rule: Rule, formula: Formula, evidence: Evidence) -> Iterator[Judgement]:
    """Hold a formula against each file on each target where all its terms are known."""
    rules = [rule.of(term) for term in formula.terms]
    found = [select(each, evidence.measured.get(each.told_by, ()), with_file=True) for each in rules]
    for each, measured in zip(rules, found, strict=True):
        if not measured:
            yield _open(rule, None, explain_nothing(each, evidence.measured))
            return
    places = {(each.model, each.model_sha256, each.target): each for measured in found for each in measured}
    on_targets = {sha256 for _, sha256, target in places if target != FILE}
    for (_, sha256, target), first in places.items():
        if target == FILE and sha256 in on_targets:
            continue  # what is known of the file counts on any target
        chosen = [
            next((each for each in measured if each.model_sha256 == sha256 and each.target in (target, FILE)), None)
            for measured in found
        ]
        here = tuple(each for each in chosen if each is not None)
        if len(here) < len(chosen):
            missing = ", ".join(str(term) for term, each in zip(formula.terms, chosen, strict=True) if each is None)
            yield replace(_open(rule, first, f"{missing} was not measured there"), evidence=(first,))
            continue
        see = partial(_compute, formula=formula, rules=rules, measured=here)
        parts = sorted(zip(rules, here, strict=True), key=lambda pair: pair[1].target == FILE)
        yield _check(rule, parts, evidence, see)


def _compute(rule: Rule, *, formula: Formula, rules: Sequence[Rule], measured: Sequence[Measurement]) -> Seen:
    """Join intervals, each of which misses so seldom that all together miss as often as one may."""
    confidence = 1 - (1 - rule.confidence) / len(rules)
    seen = {
        term: look(replace(each, confidence=confidence), measurement)
        for term, each, measurement in zip(formula.terms, rules, measured, strict=True)
    }
    low, high = formula({term: (each.interval.low, each.interval.high) for term, each in seen.items()})
    estimate, _ = formula({term: (each.interval.estimate,) * 2 for term, each in seen.items()})
    interval = Interval(estimate=estimate, low=low, high=high)
    scattered = [each for each in seen.values() if each.sampled]
    if not scattered:
        return Seen(interval=interval, what=formula.text)
    fewest = min(scattered, key=lambda each: each.count)
    return Seen(interval=interval, what=formula.text, sampled=fewest.sampled, count=fewest.count)


def _check(
    rule: Rule, parts: Sequence[tuple[Rule, Measurement]], evidence: Evidence, see: Callable[[Rule], Seen]
) -> Judgement:
    """Hold measurements, each of them found by a rule of its own, against a budget; the first is what is checked."""
    measured = tuple({id(measurement): measurement for _, measurement in parts}.values())
    opened = replace(_open(rule, measured[0], ""), evidence=measured)
    for own, measurement in parts:
        if fault := find_fault(own, measurement, evidence.now):
            name = f"{own.source.name} of {measurement.model} on {measurement.target}"
            return _with(opened, reason=f"{name} {fault}")
        try:
            missing = _missing_runs(own, measurement)
        except MeasurementError as error:
            return _with(opened, reason=str(error))
        if missing:
            observed = float(np.quantile(samples_of(own, measurement), own.quantile)) if own is rule else None
            return _with(opened, observed=observed, status="inconclusive", reason=missing)
    try:
        seen = see(rule)
    except MeasurementError as error:
        return _with(opened, reason=str(error))
    status = status_of(rule, seen)
    judged = _with(
        opened,
        observed=seen.interval.estimate,
        low=None if seen.doubt else seen.interval.low,
        high=None if seen.doubt else seen.interval.high,
        status=status,
        reason=explain(rule, seen, status) + explain_sources(measured),
    )
    return replace(judged, observation=Observation(rule=rule, seen=seen, look=see))


def _missing_runs(rule: Rule, measurement: Measurement) -> str | None:
    if not needs_runs(rule, measurement) or rule.metric.dimension == "ratio":
        return None
    samples, sampled = samples_of(rule, measurement), sampled_of(rule.source)
    # The lower tail needs as many as the upper one.
    count, needed = len(samples), stats.runs_needed(max(rule.quantile, 1 - rule.quantile), rule.confidence)
    if count >= needed:
        return None
    observed = rule.write(float(np.quantile(samples, rule.quantile)))
    return (
        f"{rule.statistic} of {count} {sampled}, {observed}, proves nothing: "
        f"{100 * rule.confidence:g} % confidence needs {needed} {sampled}; take {needed - count} more"
    )


def status_of(rule: Rule, seen: Seen) -> Status:
    """Say on which side of the limit the whole interval lies."""
    if seen.doubt:
        return "inconclusive"
    # Mirrored for lower bounds, so that "at most" is the only case.
    sign = 1 if rule.metric.bound == "at most" else -1
    low, high = sorted((sign * seen.interval.low, sign * seen.interval.high))
    limit = sign * rule.limit.value
    if high <= limit:
        return "pass"
    return "fail" if low > limit else "inconclusive"


def _open(rule: Rule, candidate: Measurement | None, reason: str) -> Judgement:
    """A check that nothing is known of yet."""
    return Judgement(
        check=Check(
            budget=rule.budget,
            model=candidate.model if candidate else "",
            target=candidate.target if candidate else rule.budget.target or "",
            unit=rule.unit,
            limit=rule.limit.value,
            observed=None,
            low=None,
            high=None,
            status="unmeasured",
            reason=reason,
        ),
    )


def _with(judgement: Judgement, **changes: object) -> Judgement:
    return replace(judgement, check=replace(judgement.check, **changes))  # type: ignore[arg-type]  # fields of Check
