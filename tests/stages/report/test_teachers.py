"""Who taught whom, in order, with what was measured of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from edgekd.records import CacheFacts, Run
from edgekd.stages.report.comparison import summary_rows
from edgekd.stages.report.teachers import chain_of, density_of, lessons_of


def test_assistants_come_before_those_whom_they_taught(distilled: Callable[[], Run]) -> None:
    run = distilled()
    backwards = replace(run, teachings=dict(list(run.teachings.items())[::-1]))
    for each in (run, backwards):
        lessons = lessons_of(each, summary_rows(each))
        assert [(lesson.network, lesson.seeds) for lesson in lessons] == [("assistant-0", 1), ("student", 3)]
        assert chain_of(lessons) == ("teacher-0, teacher-1", "assistant-0", "student")


def test_lines_hold_scores_and_parameters(distilled: Callable[[], Run]) -> None:
    run = distilled()
    assistant, student = lessons_of(run, summary_rows(run))
    assert [(line.name, line.validation, line.parameters) for line in assistant.lines] == [
        ("teacher-0", 0.934, 852_618),
        ("teacher-1", 0.930, 466_906),
        (None, 0.941, None),
    ]
    assert assistant.lines[0].test is not None
    assert assistant.lines[0].test.value == pytest.approx(0.931)
    # One teacher needs no line for all of them.
    assert [line.name for line in student.lines] == ["assistant-0"]


def test_seeds_with_other_teachers_stand_for_themselves(distilled: Callable[[], Run]) -> None:
    run = distilled()
    other = replace(run.teachings["student-seed-2"], scores={"assistant-0": 0.5})
    lessons = lessons_of(replace(run, teachings={**run.teachings, "student-seed-2": other}), ())
    assert [(lesson.network, lesson.seeds) for lesson in lessons] == [
        ("assistant-0", 1),
        ("student", 2),
        ("student", 1),
    ]


def test_a_circle_of_teachers_ends(distilled: Callable[[], Run]) -> None:
    teaching = distilled().teachings["assistant-0"]
    circle = {"a": replace(teaching, scores={"b": 0.5}), "b": replace(teaching, scores={"a": 0.5})}
    assert [each.network for each in lessons_of(replace(distilled(), teachings=circle), ())] == ["a", "b"]


def test_bytes_per_view_and_sample() -> None:
    facts = CacheFacts(
        teacher="t",
        path="c",
        samples=1000,
        views=4,
        classes=10,
        kept=10,
        size_bytes=80_000,
        precision="float32",
        error=0.0,
    )
    assert density_of(facts) == 20
    assert density_of(replace(facts, samples=0)) == 80_000
