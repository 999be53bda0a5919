"""The release gate: budgets held against measurements, with yes, no, or not proven yet for each."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from edgekd.records import Budget, Comparison, Measurement, Release, Waiver
from edgekd.stages.gate.families import keep_error_rate
from edgekd.stages.gate.judging import Evidence, judge
from edgekd.stages.gate.rules import read_budgets
from edgekd.stages.gate.selecting import check_selectors
from edgekd.stages.gate.waiving import check_waivers, waive
from edgekd.store import fingerprint_of

__all__ = ["gate"]


def gate(
    measurements: Sequence[Measurement],
    *,
    budgets: Sequence[Budget],
    confidence: float = 0.95,
    strict: bool = True,
    baseline: Sequence[Measurement] = (),
    comparisons: Sequence[Comparison] = (),
    waivers: Sequence[Waiver] = (),
    targets: Collection[str] = (),
    now: datetime | None = None,
) -> Release:
    """Hold budgets against measurements, one check for each measurement that a budget's selectors match.

    A check passes when the whole confidence interval keeps the limit, fails when none of it does and is
    inconclusive in between; where there are many, what fails may be no more than chance (`keep_error_rate`). No such
    measurement, samples that can't be right, or evidence of a weaker basis than the budget wants give `unmeasured`.
    Selectors take `*` and `?`. The torch student does not ship, so that a budget checks it only when it says
    `format = "torch"`; other trainings of the student (`repeat`, `control`) are checked only by budgets of that role.
    Drops and increases pair a file with every reference measured on as many samples; where a target took fewer of
    them, only a budget that names it asks for more.

    Args:
        measurements: In any order.
        budgets: Without any, nothing is proven.
        confidence: Of the two-sided intervals, in (0, 1).
        strict: Whether what is inconclusive keeps a release back.
        baseline: Measurements of the last release, for budgets with that reference.
        comparisons: Of files in turns with those of the last release, which alone tell of its latency.
        waivers: What keeps no release back although its budget is not met.
        targets: Where files were to be measured; a budget on none of them is refused.
        now: For clocks and waivers; `None` is this machine's.

    Returns:
        Checks in the order of the budgets, hashes of the shipped files that were checked, and fingerprints
        of the measurements that were looked at.

    Raises:
        ConfigError: Budgets or waivers that make no sense, or budgets that select nothing, all named at once.

    >>> size = Measurement(
    ...     model_sha256="5e1f", model="student.tflite", format="tflite", precision="static_wi8_ai8",
    ...     role="student", target="host", metric="file_size", unit="B", samples=(98496.0,))
    >>> release = gate([size], budgets=[Budget(metric="file_size", limit="100 kB")])
    >>> release.status, release.checks[0].reason
    ('pass', '98.5 kB keeps the limit 100.0 kB')
    """
    rules = read_budgets(budgets, confidence)
    check_waivers(waivers)
    now = now or datetime.now(UTC)
    prints = _Fingerprints()
    ordered = [
        each
        for _, equal in itertools.groupby(sorted(measurements, key=_subject), _subject)
        for each in prints.sorted(list(equal))
    ]
    check_selectors(rules, list({_place(each): each for each in ordered}.values()), targets)
    by_metric: dict[str, list[Measurement]] = {}
    for each in ordered:
        by_metric.setdefault(each.metric, []).append(each)
    evidence = Evidence(measured=by_metric, baseline=baseline, comparisons=comparisons, now=now)
    judgements = keep_error_rate([each for rule in rules for each in judge(rule, evidence)], confidence)
    judgements = [waive(each, waivers, now.date()) for each in judgements]
    used = [measurement for judgement in judgements for measurement in judgement.evidence]
    checked = [judgement.evidence[0] for judgement in judgements if judgement.evidence]
    return Release(
        model_sha256s=tuple(
            sorted({each.model_sha256 for each in checked if each.role == "student" and each.format != "torch"})
        ),
        checks=tuple(judgement.check for judgement in judgements),
        evidence=tuple(sorted({prints.of(each) for each in used})),
        strict=strict,
        waivers=tuple(waivers),
    )


def _subject(measurement: Measurement) -> tuple[str, ...]:
    return measurement.model, measurement.target, measurement.model_sha256, measurement.metric


def _place(measurement: Measurement) -> tuple[str, ...]:
    return measurement.role, measurement.format, measurement.precision, measurement.target


class _Fingerprints:
    """Hashes of measurements, of those that are asked for: each is over all samples."""

    def __init__(self) -> None:
        self._found: dict[int, str] = {}

    def of(self, measurement: Measurement) -> str:
        """The hash of a measurement that lives as long as this does."""
        key = id(measurement)
        if key not in self._found:
            self._found[key] = fingerprint_of(measurement)
        return self._found[key]

    def sorted(self, measurements: list[Measurement]) -> list[Measurement]:
        """Measurements in an order that does not depend on how they came."""
        return sorted(measurements, key=self.of) if len(measurements) > 1 else measurements
