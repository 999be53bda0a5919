"""Who taught whom, how good the teachers are together, and what of them was kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgekd.records import CacheFacts, Run, Teaching
from edgekd.stages.report.comparison import Row
from edgekd.stages.report.seeds import groups_of
from edgekd.stages.report.summary import Figure


@dataclass(frozen=True, kw_only=True)
class TeacherLine:
    """One teacher, or all of them together.

    Attributes:
        name: `None` for all of them together.
        validation: Score on validation data.
        parameters: How many it has, where that is known.
        test: Score on test data, where it was measured.
    """

    name: str | None
    validation: float
    parameters: int | None = None
    test: Figure | None = None


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What one network, or all seeds of it, was taught by.

    Attributes:
        network: The one that was taught, without its seed.
        seeds: How many networks of that name were taught by the same.
    """

    network: str
    seeds: int
    teaching: Teaching
    lines: tuple[TeacherLine, ...]


def lessons_of(run: Run, rows: Sequence[Row]) -> tuple[Lesson, ...]:
    """Gather who taught whom, assistants before those whom they taught.

    >>> from pathlib import Path
    >>> lessons_of(Run(name="empty", folder=Path(), recipe=""), ())
    ()
    """
    known = {row.model: row for row in rows}
    found: list[Lesson] = []
    for network, names in groups_of(run.teachings).items():
        # Seeds are taught by the same teachers; where they are not, each stands for itself.
        distinct: list[tuple[Teaching, int]] = []
        for name in names:
            teaching = run.teachings[name]
            same = next((i for i, (each, _) in enumerate(distinct) if each == teaching), None)
            if same is None:
                distinct.append((teaching, 1))
            else:
                distinct[same] = (teaching, distinct[same][1] + 1)
        found += [
            Lesson(network=network, seeds=seeds, teaching=teaching, lines=_lines(teaching, known))
            for teaching, seeds in distinct
        ]
    return tuple(_steps(found))


def _lines(teaching: Teaching, known: dict[str, Row]) -> tuple[TeacherLine, ...]:
    lines = [
        TeacherLine(
            name=name,
            validation=score,
            parameters=known[name].parameters if name in known else None,
            test=known[name].score if name in known else None,
        )
        for name, score in teaching.scores.items()
    ]
    if len(lines) > 1:
        lines.append(TeacherLine(name=None, validation=teaching.ensemble_score))
    return tuple(lines)


def _steps(lessons: Sequence[Lesson]) -> list[Lesson]:
    """Order lessons so that who teaches was taught before."""
    left, ordered = list(lessons), []
    while left:
        taught_later = {each.network for each in left}
        ready = [each for each in left if not taught_later & set(each.teaching.scores)]
        # Networks that teach each other don't exist; if a file says so, its own order stands.
        ready = ready or left
        ordered += ready
        left = [each for each in left if not any(each is one for one in ready)]
    return ordered


def chain_of(lessons: Sequence[Lesson]) -> tuple[str, ...]:
    """Name the steps from the first teachers to the student; empty without assistants.

    >>> lesson = Lesson(network="student", seeds=1, lines=(),
    ...                 teaching=Teaching(metric="accuracy", combine="logits", scores={"teacher-0": 0.9},
    ...                                   ensemble_score=0.9, disagreement=0.0))
    >>> chain_of([lesson])
    ()
    """
    if len({each.network for each in lessons}) < 2:
        return ()
    steps = [", ".join(lessons[0].teaching.scores)]
    steps += list(dict.fromkeys(each.network for each in lessons))
    return tuple(steps)


def density_of(cache: CacheFacts) -> float:
    """Bytes per view and sample."""
    return cache.size_bytes / max(cache.views * cache.samples, 1)
