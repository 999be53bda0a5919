"""What the charts of classes draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from edgekd import stats
from edgekd.records import Run
from edgekd.stages.report.class_charts import CLASSES_SHOWN, class_charts
from edgekd.stages.report.classes import Classes, classes_of

Make = Callable[..., Run]


def classes(run: Run) -> Classes:
    found = classes_of(run)
    assert found is not None
    return found


def test_each_file_has_its_own_charts(fleet: Make) -> None:
    found = classes(fleet(files=3))
    charts = class_charts(found.files)
    assert [each.name for each in charts] == ["recall", "confusion", "reliability"]
    labels = [f"{each.model} on {each.target}" for each in found.files]
    assert all([label for label, _ in chart.options] == labels for chart in charts)


def test_cells_hold_every_sample_once(fleet: Make) -> None:
    found = classes(fleet(files=1))
    spec = class_charts(found.files)[1].options[0][1]
    assert sum(cell["n"] for cell in spec["data"]["values"]) == found.files[0].samples
    assert all(0 < cell["o"] <= 1 for cell in spec["data"]["values"])


def test_at_most_thirty_classes_are_drawn(fleet: Make) -> None:
    (file,) = classes(fleet(files=1)).files
    many = [each for number in range(9) for each in file.classes]
    renamed = tuple(replace(each, name=str(number)) for number, each in enumerate(many))
    chart = class_charts([replace(file, classes=renamed, names=tuple(map(str, range(90))), counts=())])[0]
    assert {row["c"] for row in chart.options[0][1]["data"]["values"]} == {str(each) for each in range(CLASSES_SHOWN)}
    assert f"The worst {CLASSES_SHOWN} classes are drawn" in chart.caption


def test_dots_of_the_reliability_diagram_are_the_bins(fleet: Make) -> None:
    (file,) = classes(fleet(files=1)).files
    values = class_charts([file])[2].options[0][1]["layer"][2]["data"]["values"]
    assert len(values) == stats.CALIBRATION_BINS
    assert sum(each["n"] for each in values) == file.samples
    assert all(each["l"] <= each["r"] <= each["h"] for each in values)


def test_a_choice_draws_another_file(fleet: Make, open_tab: Callable[..., Any]) -> None:
    tab = open_tab(fleet(files=2))
    before = tab.page.inner_html("#chart-confusion")
    tab.page.select_option("#choice-confusion", "1")
    changed = "(before) => document.getElementById('chart-confusion').innerHTML !== before"
    tab.page.wait_for_function(changed, arg=before)
    assert tab.complaints == []
