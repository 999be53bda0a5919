"""Which measurements a budget is about, and what they are held against."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from edgekd.errors import ConfigError
from edgekd.records import Budget, Measurement
from edgekd.stages.gate.rules import Rule

# What every target has in common: facts of the file.
FILE = "file"


def select(rule: Rule, of_metric: Sequence[Measurement], *, with_file: bool = False) -> list[Measurement]:
    """Find the measurements that a rule's selectors match, among those of its metric.

    Args:
        rule: Of a budget.
        of_metric: Measurements of its metric.
        with_file: Whether facts of the file count on any target.
    """
    budget = rule.budget
    return [
        each
        for each in of_metric
        if _is_of(budget, each) and ((with_file and each.target == FILE) or _fits(each.target, budget.target))
    ]


def _is_of(budget: Budget, measurement: Measurement) -> bool:
    """Whether a budget is about a measurement's file."""
    if measurement.role != budget.role:
        return False
    if budget.format is None and measurement.role == "student" and measurement.format == "torch":
        return False
    return _fits(measurement.format, budget.format) and _fits(measurement.precision, budget.precision)


def _fits(value: str, pattern: str | None) -> bool:
    return pattern is None or fnmatchcase(value, pattern)


def check_selectors(rules: Sequence[Rule], measured: Sequence[Measurement], targets: Collection[str]) -> None:
    """Refuse budgets that are about no file and no target there is: a slip would else look like a missing measurement.

    Args:
        rules: Of the budgets.
        measured: One of each file and target is enough; without any, nothing can be said.
        targets: Where files were to be measured, whether they could be or not.

    Raises:
        ConfigError: All such budgets.
    """
    problems = [problem for number, rule in enumerate(rules, 1) for problem in _missed(rule, number, measured, targets)]
    if problems:
        raise ConfigError.of(problems)


def _missed(
    rule: Rule, number: int, measured: Sequence[Measurement], targets: Collection[str]
) -> Iterator[ConfigError]:
    budget, where = rule.budget, f"budget {number} ({rule.budget.metric})"
    if measured and not any(_is_of(budget, each) for each in measured):
        wanted = " ".join(part for part in (budget.role, budget.format, budget.precision) if part)
        there = sorted({f"{each.role} {each.format} {each.precision}" for each in measured})
        yield ConfigError(f"selects nothing: there is no {wanted} file", where=where, allowed=", ".join(there))
    places = {*targets, *(each.target for each in measured)}
    if targets and not any(_fits(place, budget.target) for place in places):
        yield ConfigError(
            f"selects nothing: there is no target '{budget.target}'", where=where, allowed=", ".join(sorted(places))
        )


def find_predecessors(measured: Sequence[Measurement], baseline: Sequence[Measurement]) -> dict[str, str]:
    """Find which file of the last release each file takes the place of, by name.

    That is the one of its name; else, where one file is new and one is gone of a kind (format and precision), that one.
    """
    new, old = ({(each.model, *_kind(each)) for each in side if ships(each)} for side in (measured, baseline))
    found = {name: name for name, *_ in new & old}
    for kind in {tuple(kind) for _, *kind in new - old}:
        came, went = ([name for name, *each in side if tuple(each) == kind] for side in (new - old, old - new))
        if len(came) == len(went) == 1:
            found[came[0]] = went[0]
    return found


def _kind(measurement: Measurement) -> tuple[str, str]:
    return measurement.format, measurement.precision


def ships(measurement: Measurement) -> bool:
    """Whether it is of a file that is released."""
    return measurement.role == "student" and measurement.format != "torch"


def find_lost(
    rule: Rule, candidates: Sequence[Measurement], baseline: Sequence[Measurement], predecessors: Mapping[str, str]
) -> list[Measurement]:
    """Find what the last release measured of a rule's metric and this one did not."""
    there = {(predecessors.get(each.model), each.target) for each in candidates}
    return [each for each in select(rule, baseline) if (each.model, each.target) not in there]


def find_references(
    rule: Rule,
    candidate: Measurement,
    of_metric: Sequence[Measurement],
    baseline: Sequence[Measurement],
    predecessors: Mapping[str, str],
) -> list[Measurement]:
    """Find what to compare with among measurements of the metric, each only once.

    That is every teacher's, the student's before export, or that of the file's predecessor in the last release.
    """
    if rule.reference == "baseline":
        wanted = (predecessors.get(candidate.model), candidate.target)
        return [each for each in baseline if (each.model, each.target) == wanted][:1]
    found: dict[tuple[object, ...], Measurement] = {}
    for each in of_metric:
        before_export = each.format == "torch" and each.precision == "fp32"
        if (
            each.role == rule.reference
            and (rule.reference == "teacher" or before_export)
            and each.model_sha256 != candidate.model_sha256
        ):
            found.setdefault((each.model_sha256, each.basis, each.unit, each.values.tobytes(), each.labels), each)
    return list(found.values())
