"""The page in a browser: what people see first, at any width, with a keyboard, with a screen reader, on paper."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekd.records import Run
from edgekd.stages.report import report

Make = Callable[..., Run]
Barriers = Callable[[Any], list[str]]
WIDTHS = (390, 820, 1280)
# Slowed by this factor some files break their budgets, and some can't be told.
SLOW = 1.3


def open_all(page: Any) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")


@pytest.mark.parametrize(
    ("factor", "dark"),
    [
        pytest.param(1.0, False, id="passing-light"),
        pytest.param(SLOW, True, id="failing-dark"),
        pytest.param(1.0, True, id="passing-dark", marks=pytest.mark.slow),
        pytest.param(SLOW, False, id="failing-light", marks=pytest.mark.slow),
    ],
)
def test_axe_finds_nothing_serious(
    factor: float, dark: bool, fleet: Make, open_tab: Callable[..., Any], find_barriers: Barriers
) -> None:
    run = fleet(files=2, samples=60, factor=factor, waived=factor != 1.0)
    assert run.release is not None
    assert run.release.status == ("pass" if factor == 1.0 else "fail")
    page = open_tab(run, dark=dark).page
    open_all(page)
    assert find_barriers(page) == []


@pytest.mark.slow
def test_axe_finds_nothing_serious_in_what_distilling_left(
    distilled: Make, open_tab: Callable[..., Any], find_barriers: Barriers
) -> None:
    assert find_barriers(open_tab(distilled()).page) == []


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_serious_in_a_big_run(
    dark: bool, fleet: Make, open_tab: Callable[..., Any], find_barriers: Barriers
) -> None:
    tab = open_tab(fleet(files=20, targets=5, factor=SLOW), dark=dark)
    open_all(tab.page)
    assert find_barriers(tab.page) == []


def test_the_page_never_scrolls_sideways(fleet: Make, open_tab: Callable[..., Any]) -> None:
    page = open_tab(fleet(files=20, targets=5, samples=30, factor=SLOW)).page
    for width in (*WIDTHS, *WIDTHS):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("[document.scrollingElement.scrollWidth, innerWidth]") == [width, width]
        if width == WIDTHS[-1]:
            open_all(page)
    # What is wider than its place scrolls by itself, with the keyboard too.
    unreachable = (
        "[...document.querySelectorAll('*')]"
        ".filter((each) => ['auto', 'scroll'].includes(getComputedStyle(each).overflowX))"
        ".filter((each) => each.scrollWidth > each.clientWidth && each.tabIndex < 0)"
        ".map((each) => each.outerHTML.slice(0, 80))"
    )
    assert page.evaluate(unreachable) == []


@pytest.mark.parametrize("width", [390, 1280])
def test_the_first_screen_says_what_holds_the_release_back(
    width: int, fleet: Make, open_tab: Callable[..., Any]
) -> None:
    run = fleet(files=4, targets=5, factor=SLOW)
    page = open_tab(run, width=width).page
    first = page.evaluate(
        "[...document.querySelectorAll('.verdict, .check')].filter((each) => each.checkVisibility()"
        " && each.getBoundingClientRect().bottom < innerHeight).map((each) => each.innerText.trim())"
    )
    assert first[0].startswith("Fail")
    assert "Next:" in first[0]
    assert len(first) > 3
    assert run.release is not None
    failed = [each for each in run.release.checks if each.status == "fail"]
    for text, check in zip(first[1:], failed, strict=False):
        assert text.startswith("Fail")
        assert check.model in text
        assert check.reason in text  # why, beside it
    passes = sum(each.status == "pass" for each in run.release.checks)
    assert page.get_by_text(f"{passes} checks hold", exact=True).is_visible()
    assert page.locator(".check:visible").count() == 12


def test_nothing_is_asked_of_a_network_and_no_policy_broken(fleet: Make, open_tab: Callable[..., Any]) -> None:
    tab = open_tab(fleet())
    tab.page.hover("#chart-frontier path[aria-roledescription='point']")
    tab.page.wait_for_selector("#vg-tooltip-element.visible")
    assert [url for url in tab.asked if not url.startswith("file:")] == []
    assert len(tab.asked) == 1
    assert tab.complaints == []
    policy = tab.page.get_attribute("meta[http-equiv='Content-Security-Policy']", "content")
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    # It holds: what is no part of the page does not run.
    tab.page.evaluate(
        "() => { const script = document.createElement('script'); script.textContent = 'window.ran = 1';"
        " document.body.append(script) }"
    )
    assert tab.page.evaluate("window.ran") is None


def test_everything_is_reached_with_the_keyboard(fleet: Make, open_tab: Callable[..., Any]) -> None:
    page = open_tab(fleet(files=2, samples=60, factor=SLOW)).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("document.activeElement.getBoundingClientRect().top") >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    reached = set()
    for _ in range(200):
        page.keyboard.press("Tab")
        state = page.evaluate(
            "(() => { const it = document.activeElement, style = getComputedStyle(it);"
            " return [it.tagName.toLowerCase(), it.id, style.outlineStyle, parseFloat(style.outlineWidth)] })()"
        )
        if state[0] == "body":
            break
        reached.add(tuple(state[:2]))
        assert state[2] != "none", state
        assert state[3] >= 1, state
    wanted = page.evaluate(
        "[...document.querySelectorAll('main select, main summary, main [tabindex=\"0\"]')]"
        ".filter((each) => each.checkVisibility()).map((each) => [each.tagName.toLowerCase(), each.id])"
    )
    assert {tuple(each) for each in wanted} <= reached


def test_landmarks_and_headings_are_in_order(fleet: Make, distilled: Make, open_tab: Callable[..., Any]) -> None:
    for run in (fleet(), distilled()):
        page = open_tab(run).page
        assert page.locator("header, nav, main").count() == 3
        levels = page.evaluate(
            "[...document.querySelectorAll('h1, h2, h3, h4')].map((each) => Number(each.tagName[1]))"
        )
        assert levels[0] == 1
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
        for row in page.locator("nav a").all():
            target = row.get_attribute("href")
            assert target is not None
            assert page.locator(target).count() == 1
        assert page.locator("table:not(:has(caption))").count() == 0
        assert page.locator("th:not([scope])").count() == 0


def test_on_paper_nothing_is_folded(fleet: Make, open_tab: Callable[..., Any]) -> None:
    run = fleet(factor=SLOW)
    page = open_tab(run).page
    shown = (
        "[...document.querySelectorAll('details .check, details table')]"
        ".filter((each) => each.checkVisibility()).length"
    )
    there = page.locator("details .check, details table").count()
    assert page.evaluate(shown) < there
    page.emulate_media(media="print")
    assert page.evaluate(shown) == there
    assert page.locator("nav, select").filter(visible=True).count() == 0
    page.emulate_media(media="screen")
    pages = page.pdf(format="A4", landscape=True).count(b"/Type /Page\n")
    assert pages > 3
    assert page.evaluate(shown) < there, "folded again after printing"


@pytest.mark.slow
def test_twenty_files_on_five_targets_stay_below_three_megabytes(fleet: Make, tmp_path: Path) -> None:
    made = report(fleet(files=20, targets=5, samples=10_000, factor=SLOW), folder=tmp_path)
    assert made.html_path.stat().st_size < 3_000_000
    assert made.json_path.stat().st_size < 3_000_000
