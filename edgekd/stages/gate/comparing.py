"""What a file has lost against another: its teacher, the student before export, or the last release."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from edgekd import stats
from edgekd.errors import MeasurementError
from edgekd.records import Comparison, Measurement
from edgekd.stages.gate.evidence import FRACTION, Seen, exactly, look, sampled_of, samples_of
from edgekd.stages.gate.rules import Rule
from edgekd.stats import Interval

# Of the same samples in the same order, so that most of what scatters is the same on both sides.
_PAIRED = ("proportion", "mean", "area", "confusion", "rank", "perplexity", "bits")
# Of those that need labels.
_BOUND_OF_DROP: Mapping[str, Callable[..., Interval]] = {
    "auc": stats.auc_drop_interval,
    "mcc": stats.mcc_drop_interval,
    "macro_f1": stats.macro_f1_drop_interval,
    "perplexity": stats.perplexity_drop_interval,
    "spearman": stats.spearman_drop_interval,
    "bits_per_byte": stats.bits_drop_interval,
}
# Times of two machines or two settings say nothing of two files.
_SETTING = ("cpu", "arch", "runtime", "threads", "delegate", "batch", "length", "energy_source")
# Fewer processes may all have fallen on the same side by chance; as `edgekd compare` has it.
_LEAST_PROCESSES = 8


def is_paired(rule: Rule) -> bool:
    """Whether both sides answered the same samples."""
    return rule.metric.estimator in _PAIRED and rule.source.name != "energy"


def compare(rule: Rule, candidate: Measurement, reference: Measurement, comparisons: Sequence[Comparison]) -> Seen:
    """Bound what a file has lost against a reference; errors, sizes and times grow where shares shrink.

    Args:
        rule: Of a drop or an increase.
        candidate: Of the file.
        reference: Of the same metric.
        comparisons: In turns, of any files.

    Raises:
        MeasurementError: The samples don't allow it.
    """
    if rule.metric.dimension == "ratio":
        return _by_turns(rule, candidate, reference, comparisons)
    if is_paired(rule):
        return _paired(rule, candidate, reference)
    _check_setting(candidate, reference)
    return _apart(rule, candidate, reference)


def _paired(rule: Rule, candidate: Measurement, reference: Measurement) -> Seen:
    before, after, confidence = reference.values, candidate.values, rule.confidence
    bounds = FRACTION if rule.source.dimension == "share" else None
    if candidate.labels and reference.labels and candidate.labels != reference.labels:
        raise MeasurementError(f"measured on other samples than {reference.model}: their labels differ")
    if _is_same(candidate, reference) and candidate.samples == reference.samples:
        return Seen(interval=exactly(0.0), what="the same file on the same runtime, with the same answers")
    if rule.metric.estimator == "proportion":
        drop = stats.relative_drop_interval if rule.is_relative else stats.paired_drop_interval
        interval = drop(before, after, confidence)
    elif rule.metric.estimator == "mean":
        interval = stats.mean_drop_interval(before, after, confidence, relative=rule.is_relative, bounds=bounds)
    else:
        bound = _BOUND_OF_DROP[rule.source.name]
        interval = bound(before, after, candidate.label_values, confidence, relative=rule.is_relative)
    if rule.source.bound == "at most":
        interval = replace(interval, estimate=-interval.estimate, low=-interval.high, high=-interval.low)
    sampled = sampled_of(rule.source)
    what = f"{_against(rule, reference)} in {len(after)} {sampled}"
    return Seen(interval=interval, what=what, sampled=sampled, count=len(after))


def _apart(rule: Rule, candidate: Measurement, reference: Measurement) -> Seen:
    """Two intervals that miss half as often each: their difference misses no more often than one would."""
    halved = replace(rule, confidence=1 - (1 - rule.confidence) / 2)
    seen, before = (_spread(halved, each) for each in (candidate, reference))
    after, earlier = seen.interval, before.interval
    sign = 1 if rule.source.bound == "at most" else -1  # what is lost of a rate is above 0, too
    if rule.is_relative:
        if earlier.low <= 0:
            raise MeasurementError(f"{rule.source.name} of {reference.model} may be 0, of which nothing is a share")
        pairs = ((after.low, earlier.high), (after.estimate, earlier.estimate), (after.high, earlier.low))
        ends = [(one - other) / other for one, other in pairs]
    else:
        ends = [after.low - earlier.high, after.estimate - earlier.estimate, after.high - earlier.low]
    low, estimate, high = sorted(sign * end for end in ends)
    interval = Interval(estimate=estimate, low=low, high=high)
    return replace(seen, interval=interval, what=_against(rule, reference))


def _spread(rule: Rule, measurement: Measurement) -> Seen:
    """As `look`, but of what is judged by the largest of a few, all of them: one that is out of line proves nothing."""
    if rule.metric.estimator != "largest":
        return look(rule, measurement)
    samples = samples_of(rule, measurement)
    interval = Interval(
        estimate=stats.quantile_of_sorted(np.sort(samples), 0.5), low=float(samples.min()), high=float(samples.max())
    )
    return Seen(interval=interval, sampled="runs" if len(samples) > 1 else "", count=len(samples))


def _check_setting(candidate: Measurement, reference: Measurement) -> None:
    if candidate.basis != reference.basis:
        raise MeasurementError(f"{candidate.basis} here, and {reference.basis} for {reference.model}")
    one, other = candidate.conditions, reference.conditions
    if "" in (one.runtime, other.runtime):
        return  # facts of a file, which no machine had a part in
    for key in _SETTING:
        if getattr(one, key) != getattr(other, key):
            raise MeasurementError(
                f"measured under other conditions than {reference.model}: {key} is '{getattr(one, key)}' here and was "
                f"'{getattr(other, key)}'",
                next_step="measure both under the same conditions",
            )


def _by_turns(rule: Rule, candidate: Measurement, reference: Measurement, comparisons: Sequence[Comparison]) -> Seen:
    """How much longer a file takes than another that took turns with it: a machine is not the same on two days."""
    if _is_same(candidate, reference):
        return Seen(interval=exactly(0.0), what="the same file on the same runtime")
    found = [
        each
        for each in comparisons
        if (each.first_sha256, each.second_sha256) == (reference.model_sha256, candidate.model_sha256)
        and each.target == candidate.target
    ]
    if not found:
        apart = float(np.median(candidate.values) / np.median(reference.values) - 1)
        how = f"compare the two in turns: {turns_command(candidate.model, candidate.target)}"
        return Seen(
            interval=exactly(apart),
            what=f"{_against(rule, reference)}, by medians of two sessions",
            doubt=f"times of two sessions prove nothing of so little; {how}",
        )
    latest = max(found, key=lambda each: each.started_at)
    ratios = [turns.ratio for turns in latest.processes]
    logs = stats.mean_sequence(np.log(ratios), rule.confidence) if len(ratios) >= _LEAST_PROCESSES else None
    if logs is None:
        raise MeasurementError(
            f"{len(ratios)} processes in turns with {reference.model} say nothing", next_step="take more"
        )
    interval = Interval(estimate=math.expm1(logs.estimate), low=math.expm1(logs.low), high=math.expm1(logs.high))
    what = f"{_against(rule, reference)} in turns in {len(ratios)} processes"
    return Seen(interval=interval, what=what, sampled="processes", count=len(ratios))


def turns_command(model: str, target: str) -> str:
    """Say how to compare a file with that of the last release, by names: where files are is not for a stage to know."""
    return f"edgekd compare OLD {model} --target {target} --out FOLDER, and give its file with --comparison"


def _is_same(candidate: Measurement, reference: Measurement) -> bool:
    return candidate.model_sha256 == reference.model_sha256 and _runtime(candidate) == _runtime(reference)


def _runtime(measurement: Measurement) -> tuple[str, ...]:
    conditions = measurement.conditions
    return conditions.runtime, conditions.runtime_version, conditions.cpu, str(conditions.threads)


def _against(rule: Rule, reference: Measurement) -> str:
    name = reference.model + (" of the last release" if rule.reference == "baseline" else "")
    return f"drop from {name}" if rule.source.bound == "at least" else f"increase over {name}"
