"""A run's files side by side, and the verdict in words: one source for page and terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgekd.records import Budget, Check, Conditions, Format, Measurement, Role, Run, Status
from edgekd.stages.report.summary import Figure, Summary, drop_between, joined, summarise
from edgekd.units import METRICS


@dataclass(frozen=True, kw_only=True)
class TargetFigures:
    """What one file did on one target.

    Attributes:
        detail: What sets these figures apart where one target gave several, e.g. `threads 4`.
        drop: Accuracy lost against the best teacher on the same samples, as a share; negative is a gain.
        p50: Median latency in s, where the number of samples supports one, as for `p90` and `p99`.
        load: Time to load in s, the largest of the few that are taken, as the gate has it; so is `first_inference`.
        arena: In bytes, as is `peak_memory`.
    """

    target: str
    detail: str = ""
    accuracy: Figure | None = None
    drop: Figure | None = None
    p50: Figure | None = None
    p90: Figure | None = None
    p99: Figure | None = None
    latency_samples: int = 0
    load: Figure | None = None
    first_inference: Figure | None = None
    arena: Figure | None = None
    peak_memory: Figure | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model file of the comparison that terminal and page show.

    Attributes:
        size: In bytes, as is `compressed` (after gzip -9).
        accuracy: On the target with the most samples.
        drop: Accuracy lost against the teacher there, as a share (0.01 is one point).
    """

    model: str
    sha256: str
    role: Role
    format: Format
    precision: str
    size: int | None = None
    compressed: int | None = None
    parameters: int | None = None
    accuracy: Figure | None = None
    drop: Figure | None = None
    targets: tuple[TargetFigures, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer of the gate, in words.

    Attributes:
        why: One sentence.
        next_step: What would change it; empty on a pass.
    """

    status: Status
    why: str
    next_step: str


def summary_rows(run: Run) -> tuple[Row, ...]:
    """Put every model file of a run beside the others: teachers first, then as the run made them.

    Returns:
        One row a file, also for files that only measurements know of.

    >>> from pathlib import Path
    >>> summary_rows(Run(name="empty", folder=Path(), recipe=""))
    ()
    """
    measurements = joined(run.measurements)
    teachers = [each for each in measurements if each.role == "teacher" and each.metric == "accuracy" and each.samples]
    rows = [
        Row(
            model=model.name,
            sha256=model.sha256,
            role=model.role,
            format=model.format,
            precision=model.precision,
            size=model.size_bytes,
            parameters=model.parameters,
        )
        for model in run.models
    ]
    known = {row.sha256 for row in rows}
    for each in measurements:
        if each.model_sha256 not in known:
            known.add(each.model_sha256)
            rows.append(
                Row(
                    model=each.model,
                    sha256=each.model_sha256,
                    role=each.role,
                    format=each.format,
                    precision=each.precision,
                )
            )
    filled = [
        _filled(row, [each for each in measurements if each.model_sha256 == row.sha256], teachers) for row in rows
    ]
    return tuple(sorted(filled, key=lambda row: row.role != "teacher"))


def _filled(row: Row, measurements: Sequence[Measurement], teachers: Sequence[Measurement]) -> Row:
    facts = {each.metric: int(max(each.samples)) for each in measurements if each.unit == "B" and each.samples}
    targets: list[TargetFigures] = []
    for target in dict.fromkeys(each.target for each in measurements):
        here = [each for each in measurements if each.target == target and each.metric in _BY_TARGET and each.samples]
        targets += _on_target(target, here, [] if row.role == "teacher" else teachers)
    with_accuracy = [each for each in targets if each.accuracy]
    best = max(with_accuracy, key=lambda each: each.accuracy.samples if each.accuracy else 0, default=None)
    return replace(
        row,
        size=row.size if row.size is not None else facts.get("file_size"),
        compressed=facts.get("compressed_size"),
        accuracy=best.accuracy if best else None,
        drop=best.drop if best else None,
        targets=tuple(targets),
    )


_BY_TARGET = ("accuracy", "latency", "load_time", "first_inference", "arena_size", "peak_memory")


def _on_target(
    target: str, measurements: Sequence[Measurement], teachers: Sequence[Measurement]
) -> list[TargetFigures]:
    by_metric = {metric: [each for each in measurements if each.metric == metric] for metric in _BY_TARGET}
    lines = []
    for line in range(max(map(len, by_metric.values()))):
        # A metric measured under one set of conditions only stands on the first line.
        picked = {metric: found[line] for metric, found in by_metric.items() if line < len(found)}
        sums = {metric: summarise(each) for metric, each in picked.items()}
        latency = sums["latency"].quantiles if "latency" in sums else {}
        lines.append(
            TargetFigures(
                target=target,
                detail=_detail(picked.get("latency"), by_metric["latency"]),
                accuracy=_figure(sums.get("accuracy")),
                drop=drop_against(picked["accuracy"], teachers) if "accuracy" in picked else None,
                p50=latency.get("p50"),
                p90=latency.get("p90"),
                p99=latency.get("p99"),
                latency_samples=sums["latency"].samples if "latency" in sums else 0,
                load=_largest(sums.get("load_time")),
                first_inference=_largest(sums.get("first_inference")),
                arena=_figure(sums.get("arena_size")),
                peak_memory=_figure(sums.get("peak_memory")),
            )
        )
    return lines


def _figure(summary: Summary | None) -> Figure | None:
    return summary.figure if summary else None


def _largest(summary: Summary | None) -> Figure | None:
    if summary is None or summary.maximum is None:
        return None
    return Figure(value=summary.maximum, samples=summary.samples, basis=summary.basis)


def _detail(mine: Measurement | None, all_of_them: Sequence[Measurement]) -> str:
    if mine is None or len(all_of_them) < 2:
        return ""
    different = [
        key
        for key in Conditions.MUST_AGREE
        if len({getattr(each.conditions, key) for each in all_of_them}) > 1 and getattr(mine.conditions, key)
    ]
    words = [f"{key.replace('_', ' ')} {getattr(mine.conditions, key)}" for key in different]
    if len({each.basis for each in all_of_them}) > 1:
        words.append(mine.basis)
    return ", ".join(words)


def drop_against(student: Measurement, teachers: Sequence[Measurement]) -> Figure | None:
    """Accuracy lost against the best teacher measured on the same samples, as a share; negative is a gain.

    A teacher on the student's own target comes before one elsewhere; accuracies over different numbers of
    samples are of different data and give none.
    """
    same = [each for each in teachers if len(each.samples) == len(student.samples)]
    near = [each for each in same if each.target == student.target] or same
    if not near:
        return None
    return drop_between(max(near, key=lambda each: sum(each.samples)), student)


# --- the verdict in words ------------------------------------------------------------------------

_WORSE = ("fail", "unmeasured", "inconclusive")


def verdict_of(run: Run) -> Verdict:
    """Say in one sentence why the release stands or falls, and what to do next.

    >>> from pathlib import Path
    >>> verdict_of(Run(name="empty", folder=Path(), recipe="")).status
    'unmeasured'
    """
    if run.release is None:
        if not run.models and not run.measurements:
            return Verdict(
                status="unmeasured",
                why="The run has not come as far as a model file, so nothing is proven.",
                next_step="run the same command again: it goes on where it was",
            )
        return Verdict(
            status="unmeasured",
            why="No budgets were checked, so nothing is proven.",
            next_step="write budgets into the recipe and run it again: what is done is not done twice",
        )
    checks = run.release.checks
    if not checks:
        return Verdict(
            status="unmeasured",
            why="There are no budgets, so nothing is proven.",
            next_step="write at least one budget, for instance a file_size",
        )
    total = f"{len(checks)} checks" if len(checks) > 1 else "one check"
    for status in _WORSE:
        found = [check for check in checks if check.status == status]
        if not found:
            continue
        first = found[0]
        count = f"{len(found)} of {total}" if len(checks) > 1 else "The only check"
        words = {"fail": "failed", "unmeasured": "has no measurement", "inconclusive": "is not proven yet"}[status]
        if len(found) > 1 and status != "fail":
            words = {"unmeasured": "have no measurement", "inconclusive": "are not proven yet"}[status]
        name = f", first {describe_budget(first.budget)}" if len(found) > 1 else f": {describe_budget(first.budget)}"
        return Verdict(status=first.status, why=f"{count} {words}{name}{_place(first)}.", next_step=first.reason)
    return Verdict(status="pass", why=f"All budgets hold ({total}).", next_step="")


def _place(check: Check) -> str:
    return (f" for {check.model}" if check.model else "") + (f" on {check.target}" if check.target else "")


def describe_budget(budget: Budget) -> str:
    """Write a budget as people say it.

    >>> describe_budget(Budget(metric="latency", statistic="p90", limit="10 ms"))
    'latency p90 at most 10 ms'
    """
    known = METRICS.get(budget.metric)
    words = [budget.metric.replace("_", " ")]
    if budget.statistic:
        words.append(budget.statistic)
    if budget.reference:
        words.append(f"against the {budget.reference}")
    words += [known.bound if known else "limit", budget.limit]
    return " ".join(words)
