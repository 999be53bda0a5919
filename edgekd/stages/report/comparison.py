"""A run's files side by side: one source for page and terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from edgekd.records import Conditions, Format, Measurement, Role, Run
from edgekd.stages.report.quality import primary_metric
from edgekd.stages.report.seeds import group_of
from edgekd.stages.report.summary import Figure, Summary, drop_between, joined, oriented, summarise


@dataclass(frozen=True, kw_only=True)
class TargetFigures:
    """What one file did on one target.

    Attributes:
        detail: What sets these figures apart where one target gave several, e.g. `threads 4`.
        score: In the run's metric: a share, or an error.
        drop: What it lost of the best teacher's score on the same samples; negative is a gain.
        p50: Median latency in s, where the number of samples supports one, as for `p90` and `p99`; or the one estimate.
        load: Time to load in s, the largest of the few that are taken, as the gate has it; so is `first_inference`.
        arena: In bytes, as are `peak_memory`, `sram`, `dram` and `flash`.
        energy: Of one inference, in J, as far as the target tells it.
        npu: Share of operators that an accelerator takes.
    """

    target: str
    detail: str = ""
    score: Figure | None = None
    drop: Figure | None = None
    p50: Figure | None = None
    p90: Figure | None = None
    p99: Figure | None = None
    latency_samples: int = 0
    load: Figure | None = None
    first_inference: Figure | None = None
    arena: Figure | None = None
    peak_memory: Figure | None = None
    sram: Figure | None = None
    dram: Figure | None = None
    flash: Figure | None = None
    energy: Figure | None = None
    npu: Figure | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model file of the comparison that terminal and page show.

    Attributes:
        model: Its name; of controls of several seeds, which are one row, their name without the seed.
        size: In bytes, as is `compressed` (after gzip -9).
        metric: What `score` is: the one that the run is about.
        score: On the target with the most samples; the mean where there are several seeds.
        drop: What it lost of the teacher's score there (0.01 is one point of a share).
        seeds: How many networks the row stands for.
    """

    model: str
    sha256: str
    role: Role
    format: Format
    precision: str
    size: int | None = None
    compressed: int | None = None
    parameters: int | None = None
    metric: str = "accuracy"
    score: Figure | None = None
    drop: Figure | None = None
    targets: tuple[TargetFigures, ...] = ()
    seeds: int = 1


def summary_rows(run: Run) -> tuple[Row, ...]:
    """Put every model file of a run beside the others: teachers first, then as the run made them.

    What does not ship is left out: the student's other seeds, and what it gives with a file's rounding in torch.
    Controls of several seeds are one row.

    Returns:
        One row a file, also for files that only measurements know of.

    >>> from pathlib import Path
    >>> summary_rows(Run(name="empty", folder=Path(), recipe=""))
    ()
    """
    measurements = joined(each for each in run.measurements if each.role not in _APART)
    metric = primary_metric(measurements)
    teachers = [each for each in measurements if each.role == "teacher" and each.metric == metric and each.samples]
    rows = [
        Row(
            model=model.name,
            sha256=model.sha256,
            role=model.role,
            format=model.format,
            precision=model.precision,
            size=model.size_bytes or None,  # a teacher that a function builds has no file
            parameters=model.parameters,
            metric=metric,
        )
        for model in run.models
        if model.role not in _APART
    ]
    known = {(row.role, row.sha256) for row in rows}
    for each in measurements:
        if (each.role, each.model_sha256) not in known:
            known.add((each.role, each.model_sha256))
            rows.append(
                Row(
                    model=each.model,
                    sha256=each.model_sha256,
                    role=each.role,
                    format=each.format,
                    precision=each.precision,
                    metric=metric,
                )
            )
    filled = [
        _filled(row, [each for each in measurements if _is_of(each, row)], [] if row.role == "teacher" else teachers)
        for row in rows
    ]
    others = [row for row in filled if row.role != "control"]
    controls = [row for row in filled if row.role == "control"]
    return tuple(sorted((*others, *_one_row(controls)), key=lambda row: _ORDER.index(row.role)))


_APART = ("repeat", "simulated")
_ORDER = ("teacher", "assistant", "control", "student")


def _is_of(measurement: Measurement, row: Row) -> bool:
    return (measurement.role, measurement.model_sha256) == (row.role, row.sha256)


def _one_row(controls: Sequence[Row]) -> list[Row]:
    """Make one row of the controls of several seeds: their mean, whose interval the section on the gain has."""
    if len(controls) < 2:
        return list(controls)
    first = controls[0]
    score, drop = _mean([row.score for row in controls]), _mean([row.drop for row in controls])
    where = next((each.target for row in controls for each in row.targets if each.score), None)
    return [
        replace(
            first,
            model=group_of(first.model),
            seeds=len(controls),
            score=score,
            drop=drop,
            targets=(TargetFigures(target=where, score=score, drop=drop),) if where else (),
        )
    ]


def _mean(figures: Sequence[Figure | None]) -> Figure | None:
    there = [each for each in figures if each]
    if not there:
        return None
    return Figure(value=fmean(each.value for each in there), samples=there[0].samples, basis=there[0].basis)


def _filled(row: Row, measurements: Sequence[Measurement], teachers: Sequence[Measurement]) -> Row:
    facts = {each.metric: int(max(each.samples)) for each in measurements if each.unit == "B" and each.samples}
    shown = (row.metric, *_BY_TARGET)
    targets: list[TargetFigures] = []
    for target in dict.fromkeys(each.target for each in measurements):
        here = [each for each in measurements if each.target == target and each.metric in shown and each.samples]
        targets += _on_target(target, row.metric, here, teachers)
    with_score = [each for each in targets if each.score]
    best = max(with_score, key=lambda each: each.score.samples if each.score else 0, default=None)
    return replace(
        row,
        size=row.size if row.size is not None else facts.get("file_size"),
        compressed=facts.get("compressed_size"),
        score=best.score if best else None,
        drop=best.drop if best else None,
        targets=tuple(targets),
    )


_ESTIMATES = ("sram_size", "dram_size", "flash_size", "npu_share")
_BY_TARGET = (
    *("latency", "window_latency", "load_time", "first_inference", "energy", "arena_size", "peak_memory"),
    *_ESTIMATES,
)


def _on_target(
    target: str, metric: str, measurements: Sequence[Measurement], teachers: Sequence[Measurement]
) -> list[TargetFigures]:
    by_metric = {name: [each for each in measurements if each.metric == name] for name in (metric, *_BY_TARGET)}
    lines = []
    for line in range(max(map(len, by_metric.values()))):
        # A metric measured under one set of conditions only stands on the first line.
        picked = {name: found[line] for name, found in by_metric.items() if line < len(found)}
        sums = {name: summarise(each) for name, each in picked.items()}
        latency = sums["latency"].quantiles if "latency" in sums else {}
        estimate = sums["latency"].figure if "latency" in sums else None
        lines.append(
            TargetFigures(
                target=target,
                detail=_detail(picked.get("latency"), by_metric["latency"]),
                score=_figure(sums.get(metric)),
                drop=drop_against(picked[metric], teachers) if metric in picked else None,
                p50=latency.get("p50", estimate),
                p90=latency.get("p90"),
                p99=latency.get("p99"),
                latency_samples=sums["latency"].samples if "latency" in sums else 0,
                load=_largest(sums.get("load_time")),
                first_inference=_largest(sums.get("first_inference")),
                energy=_figure(sums.get("energy")),
                arena=_figure(sums.get("arena_size")),
                peak_memory=_figure(sums.get("peak_memory")),
                sram=_figure(sums.get("sram_size")),
                dram=_figure(sums.get("dram_size")),
                flash=_figure(sums.get("flash_size")),
                npu=_figure(sums.get("npu_share")),
            )
        )
    return lines


def _figure(summary: Summary | None) -> Figure | None:
    return summary.figure if summary else None


def _largest(summary: Summary | None) -> Figure | None:
    if summary is None or summary.maximum is None:
        return None
    return Figure(
        value=summary.maximum, samples=summary.samples, basis=summary.basis, tainted=summary.conditions.tainted
    )


def _detail(mine: Measurement | None, all_of_them: Sequence[Measurement]) -> str:
    if mine is None:
        return ""
    if len(all_of_them) < 2:
        return (mine.conditions.delegate or "") if mine.basis == "estimated" else ""
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
    """What a student lost of the score of the best teacher measured on the same samples; negative is a gain.

    A teacher on the student's own target comes before one elsewhere; scores over different numbers of
    samples are of different data and give none.
    """
    same = [each for each in teachers if len(each.samples) == len(student.samples)]
    near = [each for each in same if each.target == student.target] or same
    return drop_between(max(near, key=oriented), student) if near else None
