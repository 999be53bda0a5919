"""The report as Markdown, as a real parser of tables reads it, and its limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from edgekd.records import Manifest, ManifestStep, Run
from edgekd.stages.report import markdown
from tests.announcers.verdicts import EVIL

Make = Callable[..., Run]
GFM = MarkdownIt("gfm-like", {"linkify": False, "html": True})


def rows(text: str) -> dict[str, list[list[str]]]:
    """Rows of each table below the heading above it, as readers see them."""
    found: dict[str, list[list[str]]] = {}
    heading, in_heading = "", False
    for token in GFM.parse(text):
        in_heading = token.type == "heading_open" or (in_heading and token.type != "heading_close")
        seen = "".join(each.content for each in token.children or [] if each.type != "html_inline")
        if in_heading and token.type == "inline":
            heading = seen
        elif token.type == "tr_open":
            found.setdefault(heading, []).append([])
        elif token.type == "inline" and token.level >= 4 and heading in found:
            found[heading][-1].append(seen)
    return {name: lines[1:] for name, lines in found.items()}


def lines(text: str) -> list[str]:
    tokens = GFM.parse(text)
    return [
        "".join(each.content for each in token.children or [] if each.type != "html_inline")
        for token in tokens
        if token.type == "inline" and token.level == 3
    ]


def test_it_has_files_latencies_classes_and_waivers(fleet: Make) -> None:
    found = rows(markdown(fleet(factor=1.3, waived=True), limit_bytes=65_536))
    assert set(found) == {"Files", "Latency", "Worst classes", "Waivers"}
    assert len(found["Files"]) == len(found["Latency"]) == len(found["Worst classes"]) == 8
    assert found["Files"][0][:3] == ["student-0.fp32.tflite", "target-0", "90.0 kB"]
    assert found["Latency"][0][2].endswith(" µs)")
    assert found["Worst classes"][-1][6]
    assert [row[0] for row in found["Waivers"]] == ["used", "not needed"]
    assert found["Waivers"][0][1:4] == ["latency p90, on *-0", "ada", "cold board"]


def test_the_verdict_and_its_next_step_come_first(distilled: Make) -> None:
    text = markdown(distilled(), limit_bytes=65_536)
    assert text.startswith("## cifar10-resnet8\n\nNo budgets were checked")
    assert "**Next:** write budgets into the recipe" in text
    assert any(each.startswith("Distilling gained 1.40 pt") for each in lines(text))


def test_provenance_has_hashes_of_data_teachers_and_files_and_the_tools_of_steps(fleet: Make) -> None:
    run = fleet(files=1)
    manifest = Manifest(
        edgekd_manifest=2,
        recipe="",
        overrides=(),
        data="d" * 64,
        teachers={"teacher-0": "e" * 64},
        environment={},
        steps={
            "export": ManifestStep(fingerprint="", tools={"onnx": "1.20"}),
            "gate": ManifestStep(fingerprint="", tools={}),
        },
        findings=(),
        layers="",
        corrections="",
        files={},
    )
    text = lines(markdown(replace(run, manifest=manifest), limit_bytes=65_536))
    assert f"data sha256 {'d' * 64}" in text
    assert f"teacher teacher-0 sha256 {'e' * 64}" in text
    assert f"student-0.fp32.tflite sha256 {run.models[0].sha256}" in text
    assert "export: onnx 1.20" in text
    assert not any(each.startswith("gate") for each in text)


@pytest.mark.parametrize("name", EVIL)
def test_names_stay_names(name: str, fleet: Make) -> None:
    run = fleet(files=1, targets=1)
    parts = tuple(name for _ in range(10))
    run = replace(
        run,
        name=name,
        models=tuple(replace(each, name=name) for each in run.models),
        measurements=tuple(
            replace(each, model=name, target=name, parts=parts if each.parts else ()) for each in run.measurements
        ),
        release=None,
    )
    text = markdown(run, limit_bytes=65_536)
    tokens = [each for token in GFM.parse(text) for each in (token, *(token.children or []))]
    assert {each.content for each in tokens if each.type[:4] == "html"} == {"<code>", "</code>"}
    assert not {"link_open", "image", "code_inline", "s_open", "em_open", "fence", "hr"} & {
        each.type for each in tokens
    }
    seen = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in name)
    assert {row[0] for row in rows(text)["Files"]} == {seen}


@pytest.mark.parametrize("limit", [3_000, 20_000])
def test_what_is_too_long_loses_rows_and_says_how_many(limit: int, fleet: Make) -> None:
    run = fleet(files=20, targets=5, samples=30)
    text = markdown(run, limit_bytes=limit)
    assert len(text.encode()) <= limit
    kept = len(rows(text)["Files"])
    assert 0 < kept < 100
    assert f"{100 - kept} more are left out here" in text


def test_a_run_of_nothing_is_a_verdict_alone() -> None:
    assert "###" not in markdown(Run(name="r", folder=Path(), recipe=""), limit_bytes=1000)
