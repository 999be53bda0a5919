"""What is named as changed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgekd.pipeline.baseline.changes import find_changes, name_causes
from edgekd.records import Baseline, Budget, Change, Check, Conditions, Measurement, ReleasedFile

FILE = ReleasedFile(
    name="a.onnx",
    format="onnx",
    precision="fp32",
    sha256="1",
    size_bytes=1,
    path="a.onnx",
    operators={"Conv": 5, "Relu": 4},
)
MEASURED = Measurement(
    model_sha256="1",
    model="a.onnx",
    format="onnx",
    precision="fp32",
    role="student",
    target="pi",
    metric="latency",
    unit="s",
    samples=(1.0,),
    conditions=Conditions(cpu="A76", runtime="onnxruntime", runtime_version="1.20", governor=None),
)
RECIPE = """
name = "x"
[distill]
epochs = 60
losses = [{ name = "kl", temperature = 4.0 }]
[benchmark]
targets = ["pi"]
"""
BEFORE = Baseline(
    name="before",
    recipe=RECIPE,
    data="a" * 64,
    teachers={"teacher-0": "b" * 64},
    environment={"edgekd": "0.1.0", "onnx": "1.1"},
    files=(FILE,),
    measurements=(MEASURED,),
)


def changes(**new: object) -> list[tuple[str, str, str]]:
    found = find_changes(BEFORE, replace(BEFORE, **new))  # type: ignore[arg-type]  # fields of it
    return [(each.what, each.before, each.after) for each in found]


def test_nothing_changed() -> None:
    assert changes() == []


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ({"overrides": ("distill.epochs=3",)}, [("recipe: distill.epochs", "60", "3")]),
        ({"recipe": RECIPE.replace("4.0", "2.0")}, [("recipe: distill.losses.0.temperature", "4.0", "2.0")]),
        (
            {"recipe": RECIPE.replace('"pi"]', '"pi", "host"]')},
            [("recipe: benchmark.targets", '["pi"]', '["pi", "host"]')],
        ),
        ({"recipe": f"{RECIPE}runs = 9"}, [("recipe: benchmark.runs", "-", "9")]),
        ({"recipe": RECIPE.replace('"x"', '"y\\n\\u001b[2J::error::"')}, [("recipe: name", "x", "y [2J::error::")]),
        ({"recipe": ""}, []),
        ({"data": "c" * 64}, [("data", "a" * 12, "c" * 12)]),
        ({"data": ""}, []),
        ({"teachers": {"teacher-0": "c" * 64}}, [("teacher teacher-0", "b" * 12, "c" * 12)]),
        (
            {"environment": {"edgekd": "0.2.0", "onnx": "1.1", "torch": "2"}},
            [("tool edgekd", "0.1.0", "0.2.0"), ("tool torch", "-", "2")],
        ),
        ({"environment": {}}, []),
        ({"files": (replace(FILE, operators={"Conv": 5, "Relu": 4}),)}, []),
        (
            {"files": (replace(FILE, operators={"Conv": 6, "Clip": 4}),)},
            [("operators of a.onnx", "Clip 0, Conv 5, Relu 4", "Clip 4, Conv 6, Relu 0")],
        ),
        ({"files": (replace(FILE, operators={}),)}, []),
        ({"files": (replace(FILE, name="b.onnx"),)}, [("file a.onnx", "there", "-"), ("file b.onnx", "-", "there")]),
        (
            {"measurements": (replace(MEASURED, conditions=replace(MEASURED.conditions, runtime_version="1.21")),) * 2},
            [("target pi: runtime_version", "1.20", "1.21")],
        ),
        (
            {"measurements": (replace(MEASURED, conditions=replace(MEASURED.conditions, governor="powersave")),)},
            [("target pi: governor", "-", "powersave")],
        ),
        ({"measurements": (replace(MEASURED, target="host", conditions=Conditions()),)}, []),
    ],
)
def test_each_change_is_named_by_itself(new: dict[str, object], expected: list[tuple[str, str, str]]) -> None:
    assert changes(**new) == expected


def causes(metric: str, *found: str, model: str = "a.onnx") -> str:
    check = Check(
        budget=Budget(metric=metric, limit="1 %", reference="baseline"),
        model=model,
        target="pi",
        unit="1",
        limit=0.01,
        observed=None,
        low=None,
        high=None,
        status="fail",
        reason="",
    )
    return name_causes(check, [Change(what=what, before="1", after="2") for what in found])


def test_the_likeliest_cause_comes_first() -> None:
    found = ("tool torch", "recipe: distill.epochs", "operators of a.onnx", "target pi: cpu", "data", "recipe: name")
    assert causes("accuracy_drop", *found) == (
        "; changed since: data 1 → 2, recipe: distill.epochs 1 → 2, operators of a.onnx 1 → 2 and 2 more"
    )
    assert causes("latency_increase", *found) == (
        "; changed since: operators of a.onnx 1 → 2, target pi: cpu 1 → 2, tool torch 1 → 2 and 1 more"
    )


def test_what_is_of_other_files_and_targets_is_no_cause() -> None:
    assert causes("latency_increase", "operators of b.onnx", "target host: cpu", "recipe: description") == ""
    assert causes("file_size_increase", "operators of a*.onnx", model="a?.onnx") == ""
    assert causes("file_size_increase", "operators of [a].onnx", model="[a].onnx") != ""
