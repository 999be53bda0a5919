"""What the page says of waivers and of the last release, as the gate itself left them."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgekd.records import Budget, Change, Measurement, Release, Run, Waiver
from edgekd.stages.gate import gate
from edgekd.stages.report import report
from edgekd.stages.report.release import SinceLast, leave_of

NOW = datetime(2026, 11, 29, tzinfo=UTC)
BUDGETS = (
    Budget(metric="file_size", limit="90 kB"),
    Budget(metric="compressed_size", limit="60 kB"),
    Budget(metric="arena_size", limit="10 kB"),
    Budget(metric="accuracy", limit="50 %"),
)
WAIVERS = (
    Waiver(metric="accuracy", owner="ada", reason="no need", expires="2027-01-01"),
    Waiver(metric="file_size", owner="bob", reason="was allowed once", expires="2026-11-01"),
    Waiver(metric="compressed_size", owner="eve", reason="a little", expires="2027-01-01", limit="65 kB"),
    Waiver(metric="arena_size", owner="kim", reason="the new board has more", expires="2026-12-24", target="m*"),
)


def measured(metric: str, unit: str, *samples: float, target: str = "file") -> Measurement:
    known: dict[str, Any] = {"format": "tflite", "precision": "fp32", "role": "student"}
    return Measurement(
        model_sha256="5e1f", model="s.tflite", target=target, metric=metric, unit=unit, samples=samples, **known
    )


MEASURED = (
    measured("file_size", "B", 98_496.0),
    measured("compressed_size", "B", 70_000.0),
    measured("arena_size", "B", 12_000.0, target="m4"),
    measured("accuracy", "1", *(1.0,) * 90, *(0.0,) * 10, target="host"),
)


def judged(**more: Any) -> Release:
    return gate(MEASURED, budgets=BUDGETS, waivers=WAIVERS, now=NOW, **more)


def leave(release: Release) -> SinceLast:
    found = leave_of(release)
    assert found is not None
    return found


def test_each_waiver_is_used_expired_too_short_or_not_needed() -> None:
    found = leave(judged()).waivers
    assert [(each.waiver.owner, each.state) for each in found] == [
        ("kim", "used"),
        ("bob", "expired"),
        ("eve", "goes not so far"),
        ("ada", "not needed"),
    ]
    assert [check.budget.metric for check in found[0].checks] == ["arena_size"]
    assert (found[0].what, found[0].where) == ("arena_size", "on m*")
    assert found[1].where == "any file"


def test_the_state_is_told_where_changes_are_named_behind_it() -> None:
    release = judged()
    longer = tuple(replace(each, reason=f"{each.reason}; changed since: data a → b") for each in release.checks)
    assert [each.state for each in leave(replace(release, checks=longer)).waivers][1] == "expired"


def test_neither_waivers_nor_a_last_release_are_no_section(tmp_path: Path) -> None:
    release = gate(MEASURED, budgets=BUDGETS, now=NOW)
    assert leave_of(release) is None
    run = Run(name="r", folder=Path(), recipe="", measurements=MEASURED, release=release)
    assert 'id="release"' not in report(run, folder=tmp_path).html_path.read_text(encoding="utf-8")


def test_regressions_stand_beside_what_changed(tmp_path: Path) -> None:
    before = tuple(replace(each, samples=(90_000.0,)) for each in MEASURED[:1])
    budgets = (Budget(metric="file_size_increase", reference="baseline", limit="1 kB"),)
    release = replace(
        gate(MEASURED, budgets=budgets, baseline=before, now=NOW),
        baseline="v1 <b>",
        changes=(Change(what="recipe: distill.epochs", before="60", after="<3>"),),
    )
    assert [each.check.status for each in leave(release).worse] == ["fail"]
    run = Run(name="r", folder=Path(), recipe="", measurements=MEASURED, release=release)
    html = report(run, folder=tmp_path).html_path.read_text(encoding="utf-8")
    text = " ".join(re.sub(r"<[^>]*>", " ", re.sub(r"<wbr>", "", html)).split())
    assert "Changed since v1 &lt;b&gt;" in text
    assert "recipe: distill.epochs 60 &lt;3&gt;" in text
    assert "Files against v1" in text


def test_the_page_names_owner_reason_day_and_how_far(tmp_path: Path) -> None:
    run = Run(name="r", folder=Path(), recipe="", measurements=MEASURED, release=judged())
    html = report(run, folder=tmp_path).html_path.read_text(encoding="utf-8")
    text = " ".join(re.sub(r"<[^>]*>", " ", html).split())
    assert "Goes not so far compressed_size any file eve a little 2027-01-01 65 kB" in text
    assert "Used arena_size on m* kim the new board has more 2026-12-24 any distance s. tflite on m4" in text
