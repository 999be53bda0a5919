"""The first screen: which checks stand where, and where their bars put them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.records import Budget, Check, Release, Run, Status, Waiver
from edgekd.stages.report import report
from edgekd.stages.report.budgets import SHOWN, bar_of, board_of

CHECK = Check(
    budget=Budget(metric="latency", statistic="p90", limit="10 ms"),
    model="m.onnx",
    target="pi",
    unit="s",
    limit=0.010,
    observed=0.012,
    low=0.011,
    high=0.013,
    status="fail",
    reason="it is too slow",
)
ORDER = ("fail", "unmeasured", "inconclusive")


def of(*statuses: Status) -> Release:
    return Release(model_sha256s=(), checks=tuple(replace(CHECK, status=each) for each in statuses))


def test_what_holds_it_back_comes_first() -> None:
    board = board_of(of("pass", "inconclusive", "fail", "pass", "unmeasured", "fail"))
    assert [line.check.status for line in board.first] == ["fail", "fail", "unmeasured", "inconclusive"]
    assert len(board.passed) == 2
    assert board.counts == (("fail", 2), ("unmeasured", 1), ("inconclusive", 1), ("pass", 2))


@given(st.lists(st.sampled_from(["pass", "inconclusive", "fail", "unmeasured"]), max_size=60))
def test_no_check_is_lost_or_shown_twice(statuses: list[Status]) -> None:
    board = board_of(of(*statuses))
    shown = [line.check.status for line in (*board.first, *board.more, *board.waived, *board.passed)]
    assert sorted(shown) == sorted(statuses)
    assert len(board.first) <= SHOWN
    held = [each for each in shown if each != "pass"]
    assert held == sorted(held, key=ORDER.index)


def test_of_a_release_the_budgets_with_the_least_room_are_shown() -> None:
    checks = tuple(
        replace(CHECK, status="pass", observed=value, low=value, high=value) for value in (i * 1e-4 for i in range(40))
    )
    board = board_of(Release(model_sha256s=(), checks=checks))
    rooms = [CHECK.limit - (line.check.observed or 0.0) for line in board.first]
    assert all(one <= other for one, other in pairwise(rooms))
    assert max(rooms) < min(CHECK.limit - (line.check.observed or 0.0) for line in board.passed)


def test_a_waiver_is_shown_apart_with_owner_and_day(tmp_path: Path) -> None:
    waiver = Waiver(metric="latency", owner="Ada", reason="new board in May", expires="2027-05-31")
    release = Release(model_sha256s=(), checks=(replace(CHECK, waiver=waiver), replace(CHECK, status="pass")))
    board = board_of(release)
    assert [line.check.status for line in board.first] == ["pass"]
    assert len(board.waived) == 1
    made = report(Run(name="r", folder=tmp_path, recipe="", release=release), folder=tmp_path)
    assert "Waived until 2027-05-31 by Ada: new board in May" in made.html_path.read_text(encoding="utf-8")


@given(
    limit=st.floats(1e-9, 1e9),
    observed=st.floats(1e-9, 1e9),
    spread=st.tuples(st.floats(0, 0.9), st.floats(0, 10)),
    metric=st.sampled_from(["latency", "accuracy", "accuracy_drop", "file_size"]),
)
def test_bars_keep_the_order_of_numbers(
    limit: float, observed: float, spread: tuple[float, float], metric: str
) -> None:
    low, high = observed * (1 - spread[0]), observed * (1 + spread[1])
    check = replace(
        CHECK, budget=Budget(metric=metric, limit="1 %"), limit=limit, observed=observed, low=low, high=high
    )
    bar = bar_of(check)
    assert bar is not None
    assert 0 <= bar.low <= bar.observed <= bar.high <= 100
    assert 0 <= bar.limit <= 100
    if observed > limit:
        assert bar.observed >= bar.limit
    assert bar.at_most == (metric != "accuracy")
    assert bar.kept_start <= bar.limit <= bar.kept_start + bar.kept_width + 0.01


@pytest.mark.parametrize("metric", ["latency", "accuracy"])
def test_nothing_observed_has_no_bar(metric: str) -> None:
    assert bar_of(replace(CHECK, budget=Budget(metric=metric, limit="1"), observed=None, low=None, high=None)) is None


def test_why_stands_beside_what_is_not_met(fleet: Callable[..., Run], tmp_path: Path) -> None:
    run = fleet(factor=1.3)
    html = report(run, folder=tmp_path).html_path.read_text(encoding="utf-8")
    items = [each.partition("</li>")[0] for each in html.split('<li class="check">')[1:]]
    assert run.release is not None
    assert len(items) == len(run.release.checks)
    for item in items:
        assert ('<p class="why">' in item) == ('class="status pass"' not in item)
