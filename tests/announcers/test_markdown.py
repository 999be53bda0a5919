"""Markdown as a real parser of tables reads it, and its limits."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt

from edgekd.announcers.markdown import write
from edgekd.records import Change, Status
from tests.announcers.verdicts import EVIL, EVIL_RELEASE, MIXED, SIZE, check, release_of, run_of

# As GitHub's: tables, links from bare addresses, raw HTML.
GFM = MarkdownIt("gfm-like", {"linkify": False, "html": True})
OUR_TAGS = {"code", "/code", "!-- edgekd gate --"}


def cells(text: str) -> list[list[str]]:
    """Rows of the only table, as readers see them."""
    rows: list[list[str]] = []
    for token in GFM.parse(text):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows and token.level >= 4:
            rows[-1].append("".join(each.content for each in token.children or [] if each.type != "html_inline"))
    return rows[1:]


def tags(text: str) -> set[str]:
    """All raw HTML in it."""
    raw = [
        each.content
        for token in GFM.parse(text)
        for each in (token, *(token.children or []))
        if each.type[:4] == "html"
    ]
    return {each.strip("<>\n") for each in raw}


def markup(text: str) -> set[str]:
    """Kinds of inline markup in it."""
    found = {each.type for token in GFM.parse(text) for each in token.children or []}
    return found - {"text", "text_special", "html_inline", "strong_open", "strong_close"}


def test_it_says_the_verdict_the_next_step_and_all_checks_worst_first() -> None:
    text = write(release=MIXED, run=run_of())
    assert "## edgekd gate: ❌ fail\n" in text
    assert "2 of 5 checks failed, first accuracy drop at most 1 pt for student.fp32.onnx on host" in text
    assert "**Next:** see in the report whether training had ended; then more epochs" in text
    rows = cells(text)
    assert [row[0].split()[-1] for row in rows] == ["fail", "fail", "unmeasured", "inconclusive", "pass"]
    assert rows[3] == [
        "⚠️ inconclusive",
        "latency p90",
        "student.fp32.onnx",
        "pi",
        "9.5 ms",
        "8.55 ms to 10.5 ms",
        "≤ 10 ms",
    ]
    assert rows[4] == ["✅ pass", "file_size", "student.fp32.onnx", "file", "98.5 kB", "", "≤ 100 kB"]
    *_, unmeasured, inconclusive = re.findall(r"^- (.*)", text, re.MULTILINE)
    assert unmeasured == "❔ unmeasured parity at least 99 %: no parity of a student onnx file"
    assert inconclusive.startswith(
        "⚠️ inconclusive latency p90 at most 10 ms <code>student.fp32.onnx</code> on pi: about"
    )


def test_a_pass_has_no_reasons_and_no_next_step() -> None:
    text = write(release=release_of(check("pass")), run=run_of())
    assert "✅ pass" in text
    assert "Next:" not in text
    assert "\n- " not in text


def test_no_budgets_is_said() -> None:
    text = write(release=release_of(), run=run_of())
    assert "❔ unmeasured" in text
    assert "There are no budgets, so nothing is proven." in text


@pytest.mark.parametrize("name", EVIL)
def test_names_stay_names(name: str) -> None:
    text = write(release=release_of(check("fail", SIZE, name, name, f"it is {name}")), run=run_of())
    seen = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in name)
    (row,) = cells(text)
    assert row[2] == seen
    assert row[3].replace("\u200b", "") == seen
    assert tags(text) == OUR_TAGS
    assert markup(text) <= {"softbreak"}


def test_nobody_is_called_and_nothing_becomes_a_link() -> None:
    text = write(release=EVIL_RELEASE, run=run_of(*EVIL))
    outside = re.sub(r"<code>.*?</code>", "", text)
    assert "@octocat" not in outside
    assert "http://" not in text
    assert "www." not in text


@pytest.mark.parametrize("limit", [2_000, 65_536])
def test_what_is_too_long_loses_passes_before_failures(limit: int) -> None:
    statuses: tuple[Status, ...] = ("pass",) * 9 + ("fail",)
    release = release_of(*(check(statuses[i % 10], model=f"student-{i}.onnx") for i in range(20_000)))
    text = write(release=release, run=run_of(), limit_bytes=limit)
    assert 0.9 * limit < len(text.encode()) <= limit
    rows = cells(text)
    left = 20_000 - len(rows)
    failed = sum(row[0].endswith("fail") for row in rows)
    assert failed == min(2_000, len(rows))
    which = f"{2_000 - failed} of them did not pass" if failed < 2_000 else "all of them pass"
    assert f"{left} more checks are left out here, because the text would be too long; {which}.\n" in text


def test_what_fits_loses_nothing() -> None:
    assert "left out" not in write(release=MIXED, run=run_of())


def test_a_name_of_a_megabyte_is_cut() -> None:
    text = write(release=release_of(check("fail", model="x" * 1_000_000, reason="y" * 1_000_000)), run=run_of())
    assert len(text.encode()) < 5_000
    assert len(cells(text)) == 1


def test_what_changed_since_the_last_release_is_listed_and_means_nothing_else() -> None:
    changes = (Change(what="recipe: name", before="@me <b>", after="[x](http://a.b)"),)
    text = write(release=replace(MIXED, baseline="v1 (main)", changes=changes), run=run_of())
    assert "\nChanged since <code>v1 \\(main\\)</code>:\n\n- recipe\\: name: " in text
    assert tags(text) == OUR_TAGS
    assert markup(text) == set()
    assert "Nothing is known to have changed since" in write(release=replace(MIXED, baseline="v1"), run=run_of())
    many = replace(MIXED, baseline="v1", changes=changes * 100)
    assert write(release=many, run=run_of()).count("recipe\\: name") == 20
    assert "- and 80 more" in write(release=many, run=run_of())
    assert len(write(release=many, run=run_of(), limit_bytes=8000).encode()) <= 8000
