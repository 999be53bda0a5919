"""What two runs have in common, and by how much the second does better or worse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from edgekd.records import Change, Conditions, Format, Measurement, Run, Status
from edgekd.stages.report.check_pairs import CheckPair, check_pairs
from edgekd.stages.report.quality import label_of, lower_is_better, points_text, score_text
from edgekd.stages.report.summary import Figure, gain_between, joined, summarise
from edgekd.stages.report.words import figure_text
from edgekd.units import METRICS
from edgekd.verdict import verdict_of

Outcome = Literal["worse", "better", "seems worse", "seems better", "unknown", "equal"]
OUTCOMES: tuple[Outcome, ...] = ("worse", "better", "seems worse", "seems better", "unknown", "equal")
TWO_SESSIONS = (
    "Times, energies and memory were measured in two sessions. What else the machine did then moves them by more than "
    "their intervals say, so that a difference only seems to be one: edgekd compare A B runs two files in turns, and "
    "that proves it."
)
# Predictions and kinds of operators are no numbers that are better or worse.
_LEFT_OUT = ("recall", "operators", "lint")
# Held against each other sample by sample, or by their labels too.
_LABELLED = ("area", "rank", "perplexity", "bits")
_SCORES = ("proportion", "mean", *_LABELLED)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One metric of a file on a target, in both runs.

    Attributes:
        metric: As budgets call it; `what` is its name in words, with the quantile.
        before: As people write it, with its interval beside it; empty where it was not measured.
        change: By how much the second run differs from the first.
        outcome: Of the second run; `seems` where two sessions were compared, `unknown` where nothing is shown.
        why: Why it is not known.
    """

    target: str
    metric: str
    what: str
    before: str
    before_range: str
    after: str
    after_range: str
    change: str
    change_range: str
    outcome: Outcome
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class FilePair:
    """A file of the first run and the one of the second that takes its place: of the same format and precision."""

    before: str
    after: str
    format: Format
    precision: str
    same_bytes: bool
    differences: tuple[Difference, ...]

    @property
    def name(self) -> str:
        """Both names, where they differ."""
        return self.after if self.before == self.after else f"{self.before} → {self.after}"


@dataclass(frozen=True, kw_only=True)
class Differences:
    """A run against an earlier one.

    Attributes:
        before: Name of the first run, and `before_status` its verdict.
        only_before: Files that nothing takes the place of.
        checks: Of both releases; none where a run has none.
        changes: What else differs: recipe, data, teachers, tools, conditions.
    """

    before: str
    after: str
    before_status: Status
    after_status: Status
    pairs: tuple[FilePair, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    checks: tuple[CheckPair, ...]
    changes: tuple[Change, ...]

    def of(self, outcome: Outcome) -> tuple[tuple[FilePair, Difference], ...]:
        """All differences of one outcome, those of scores first."""
        found = [(pair, each) for pair in self.pairs for each in pair.differences if each.outcome == outcome]
        return tuple(sorted(found, key=lambda both: not _is_score(both[1].metric)))

    @property
    def counts(self) -> dict[Outcome, int]:
        """How many differences of each outcome."""
        return {outcome: len(self.of(outcome)) for outcome in OUTCOMES}


@dataclass(frozen=True, kw_only=True)
class _File:
    name: str
    sha256: str
    format: Format
    precision: str
    measurements: tuple[Measurement, ...]


def differences_between(before: Run, after: Run, changes: Sequence[Change] = ()) -> Differences:
    """Hold each file of a run against the one of an earlier run that it takes the place of.

    Args:
        before: The earlier run, or a benchmark.
        after: The later one.
        changes: What else differs between them.

    >>> from pathlib import Path
    >>> run = Run(name="empty", folder=Path(), recipe="")
    >>> differences_between(run, run).pairs
    ()
    """
    old, new = _files(before), _files(after)
    matched = list(_matched(old, new))
    pairs = [_pair(*each) for each in matched]
    taken = {id(file) for both in matched for file in both}
    return Differences(
        before=before.name,
        after=after.name,
        before_status=verdict_of(before).status,
        after_status=verdict_of(after).status,
        pairs=tuple(pairs),
        only_before=tuple(each.name for each in old if id(each) not in taken),
        only_after=tuple(each.name for each in new if id(each) not in taken),
        checks=tuple(check_pairs(before, after, {pair.before: pair.after for pair in pairs})),
        changes=tuple(changes),
    )


# --- files -----------------------------------------------------------------------------------------


def _files(run: Run) -> list[_File]:
    measurements = joined(each for each in run.measurements if each.role == "student")
    found: dict[str, _File] = {}
    for name, sha256, format_, precision in (
        *((each.name, each.sha256, each.format, each.precision) for each in run.models if each.role == "student"),
        *((each.model, each.model_sha256, each.format, each.precision) for each in measurements),
    ):
        if sha256 not in found:
            mine = tuple(each for each in measurements if each.model_sha256 == sha256)
            found[sha256] = _File(name=name, sha256=sha256, format=format_, precision=precision, measurements=mine)
    return list(found.values())


def _matched(old: Sequence[_File], new: Sequence[_File]) -> Iterator[tuple[_File, _File]]:
    """Files of one name take each other's place, and those that are alone in their format and precision."""
    left, there = list(old), list(new)
    for mine in new:
        same = [each for each in left if (each.name, _kind(each)) == (mine.name, _kind(mine))]
        if same:
            left.remove(same[0])
            there.remove(mine)
            yield same[0], mine
    for mine in list(there):
        candidates = [each for each in left if _kind(each) == _kind(mine)]
        rivals = [each for each in there if _kind(each) == _kind(mine)]
        if len(candidates) == len(rivals) == 1:
            yield candidates[0], mine


def _kind(file: _File) -> tuple[str, str]:
    return file.format, file.precision


def _pair(before: _File, after: _File) -> FilePair:
    old, new = _by_metric(before.measurements), _by_metric(after.measurements)
    return FilePair(
        before=before.name,
        after=after.name,
        format=after.format,
        precision=after.precision,
        same_bytes=before.sha256 == after.sha256,
        differences=tuple(
            difference
            for key in dict.fromkeys((*old, *new))
            if key[1] not in _LEFT_OUT
            for difference in _differences(key, old, new)
        ),
    )


_Measured = Mapping[tuple[str, str], Measurement]


def _by_metric(measurements: Iterable[Measurement]) -> dict[tuple[str, str], Measurement]:
    """By target and metric; of several sets of conditions the first counts."""
    found: dict[tuple[str, str], Measurement] = {}
    for each in measurements:
        if each.samples:
            found.setdefault((each.target, each.metric), each)
    return found


# --- one metric ------------------------------------------------------------------------------------


def _differences(key: tuple[str, str], old: _Measured, new: _Measured) -> Iterator[Difference]:
    target, metric = key
    before, after = old.get(key), new.get(key)
    if before is None or after is None:
        there = before or after
        if there and (figures := _figures(there)):
            name, figure = figures[0]
            text, ends = _written(figure, metric, there.unit), _range(figure, metric, there.unit)
            where = ("", "", text, ends) if before is None else (text, ends, "", "")
            yield _difference((target, metric), name, where, ("", ""), "unknown", "measured in one run only")
        return
    if _is_score(metric):
        yield _of_scores(before, after, _same_samples(key, old, new))
        return
    theirs = dict(_figures(before))
    for name, figure in _figures(after):
        if name in theirs:
            yield _of_numbers(name, (before, theirs[name]), (after, figure), _same_samples(key, old, new))


def _is_score(metric: str) -> bool:
    known = METRICS.get(metric)
    return known is not None and known.estimator in _SCORES and metric != "energy"


def _figures(measurement: Measurement) -> list[tuple[str, Figure]]:
    """The numbers of a measurement that are compared, each with its name."""
    label, summary = label_of(measurement.metric), summarise(measurement)
    if summary.quantiles:
        return [(f"{label} {name}", figure) for name, figure in summary.quantiles.items()]
    if summary.figure:
        return [(label, summary.figure)]
    if summary.maximum is not None and measurement.unit == "s":  # few times; what must fit is the largest
        return [(label, Figure(value=summary.maximum, samples=summary.samples, basis=summary.basis))]
    return []


def _same_samples(key: tuple[str, str], old: _Measured, new: _Measured) -> bool:
    """Whether the true classes that both runs know are the same, or as many samples where they know none."""
    labels = [each[target, "recall"].labels for each in (old, new) for target in [key[0]] if (target, "recall") in each]
    sizes = {len(each[key].samples) for each in (old, new)}
    known = METRICS.get(key[1])
    own = {each[key].labels for each in (old, new) if known and known.estimator in _LABELLED}
    return len(sizes) == 1 and len(own) < 2 and (len(labels) < 2 or labels[0] == labels[1])


def _of_scores(before: Measurement, after: Measurement, same: bool) -> Difference:
    metric = after.metric
    figures = [summarise(each).figure for each in (before, after)]
    texts = [text for each in figures for text in (_written(each, metric, "1"), _range(each, metric, "1"))]
    where = (texts[0], texts[1], texts[2], texts[3])
    name = label_of(metric)
    if not same:
        return _difference((after.target, metric), name, where, ("", ""), "unknown", "not the same test samples")
    gain = gain_between([after], [before])
    sign = -1 if lower_is_better(metric) else 1
    change = points_text(sign * gain.value, metric, sign="+")
    if before.samples == after.samples:
        return _difference((after.target, metric), name, where, (change, ""), "equal")
    if gain.low is None or gain.high is None:
        return _difference(
            (after.target, metric), name, where, (change, ""), "unknown", "one number without an interval"
        )
    low, high = sorted((sign * gain.low, sign * gain.high))
    ends = f"{points_text(low, metric, sign='+')} to {points_text(high, metric, sign='+')}"
    outcome: Outcome = "better" if gain.low > 0 else "worse" if gain.high < 0 else "unknown"
    why = "the interval of the difference holds 0" if outcome == "unknown" else ""
    return _difference((after.target, metric), name, where, (change, ends), outcome, why)


def _of_numbers(name: str, old: tuple[Measurement, Figure], new: tuple[Measurement, Figure], same: bool) -> Difference:
    (before, earlier), (after, later) = old, new
    metric, unit = after.metric, after.unit
    where = (
        *(_written(earlier, metric, unit), _range(earlier, metric, unit)),
        *(_written(later, metric, unit), _range(later, metric, unit)),
    )
    if _is_calibration(metric):
        change = f"{100 * (later.value - earlier.value):+.2f} pt"
    else:
        change = f"{100 * (later.value / earlier.value - 1):+.1f} %" if earlier.value else ""
    outcome, why = _judged((before, earlier), (after, later))
    if _is_calibration(metric):  # of answers, and not of a session
        outcome, why = (_SURE[outcome], why) if same else ("unknown", "not the same test samples")
    return _difference((after.target, metric), name, where, (change, ""), outcome, why)


_SURE: Mapping[Outcome, Outcome] = {"seems worse": "worse", "seems better": "better", "unknown": "unknown"}


def _is_calibration(metric: str) -> bool:
    return metric in METRICS and METRICS[metric].estimator == "calibration"


def _judged(old: tuple[Measurement, Figure], new: tuple[Measurement, Figure]) -> tuple[Outcome, str]:
    (before, earlier), (after, later) = old, new
    known = METRICS.get(after.metric)
    less_is_better = known is None or known.bound == "at most"
    if (known and known.estimator == "exact") or after.basis == before.basis == "estimated":
        better = (later.value < earlier.value) == less_is_better
        return "equal" if later.value == earlier.value else "better" if better else "worse", ""
    ours, theirs = _ends(later), _ends(earlier)
    if why := _why_unknown(before, after):
        return "unknown", why
    if ours is None or theirs is None:
        return "unknown", "too few measurements for an interval"
    if ours[0] <= theirs[1] and theirs[0] <= ours[1]:
        return "unknown", "the intervals overlap"
    return ("seems better", "") if (ours < theirs) == less_is_better else ("seems worse", "")


def _why_unknown(before: Measurement, after: Measurement) -> str:
    """Why two measurements say nothing of each other; nothing where they do."""
    if tainted := before.conditions.tainted or after.conditions.tainted:
        return f"tainted: {tainted}"
    keys = [key for key in Conditions.MUST_AGREE if _condition(before, key) != _condition(after, key)]
    if before.basis != after.basis:
        keys.append("basis")
    return f"measured under other conditions: {', '.join(keys)}" if keys else ""


def _ends(figure: Figure) -> tuple[float, float] | None:
    """The interval of a number that has one."""
    if figure.low is None or figure.high is None or figure.low == figure.high:
        return None
    return figure.low, figure.high


def _condition(measurement: Measurement, key: str) -> object:
    return getattr(measurement.conditions, key)


def _written(figure: Figure | None, metric: str, unit: str) -> str:
    if figure is None:
        return ""
    if _is_calibration(metric):
        return f"{100 * figure.value:.2f} pt"
    return score_text(figure.value, metric) if unit == "1" else figure_text(figure, unit)


def _range(figure: Figure | None, metric: str, unit: str) -> str:
    ends = _ends(figure) if figure else None
    if ends is None:
        return ""
    low, high = (_written(Figure(value=end), metric, unit) for end in ends)
    return f"{low} to {high}"


def _difference(
    place: tuple[str, str],
    what: str,
    where: tuple[str, str, str, str],
    change: tuple[str, str],
    outcome: Outcome,
    why: str = "",
) -> Difference:
    before, before_range, after, after_range = where
    return Difference(
        target=place[0],
        metric=place[1],
        what=what,
        before=before,
        before_range=before_range,
        after=after,
        after_range=after_range,
        change=change[0].replace("-", "\N{MINUS SIGN}"),
        change_range=change[1].replace("-", "\N{MINUS SIGN}"),
        outcome=outcome,
        why=why,
    )
