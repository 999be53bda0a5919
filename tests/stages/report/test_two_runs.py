"""The page of two runs: as text, in a browser at three widths, in light and dark, with axe-core."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgekd.records import Change, Run
from edgekd.stages.report import ComparedRuns, compare_runs

Make = Callable[..., Run]
CHANGES = (Change(what="recipe: distill.epochs", before="60", after="3"),)
BAD = "</style><img src=x onerror=alert(1)>"


@pytest.fixture
def compared(fleet: Make, tmp_path: Path) -> ComparedRuns:
    """A run that is slower and a little smaller than the one before."""
    after = fleet(files=3, factor=1.3)
    smaller = tuple(
        replace(each, samples=(each.samples[0] - 10,)) if each.metric == "file_size" else each
        for each in after.measurements
    )
    after = replace(after, name="after", measurements=smaller)
    return compare_runs(fleet(files=3), after, changes=CHANGES, folder=tmp_path)


def test_the_first_screen_says_what_is_better_and_what_only_seems_worse(
    compared: ComparedRuns, open_tab: Callable[..., Any]
) -> None:
    tab = open_tab(compared.html_path)
    shown = tab.page.inner_text("#main > section:first-child")
    assert "Something got better, nothing is known to be worse" in shown
    assert "edgekd compare A B runs two files in turns" in shown
    first = tab.page.locator(".check").first.inner_text()
    assert "file size" in first
    assert "Better" in first
    assert tab.page.locator("ul[aria-label='Seems worse'] .check:visible").count() == 12
    assert tab.asked == [compared.html_path.as_uri()]
    assert tab.complaints == []
    assert "recipe: distill.epochs" in tab.page.inner_text("section[aria-labelledby=two_changes]")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_serious_and_no_width_scrolls_sideways(
    dark: bool, compared: ComparedRuns, open_tab: Callable[..., Any], find_barriers: Callable[[Any], list[str]]
) -> None:
    page = open_tab(compared.html_path, dark=dark).page
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
    assert find_barriers(page) == []
    for width in (390, 820, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("[document.scrollingElement.scrollWidth, innerWidth]") == [width, width]


def test_json_holds_what_the_page_says(compared: ComparedRuns) -> None:
    content = json.loads(compared.json_path.read_text())
    assert content["edgekd_comparison"] == 1
    assert content["counts"]["better"] == 3
    assert content["answer"] == compared.answer
    assert content["changes"] == [{"what": "recipe: distill.epochs", "before": "60", "after": "3"}]
    found = [each["outcome"] for pair in content["pairs"] for each in pair["differences"]]
    assert {outcome: found.count(outcome) for outcome in content["counts"]} == content["counts"]


def test_hostile_names_stay_text(fleet: Make, tmp_path: Path) -> None:
    run = fleet(files=1)
    named = replace(
        run,
        name=BAD,
        models=tuple(replace(each, name=BAD) for each in run.models),
        measurements=tuple(replace(each, model=BAD, target=BAD + each.target) for each in run.measurements),
    )
    made = compare_runs(named, named, changes=(Change(what=BAD, before=BAD, after=BAD),), folder=tmp_path)
    html = made.html_path.read_text(encoding="utf-8")
    assert "<img src=x" not in html
    assert html.count("&lt;img src=x") > 10
    assert html.count("</style>") == 1


def test_a_big_run_against_itself_takes_little_room(fleet: Make, tmp_path: Path) -> None:
    run = fleet(files=20, targets=5, samples=60)
    made = compare_runs(run, run, folder=tmp_path)
    assert made.html_path.stat().st_size < 1_500_000
    assert made.differences.counts["worse"] == made.differences.counts["better"] == 0
