"""Runs held against the last release: what passes, what is refused, and what is said of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgekd import store
from edgekd.errors import ConfigError, StoreError
from edgekd.measurements import read_measurements
from edgekd.pipeline import judge, open_against, open_gate_spec, open_run, promote, write_baseline
from edgekd.records import Check, Comparison, GateSpec, Measurement, Release, Tolerances, Turns
from tests.pipeline.baseline.conftest import HOST, seal

MakeRun = Callable[..., Path]
FILE = "student.fp32.onnx"
RECIPE = 'name = "tiny"\n[distill]\nepochs = {epochs}\n[[budgets]]\nmetric = "file_size"\nlimit = "10 kB"\n'


def keep(run: Path) -> None:
    write_baseline(Path("baseline.json"), promote(open_run(run), Release(model_sha256s=(), checks=())))


def held(run: Path, table: Tolerances | None = None, baseline: str = "baseline.json", **more: Any) -> Release:
    opened = open_run(run)
    against = open_against(opened, baseline=baseline, table=table, **more)
    return judge(opened, open_gate_spec(run), against=against)


def check_of(release: Release, metric: str, model: str = FILE) -> Check:
    (found,) = [each for each in release.checks if (each.budget.metric, each.model) == (metric, model)]
    return found


def statuses(release: Release) -> dict[str, str]:
    return {each.budget.metric: each.status for each in release.checks if each.budget.reference == "baseline"}


def edit(run: Path, change: Callable[[Measurement], Measurement | None]) -> None:
    file = run / "export" / "measurements.json"
    kept = [changed for each in read_measurements(file) if (changed := change(each))]
    store.write_json(file, kept)
    seal(run)


def test_the_same_files_are_no_worse_however_few_samples(make_run: MakeRun) -> None:
    run = make_run("v1", samples=50, wrong=5)
    keep(run)
    release = held(run)
    assert release.status == "pass"
    assert statuses(release) == dict.fromkeys(
        ("accuracy_drop", "file_size_increase", "peak_memory_increase", "latency_increase"), "pass"
    )
    assert release.baseline == "v1 (baseline.json)"
    assert release.changes == ()


def test_what_got_worse_fails_and_what_changed_is_named(make_run: MakeRun) -> None:
    keep(make_run("v1", recipe=RECIPE.format(epochs=60)))
    run = make_run("v2", recipe=RECIPE.format(epochs=3), wrong=180, operators=("Relu",) * 40, bias=1.0)
    release = held(run)
    assert release.status == "fail"
    accuracy = check_of(release, "accuracy_drop")
    assert accuracy.status == "fail"
    assert accuracy.observed == pytest.approx(80 / 4000)
    assert accuracy.reason.endswith(
        "changed since: recipe: distill.epochs 60 → 3, operators of student.fp32.onnx Relu 1 → Relu 40"
    )
    size = check_of(release, "file_size_increase")
    assert size.status == "fail"
    assert "; changed since: operators of student.fp32.onnx Relu 1 → Relu 40" in size.reason
    assert {each.what for each in release.changes} == {"recipe: distill.epochs", f"operators of {FILE}"}


def test_a_run_folder_is_a_baseline_too(make_run: MakeRun) -> None:
    keep(make_run("v1"))
    run = make_run("v2", wrong=180, bias=1.0)
    by_folder, by_file = held(run, baseline="runs/v1"), held(run)
    assert statuses(by_folder) == statuses(by_file)
    assert [each.observed for each in by_folder.checks if each.budget.metric != "latency_increase"] == [
        each.observed for each in by_file.checks if each.budget.metric != "latency_increase"
    ]


def test_the_table_says_what_is_looked_at_and_the_command_line_goes_before_it(make_run: MakeRun) -> None:
    keep(make_run("v1"))
    run = make_run("v2", wrong=180, bias=1.0)
    assert statuses(held(run, {"accuracy": "0.5 pt"})) == {"accuracy_drop": "fail"}
    assert statuses(held(run, {"accuracy": "5 pt"})) == {"accuracy_drop": "pass"}
    assert statuses(held(run, {"accuracy": "0.5 pt"}, tolerances=["accuracy=5 pt", "file_size=1 B"])) == {
        "accuracy_drop": "pass",
        "file_size_increase": "pass",
    }
    assert statuses(held(run, {})) == {}
    assert statuses(held(run, {"energy": "5 %"})) == {"energy_increase": "unmeasured"}


def test_a_table_in_the_recipe_is_read(make_run: MakeRun) -> None:
    table = '[regressions]\naccuracy = "5 pt"\nsustained_latency.p50 = "9 %"\n'
    spec = open_gate_spec(make_run("v1", recipe=f"{RECIPE.format(epochs=1)}{table}"))
    assert spec.regressions == {"accuracy": "5 pt", "sustained_latency": {"p50": "9 %"}}


# Removing evidence


def test_a_file_that_is_gone_is_unmeasured_and_a_new_one_is_no_regression(make_run: MakeRun) -> None:
    keep(make_run("v1", files=(FILE, "student.fp16.onnx")))
    release = held(make_run("v2", files=(FILE, "student.mixed.onnx")))
    assert check_of(release, "accuracy_drop").status == "pass"
    gone = check_of(release, "accuracy_drop", "student.fp16.onnx")
    assert gone.status == "unmeasured"
    assert "the last release has it: accuracy of student.fp16.onnx was not measured now" in gone.reason
    assert {each.model for each in release.checks if each.budget.reference} == {FILE, "student.fp16.onnx"}
    assert ("file student.mixed.onnx", "-", "there") in [
        (each.what, each.before, each.after) for each in release.changes
    ]


@pytest.mark.parametrize("table", [None, {"accuracy": "0.5 pt", "latency": "5 %"}])
@pytest.mark.parametrize("metric", ["accuracy", "latency"])
def test_what_is_not_measured_any_more_is_unmeasured(make_run: MakeRun, metric: str, table: Tolerances | None) -> None:
    run = make_run("v1")
    keep(run)
    edit(run, lambda each: each if each.metric != metric else None)
    release = held(run, table)
    assert release.status == "unmeasured"
    assert [each.target for each in release.checks if each.status == "unmeasured"] == ["host"]


def test_a_target_that_is_gone_is_unmeasured_and_a_new_one_is_no_regression(make_run: MakeRun) -> None:
    run = make_run("v1")
    keep(run)
    edit(run, lambda each: replace(each, target="pi") if each.target == "host" else each)
    release = held(run)
    unmeasured = {(each.budget.metric, each.target) for each in release.checks if each.status == "unmeasured"}
    assert unmeasured == {(metric, "host") for metric in ("accuracy_drop", "peak_memory_increase", "latency_increase")}
    assert "pi" not in {each.target for each in release.checks}


def test_files_of_one_kind_are_held_each_against_its_own(make_run: MakeRun) -> None:
    names = ("a.fp32.onnx", "b.fp32.onnx")
    run = make_run("v1", files=names)
    edit(
        run,
        lambda each: (
            replace(each, samples=(1.0,) * 4000) if (each.model, each.metric) == (names[1], "accuracy") else each
        ),
    )
    keep(run)
    worse = make_run("v2", files=names)
    release = held(worse, {"accuracy": "0.5 pt"})
    assert check_of(release, "accuracy_drop", names[0]).status == "pass"
    assert check_of(release, "accuracy_drop", names[1]).status == "fail"
    # One that was renamed takes the place of the one that is gone.
    renamed = make_run("v3", files=("a.fp32.onnx", "c.fp32.onnx"))
    assert check_of(held(renamed, {"accuracy": "0.5 pt"}), "accuracy_drop", "c.fp32.onnx").status == "fail"


# Other data, other conditions


@pytest.mark.parametrize(
    ("before", "after", "status"),
    [
        ({}, {"test_split": "0ther"}, "unmeasured"),
        ({}, {"data": "0ther"}, "pass"),  # other training data, the same test samples
        ({"test_split": ""}, {"data": "0ther"}, "unmeasured"),
        ({"test_split": ""}, {}, "pass"),
        ({"test_split": "", "data": ""}, {}, "unmeasured"),
        ({"test_split": "", "data": ""}, {"test_split": "", "data": ""}, "pass"),
    ],
)
def test_samples_are_paired_only_where_they_are_the_same(
    make_run: MakeRun, before: dict[str, str], after: dict[str, str], status: str
) -> None:
    keep(make_run("v1", **before))
    check = check_of(held(make_run("v2", **after), {"accuracy": "0.5 pt"}), "accuracy_drop")
    assert check.status == status
    assert ("so samples can't be paired" in check.reason) == (status == "unmeasured")


def test_another_runtime_is_named(make_run: MakeRun) -> None:
    keep(make_run("v1"))
    newer = replace(HOST, runtime_version="1.21")
    release = held(make_run("v2", conditions=newer, wrong=180), {"accuracy": "0.5 pt"})
    assert "target host: runtime_version 1.20 → 1.21" in check_of(release, "accuracy_drop").reason
    other = held(make_run("v3", conditions=replace(HOST, cpu="d")), {"peak_memory": "5 %"})
    assert "cpu is 'd' here and was 'c'" in check_of(other, "peak_memory_increase").reason
    assert other.status == "unmeasured"


def test_units_and_bases_must_be_the_same(make_run: MakeRun) -> None:
    run = make_run("v1")
    keep(run)
    edit(run, lambda each: replace(each, unit="kB") if each.metric == "file_size" else each)
    assert "is in 'kB' where 'B' is wanted" in check_of(held(run, {"file_size": "5 %"}), "file_size_increase").reason
    run = make_run("v2")
    edit(run, lambda each: replace(each, basis="estimated") if each.metric == "peak_memory" else each)
    check = check_of(held(run, {"peak_memory": "5 %"}), "peak_memory_increase")
    assert (check.status, check.reason) == ("unmeasured", f"estimated here, and measured for {FILE}")


def test_emulated_times_are_held_against_nothing_but_emulated_scores_are(make_run: MakeRun) -> None:
    run = make_run("v1")
    edit(run, lambda each: replace(each, basis="emulated") if each.target == "host" else each)
    keep(run)
    passed = dict.fromkeys(("accuracy_drop", "file_size_increase", "peak_memory_increase"), "pass")
    assert statuses(held(run)) == passed
    assert statuses(held(run, {"latency": "5 %"})) == {"latency_increase": "unmeasured"}


# Comparisons


def comparison(first: Path, second: Path, ratio: float, **more: Any) -> Comparison:
    turns = [
        Turns(first=(1e-3,) * 4, second=(1e-3 * (ratio + 1e-4 * (number % 3 - 1)),) * 4, first_loaded=number % 2 == 0)
        for number in range(12)
    ]
    given: dict[str, Any] = {
        "first": FILE,
        "second": FILE,
        "first_sha256": store.sha256_of(first / "export" / FILE),
        "second_sha256": store.sha256_of(second / "export" / FILE),
        "target": "host",
        "threshold": 0.05,
        "processes": tuple(turns),
        "ratio": ratio,
        "low": None,
        "high": None,
        "confidence": 0.99,
        "verdict": "inconclusive",
        "needed": None,
        "conditions": (),
        "basis": "measured",
        "wall_s": 1.0,
        "started_at": "2026-01-02T00:00:00+00:00",
    }
    return Comparison(**given | more)


@pytest.mark.parametrize(("ratio", "status"), [(1.0, "pass"), (1.2, "fail")])
def test_latency_is_known_by_turns_alone(make_run: MakeRun, ratio: float, status: str) -> None:
    old, new = make_run("v1"), make_run("v2", bias=1.0)
    keep(old)
    check = check_of(held(new), "latency_increase")
    assert check.status == "inconclusive"
    command = (
        f"edgekd compare runs/v1/export/{FILE} runs/v2/export/{FILE} --target host --threshold '5 %' "
        f"--out runs/v2/comparisons/{FILE}-host"
    )
    assert command in check.reason
    store.write_json(new / "comparisons" / f"{FILE}-host" / "comparison.json", comparison(old, new, ratio))
    assert check_of(held(new), "latency_increase").status == status
    shutil.move(new / "comparisons", "elsewhere")
    given = [Path("elsewhere") / f"{FILE}-host"]
    assert check_of(held(new, comparisons=given), "latency_increase").status == status


def test_without_the_released_file_it_is_said_where_it_was(make_run: MakeRun) -> None:
    keep(make_run("v1"))
    sha256 = store.sha256_of(Path("runs/v1/export") / FILE)
    shutil.rmtree("runs/v1")
    reason = check_of(held(make_run("v2", bias=1.0)), "latency_increase").reason
    assert f"OLD was runs/v1/export/{FILE}, sha256 {sha256[:12]}, which is not here: bring it first" in reason


def test_comparisons_of_other_files_are_refused_or_left_out(
    make_run: MakeRun, caplog: pytest.LogCaptureFixture
) -> None:
    old, new, other = make_run("v1"), make_run("v2", bias=1.0), make_run("v3", bias=2.0)
    keep(old)
    file = Path("comparison.json")
    for given, words in (
        (comparison(new, old, 1.0), "the other way round"),
        (comparison(other, new, 1.0), "which is not of the last release"),
        (comparison(old, other, 1.0), "which is not of this run"),
    ):
        store.write_json(file, given)
        with pytest.raises(StoreError, match=words):
            held(new, comparisons=[file])
    (new / "comparisons").mkdir()
    shutil.copy(file, new / "comparisons" / "old.json")
    with caplog.at_level("INFO", "edgekd"):
        assert check_of(held(new), "latency_increase").status == "inconclusive"
    assert "left out: a comparison of" in caplog.text
    file.write_text("{}")
    with pytest.raises(StoreError, match="not what edgekd wrote"):
        held(new, comparisons=[file])


# Bad input


def test_tolerances_want_a_last_release_and_make_sense(make_run: MakeRun) -> None:
    opened = open_run(make_run("v1"))
    with pytest.raises(ConfigError, match="--tolerance: there is no last release; give it with --baseline"):
        open_against(opened, baseline=None, tolerances=["accuracy=1 pt"])
    with pytest.raises(ConfigError, match="--comparison: there is no last release"):
        open_against(opened, baseline=None, comparisons=[Path("x")])
    with pytest.raises(ConfigError, match=r"--tolerance\.acuracy: unknown metric 'acuracy'") as caught:
        open_against(opened, baseline="runs/v1", tolerances=["acuracy=1 pt", "latency", "file_size=1 ms"])
    assert "3 problems" in str(caught.value)
    assert "did you mean 'accuracy'?" in str(caught.value)


def test_without_a_last_release_nothing_is_added(make_run: MakeRun) -> None:
    opened = open_run(make_run("v1"))
    against = open_against(opened, baseline=None, table={"accuracy": "1 pt"})
    release = judge(opened, GateSpec(budgets=()), against=against)
    assert (release.checks, release.baseline, release.changes) == ((), "", ())


def test_a_budget_on_the_last_release_without_one_is_unmeasured(make_run: MakeRun) -> None:
    budget = '[[budgets]]\nmetric = "accuracy_drop"\nreference = "baseline"\nlimit = "1 pt"\n'
    run = make_run("v1", recipe=f"{RECIPE.format(epochs=1)}{budget}")
    opened = open_run(run)
    check = check_of(judge(opened, open_gate_spec(run)), "accuracy_drop")
    assert check.status == "unmeasured"
    assert check.reason == "there is no last release to hold it against; give it with --baseline"
    keep(run)
    assert check_of(held(run, {}), "accuracy_drop").status == "pass"
