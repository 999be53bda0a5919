"""A run held against the last release: what the gate needs for it, and what is said of the verdict."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgekd.config import DEFAULT_TOLERANCES, flatten_tolerances, read_regressions, read_tolerances
from edgekd.errors import ConfigError
from edgekd.pipeline.baseline.changes import find_changes, name_causes
from edgekd.pipeline.baseline.comparisons import FOLDER, read_comparisons
from edgekd.pipeline.baseline.promoting import describe_run
from edgekd.pipeline.baseline.reading import LastRelease, find_baseline
from edgekd.records import Baseline, Budget, Check, Comparison, Measurement, Release, ReleasedFile, Run, Tolerances
from edgekd.stages.gate.comparing import turns_command
from edgekd.stages.gate.selecting import find_predecessors
from edgekd.units import METRICS

# Of single samples, that only the same ones can be held against each other; energy has a mean, too, but no samples.
_OF_SAMPLES = ("proportion", "mean", "area", "recall", "confusion", "rank", "calibration", "perplexity", "bits")
# Those of the validation split.
_OF_VALIDATION = ("parity",)
_LATENCY = "latency"
_HASH_LETTERS = 12


@dataclass(frozen=True, kw_only=True)
class Against:
    """What the gate gets besides a run's own measurements and budgets.

    Attributes:
        described: The run, as it would be if it were promoted.
        last: The last release; `None` where the run is held against none.
        budgets: Of regressions.
        measurements: Of the last release, without samples of those that can't be held against the run's.
        withheld: By metric, why not.
        comparisons: In turns, of files of both.
    """

    run: Run
    described: Baseline | None = None
    last: LastRelease | None = None
    budgets: tuple[Budget, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    withheld: Mapping[str, str] = field(default_factory=dict)
    comparisons: tuple[Comparison, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """Where files of the last release were measured."""
        return tuple({each.target: None for each in self.measurements})

    def explain(self, release: Release) -> Release:
        """Add to a verdict what it was held against, what has changed since, and the causes of what got worse."""
        if self.last is None or self.described is None:
            return release
        before = self.last.baseline
        changes = find_changes(before, self.described)
        predecessors = find_predecessors(self.run.measurements, before.measurements)
        measured = {(each.model, each.target, each.metric) for each in self.run.measurements}

        def explain(check: Check) -> Check:
            metric = METRICS[check.budget.metric].source or ""
            if check.status == "fail":
                return replace(check, reason=check.reason + name_causes(check, changes))
            if metric in self.withheld and (check.model, check.target, metric) in measured:
                return replace(check, reason=self.withheld[metric])
            if check.status == "inconclusive" and metric == _LATENCY:
                old = next((each for each in before.files if each.name == predecessors.get(check.model)), None)
                return self._with_command(check, old) if old else check
            return check

        checks = tuple(explain(each) if _is_regression(each) else each for each in release.checks)
        return replace(release, checks=checks, baseline=self.last.title, changes=changes)

    def _with_command(self, check: Check, old: ReleasedFile) -> Check:
        """Say with which command the two files are compared, where both are here; else what is missing."""
        new = next((each for each in self.run.models if each.name == check.model), None)
        if new is None or self.last is None:
            return check
        general = turns_command(check.model, check.target)
        if old.name not in self.last.places:
            where = f"OLD was {old.path}, sha256 {old.sha256[:_HASH_LETTERS]}, which is not here: bring it first"
            return replace(check, reason=check.reason.replace(general, f"{general}; {where}"))
        out = self.run.folder / FOLDER / f"{check.model}-{check.target}"
        words = ["edgekd", "compare", str(self.last.places[old.name]), str(new.path), "--target", check.target]
        command = shlex.join([*words, "--threshold", check.budget.limit, "--out", str(out)])
        return replace(check, reason=check.reason.replace(general, command))


def open_against(
    run: Run,
    *,
    baseline: str | None,
    table: Tolerances | None = None,
    tolerances: Sequence[str] = (),
    comparisons: Sequence[Path] = (),
) -> Against:
    """Get ready to hold a run against the last release.

    Args:
        run: The run.
        baseline: As `find_baseline` takes it; `None` holds it against none.
        table: Limits of regressions by metric; `None` takes defaults for those of the last release.
        tolerances: `METRIC=LIMIT`, in place of these.
        comparisons: Files of `edgekd compare`, besides those in the run's folder.

    Raises:
        ConfigError: Tolerances that make no sense, or nothing that they could be of.
        StoreError: No such baseline, or a comparison of other files.
    """
    own = read_tolerances(tolerances)
    if baseline is None:
        if own or comparisons:
            option = "--tolerance" if own else "--comparison"
            raise ConfigError("there is no last release", where=option, next_step="give it with --baseline")
        return Against(run=run)
    last = find_baseline(baseline)
    before, after = last.baseline, describe_run(run)
    withheld = _withheld(before, after)
    return Against(
        run=run,
        described=after,
        last=last,
        budgets=_budgets((_defaults(before) if table is None else flatten_tolerances(table)) | own, before, after),
        measurements=tuple(
            # What was measured is still known; a file without any measurement would be a new one.
            replace(each, samples=(), labels=()) if each.metric in withheld else each
            for each in before.measurements
        ),
        withheld=withheld,
        comparisons=read_comparisons(comparisons, run.folder, before=_hashes(before), after=_hashes(after)),
    )


def _budgets(table: Tolerances, before: Baseline, after: Baseline) -> tuple[Budget, ...]:
    """Budgets of tolerances: like is held against like, so that estimates will do; but times only where measured."""
    timed = dict.fromkeys(each.target for each in (*before.measurements, *after.measurements) if _is_timed(each))
    budgets = []
    for budget in read_regressions(table, "regressions"):
        if METRICS[budget.metric].source != _LATENCY:
            budgets.append(replace(budget, basis="estimated"))
        else:
            budgets += [replace(budget, target=target) for target in timed] or [budget]
    return tuple(budgets)


def _is_timed(measurement: Measurement) -> bool:
    return measurement.metric == _LATENCY and measurement.basis == "measured"


def _defaults(before: Baseline) -> dict[str, str]:
    """Tolerances of what the last release has measured; what this one has not is said to be missing."""
    measured = {each.metric for each in before.measurements if each.metric != _LATENCY or _is_timed(each)}
    return {metric: limit for metric, limit in DEFAULT_TOLERANCES.items() if metric in measured}


def _withheld(before: Baseline, after: Baseline) -> dict[str, str]:
    """Metrics of single samples, where both sides did not look at the same ones, or nothing says that they did."""
    test = _why_other_samples(before, after, before.test_split, after.test_split)
    validation = _why_other_samples(before, after, "", "")
    whys = {
        metric.name: validation if metric.name in _OF_VALIDATION else test
        for metric in METRICS.values()
        if metric.estimator in _OF_SAMPLES and metric.dimension != "energy"
    }
    return {name: why for name, why in whys.items() if why}


def _why_other_samples(before: Baseline, after: Baseline, old: str, new: str) -> str:
    if not (old and new):  # the split alone is unknown
        old, new = before.data, after.data
    if old == new:
        return ""
    step = "measure the released files on this data and take that as the baseline"
    if old and new:
        return (
            f"measured on other data than the last release (hash {new[:_HASH_LETTERS]} here, {old[:_HASH_LETTERS]} "
            f"then), so samples can't be paired; {step}"
        )
    return f"nothing says that the last release was measured on the same data, so samples can't be paired; {step}"


def _hashes(baseline: Baseline) -> set[str]:
    return {each.sha256 for each in baseline.files}


def _is_regression(check: Check) -> bool:
    return check.budget.reference == "baseline" and check.budget.metric in METRICS
