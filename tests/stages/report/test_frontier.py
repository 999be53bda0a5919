"""Files by any two metrics: which are unbeaten, and what a reader who picks sees."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.records import Format, Run
from edgekd.stages.report.comparison import Row, TargetFigures, summary_rows
from edgekd.stages.report.frontier import Frontier, frontier_of
from edgekd.stages.report.summary import Figure
from edgekd.units import human

Make = Callable[..., Run]


def row(index: int, score: float, p50_s: float, size: int) -> Row:
    figures = TargetFigures(
        target="pi", score=Figure(value=score), p50=Figure(value=p50_s), p90=Figure(value=2 * p50_s)
    )
    return Row(
        model=f"m{index}",
        sha256=str(index),
        role="student",
        format="onnx",
        precision="fp32",
        size=size,
        score=figures.score,
        targets=(figures,),
    )


def random_rows(count: int, seed: int) -> list[Row]:
    generator = np.random.default_rng(seed)
    # Few values, so that files are equal in one metric or in both.
    return [
        row(i, float(generator.integers(1, 5)) / 5, float(generator.integers(1, 5)) * 1e-3, 1000) for i in range(count)
    ]


def made(rows: list[Row]) -> Frontier:
    found = frontier_of(rows)
    assert found is not None
    return found


@pytest.mark.parametrize("seed", range(20))
def test_the_frontier_is_what_no_file_dominates(seed: int) -> None:
    rows = random_rows(12, seed)
    frontier = made(rows)
    assert frontier.view == ("pi", "p50", "score")
    points = [(-line.score.value, line.p50.value) for each in rows for line in each.targets if line.score and line.p50]
    # By its definition (Pareto): no other is as good in both and better in one.
    dominated = {
        i
        for (i, mine), (_, other) in itertools.product(enumerate(points), repeat=2)
        if all(o <= m for o, m in zip(other, mine, strict=True)) and other != mine
    }
    assert {line.number - 1 for line in frontier.lines if not line.best} == dominated
    assert frontier.data["best"]["pi|p50|score"] == [line.number for line in frontier.lines if line.best]


def test_the_first_view_is_what_is_known_of_most() -> None:
    bare = replace(row(0, 0.9, 1e-3, 1000), targets=())
    assert made([bare, replace(bare, model="other", sha256="other")]).view == ("none", "size", "score")
    unscored = [replace(bare, score=None, compressed=900), replace(bare, sha256="b", score=None, compressed=800)]
    assert made(unscored).view[1:] == ("compressed", "size")
    assert frontier_of([replace(bare, score=None)]) is None
    # A teacher that ran nowhere is beside the others by its size and its score.
    frontier = made([replace(bare, role="teacher"), row(1, 0.8, 1e-3, 500)])
    assert [sorted(point.values) for point in frontier.points] == [["score", "size"], ["p50", "p90", "score", "size"]]


def test_budgets_are_lines_where_they_are_meant(fleet: Make) -> None:
    run = fleet()
    frontier = frontier_of(summary_rows(run), run.release)
    assert frontier is not None
    lines = {(each["axis"], each["target"], each["value"]) for each in frontier.data["limits"]}
    assert ("p90", 0, 150e-6) in lines
    assert ("p90", 1, 300e-6) in lines
    assert ("score", 0, 80.0) in lines
    assert not [each for each in lines if each[0] == "p99"]


def test_data_has_every_point_once_and_no_more(fleet: Make) -> None:
    formats: set[Format] = {"onnx", "tflite"}
    frontier = made(list(summary_rows(fleet(files=20, targets=5))))
    assert len(frontier.points) == len(frontier.data["points"]) == 100
    assert {each["format"] for each in frontier.data["files"]} == formats
    assert frontier.targets == tuple(f"target-{i}" for i in range(5))


# --- in a browser ------------------------------------------------------------------------------------


def table(page: Any) -> list[list[str]]:
    rows: list[list[str]] = page.evaluate(
        "[...document.querySelectorAll('#frontier-rows tr')]"
        ".map((row) => [...row.cells].map((each) => each.textContent))"
    )
    return rows


def test_a_reader_picks_target_and_metrics(fleet: Make, open_tab: Callable[..., Any]) -> None:
    run = fleet(files=6, targets=3)
    rows = summary_rows(run)
    tab = open_tab(run)
    page = tab.page
    marks = "#chart-frontier path[aria-roledescription='point']"
    assert page.locator(marks).count() == 6
    before = table(page)
    # What the server wrote and what the script writes is the same.
    page.select_option("#frontier-y", "size")
    page.select_option("#frontier-y", "score")
    page.wait_for_function("document.querySelector('#frontier-y-name').textContent === 'accuracy'")
    assert table(page) == before
    page.select_option("#frontier-target", "2")
    page.select_option("#frontier-x", "p90")
    page.select_option("#frontier-y", "peak_memory")
    page.wait_for_function("document.querySelector('#chart-frontier').ariaLabel.startsWith('peak memory')")
    expected = [
        [each.model, human(line.p90.value, "s"), human(line.peak_memory.value, "B")]
        for each in rows
        for line in each.targets
        if line.target == "target-2" and line.p90 and line.peak_memory
    ]
    assert [cells[1:4] for cells in table(page)] == expected
    assert page.locator("#frontier-where").text_content() == "target-2"
    words = page.get_attribute(marks, "aria-label")
    assert words.startswith("1, ")
    assert "latency p90" in words
    assert tab.complaints == []


def test_points_tell_their_numbers_to_the_keyboard(fleet: Make, open_tab: Callable[..., Any]) -> None:
    run = fleet(files=3, targets=1)
    page = open_tab(run).page
    page.focus("#frontier-y")
    page.keyboard.press("Tab")
    seen = []
    for _ in range(4):
        seen.append(page.locator("#frontier-point").text_content())
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") == seen[-1]
        page.keyboard.press("ArrowRight")
    assert len(set(seen[:3])) == 3
    assert seen[3] == seen[0]
    medians = {each.model: each.targets[0].p50 for each in summary_rows(run)}
    for name, p50 in medians.items():
        assert p50 is not None
        assert any(name in words and human(p50.value, "s") in words for words in seen)


def test_metrics_that_no_file_has_together_are_said_to_be(open_tab: Callable[..., Any], fleet: Make) -> None:
    run = fleet(files=2, targets=1)
    page = open_tab(run).page
    page.select_option("#frontier-x", "score")
    assert page.locator("#chart-frontier").text_content() == "Pick two metrics."
    assert table(page) == []
    page.select_option("#frontier-x", "size")
    page.wait_for_selector("#chart-frontier svg")


def test_without_a_script_the_table_is_there(browser: Any, fleet: Make, tmp_path: Path) -> None:
    from edgekd.stages.report import report

    made_here = report(fleet(files=2, targets=1), folder=tmp_path)
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(made_here.html_path.as_uri())
    assert page.locator("#frontier-rows tr").count() == 2
    assert not page.locator("#frontier-choices").is_visible()
    assert page.locator("noscript").count() == 1
    context.close()
