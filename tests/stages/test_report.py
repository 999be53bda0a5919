"""The report of a realistic run, of a hostile one and of ones with parts missing."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import scipy.stats
from pydantic import TypeAdapter

from edgekd.errors import MeasurementError, StoreError
from edgekd.records import (
    Budget,
    Check,
    Conditions,
    EpochRecord,
    Format,
    Measurement,
    Model,
    Release,
    Role,
    Run,
    Status,
    TensorSpec,
)
from edgekd.stages.report import report, summary_rows
from edgekd.stages.report.summary import Figure, Summary, joined, summarise
from edgekd.units import METRICS, human

RECIPE = """name = "digits-small"

[data]
source = "digits"
validation = 0.1

[[teachers]]
model = "resnet"
[teachers.train]
epochs = 40

[student]
model = "resnet"

[distill]
epochs = 40
[[distill.losses]]
name = "kl"
temperature = 4.0
weight = 0.9
"""
# name, role, format, precision, size, accuracy, median latency in seconds on two targets
FILES: tuple[tuple[str, Role, Format, str, int, float, float | None, float | None], ...] = (
    ("teacher.fp32.torch", "teacher", "torch", "fp32", 3_412_871, 0.9312, None, None),
    ("teacher.fp32.onnx", "teacher", "onnx", "fp32", 3_420_113, 0.9312, 1.9e-3, 11.2e-3),
    ("student.fp32.torch", "student", "torch", "fp32", 325_004, 0.8871, None, None),
    ("student.fp32.onnx", "student", "onnx", "fp32", 318_420, 0.8871, 210e-6, 1.31e-3),
    ("student.fp16.onnx", "student", "onnx", "fp16", 161_730, 0.8870, 264e-6, 1.62e-3),
    ("student.static_wi8_ai8.onnx", "student", "onnx", "static_wi8_ai8", 118_004, 0.8852, 118e-6, 0.74e-3),
    ("student.fp32.tflite", "student", "tflite", "fp32", 315_912, 0.8871, 188e-6, 1.18e-3),
    ("student.static_wi8_ai8.tflite", "student", "tflite", "static_wi8_ai8", 98_496, 0.8849, 78e-6, 0.48e-3),
)
HOST = Conditions(
    host="build-7",
    cpu="AMD EPYC 9354 32-Core Processor",
    arch="x86_64",
    os="Linux 6.1.0",
    threads=1,
    governor="performance",
    load_before=0.21,
)
BOARD = Conditions(
    host="raspberrypi",
    cpu="Cortex-A76",
    arch="aarch64",
    os="Linux 6.6.31",
    threads=4,
    governor="ondemand",
    load_before=0.08,
    throttled_before="0x0",
    throttled_after="0x0",
)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def history(top: float, seed: int) -> tuple[EpochRecord, ...]:
    noise = np.random.default_rng(seed).normal(0, 1, (40, 3))
    return tuple(
        EpochRecord(
            epoch=epoch,
            learning_rate=0.05 * (1 + math.cos(math.pi * epoch / 40)),
            train_loss=float(2.2 * math.exp(-epoch / 9) + 0.08 + 0.01 * noise[epoch, 0]),
            validation_loss=float(2.0 * math.exp(-epoch / 8) + 0.3 + 0.02 * noise[epoch, 1]),
            validation_score=float(top - 0.6 * math.exp(-epoch / 7) + 0.006 * noise[epoch, 2]),
        )
        for epoch in range(40)
    )


def realistic() -> Run:
    """A run like those that people have: a teacher, a student, eight files, two targets."""
    generator = np.random.default_rng(7)
    models, measurements = [], []
    right = generator.random(4000)
    for name, role, format_, precision, size, accuracy, *medians in FILES:
        io = "int8" if precision.startswith("static") else "float32"
        models.append(
            Model(
                name=name,
                path=Path("/runs/digits-small/export") / name,
                format=format_,
                precision=precision,
                role=role,
                sha256=digest(name),
                size_bytes=size,
                inputs=(TensorSpec(name="image", shape=(1, 32, 32, 3), dtype=io),),
                outputs=(TensorSpec(name="logits", shape=(1, 10), dtype=io),),
                parameters=852_618 if role == "teacher" else 78_042,
                parent_sha256=None if format_ == "torch" else digest(f"{role}.fp32.torch"),
                made_by="torch 2.13.0" if format_ == "torch" else "litert-torch 0.10.0, ai-edge-quantizer 0.10.0",
            )
        )

        def measured(
            target: str, metric: str, unit: str, samples: Any, conditions: Conditions, **more: Any
        ) -> Measurement:
            return Measurement(
                model_sha256=digest(name),  # noqa: B023  (called before the loop goes on)
                model=name,  # noqa: B023
                format=format_,  # noqa: B023
                precision=precision,  # noqa: B023
                role=role,  # noqa: B023
                target=target,
                metric=metric,
                unit=unit,
                samples=tuple(float(sample) for sample in samples),
                conditions=conditions,
                started_at="2026-11-20T10:12:44Z",
                **more,
            )

        runtime = "tflite" if format_ == "tflite" else format_
        answers = (right < accuracy).astype(float)
        answers = np.where(right < 0.02, 1 - answers, answers) if role == "student" else answers
        for target, conditions, median in zip(("host", "raspberry-pi-5"), (HOST, BOARD), medians, strict=True):
            here = replace(conditions, runtime=runtime, runtime_version="2.3.0" if runtime == "tflite" else "1.32.0")
            if median is None:
                if target == "host":
                    measurements.append(measured(target, "accuracy", "1", answers, here))
                continue
            noise = generator.gamma(1.5, 0.03, 1000) + 1
            spikes = np.where(generator.random(1000) < 0.01, 1.8, 1.0)
            emulated: Literal["emulated", "measured"] = "measured" if target == "host" else "emulated"
            measurements += [
                measured(target, "accuracy", "1", answers if target == "host" else answers[:500], here),
                measured(target, "latency", "s", median * noise * spikes, here, warmup=(median * 3,), basis=emulated),
                measured(target, "peak_memory", "B", [size * 3.1], here),
                measured(target, "load_time", "s", [median * 40, median * 44, median * 41], here, basis=emulated),
                measured(target, "first_inference", "s", [median * 7, median * 5], here, basis=emulated),
            ]
        measurements += [
            measured("host", "file_size", "B", [size], Conditions()),
            measured("host", "compressed_size", "B", [round(size * 0.71)], Conditions()),
        ]
        if name.endswith("ai8.tflite"):
            measurements.append(measured("host", "arena_size", "B", [55_984], replace(HOST, runtime="micro")))
    return Run(
        name="digits-small",
        folder=Path("/runs/digits-small"),
        recipe=RECIPE,
        models=tuple(models),
        measurements=tuple(measurements),
        histories={"teacher": history(0.935, 1), "student": history(0.892, 2)},
        release=Release(model_sha256s=tuple(model.sha256 for model in models), checks=checks()),
        environment={"python": "3.11.2", "torch": "2.13.0", "onnxruntime": "1.32.0", "git": "e5c7ba2", "cpu": HOST.cpu},
    )


def checks() -> tuple[Check, ...]:
    def check(budget: Budget, limit: float, observed: tuple[float, ...], status: Status, reason: str) -> Check:
        value, low, high = observed or (None, None, None)
        return Check(
            budget=budget,
            model=FILES[-1][0] if observed else "",
            target=budget.target or "host",
            unit=METRICS[budget.metric].unit,
            limit=limit,
            observed=value,
            low=low,
            high=high,
            status=status,
            reason=reason,
        )

    return (
        check(
            Budget(metric="file_size", limit="100 kB", format="tflite", precision="static_wi8_ai8"),
            100e3,
            (98_496, 98_496, 98_496),
            "pass",
            "98.5 kB is at most 100 kB",
        ),
        check(
            Budget(metric="accuracy", limit="87 %"),
            0.87,
            (0.8849, 0.8746, 0.8946),
            "pass",
            "the whole interval is above 87 %",
        ),
        check(
            Budget(metric="accuracy_drop", limit="4.5 pt", reference="teacher"),
            0.045,
            (0.0463, 0.037, 0.056),
            "inconclusive",
            "the interval 3.70 to 5.60 pt holds the limit; 4000 samples can't tell, 20000 could",
        ),
        check(
            Budget(metric="latency", statistic="p90", limit="70 us", target="host"),
            70e-6,
            (84.2e-6, 83.6e-6, 85.0e-6),
            "fail",
            "p90 is 84.2 µs, 20 % over 70 µs; a smaller width of the student would bring it down",
        ),
        check(
            Budget(metric="latency", statistic="p99", limit="1 ms", target="pixel-8"),
            1e-3,
            (),
            "unmeasured",
            "pixel-8 could not be reached: no adb on the path",
        ),
    )


def written(run: Run, folder: Path) -> tuple[dict[str, Any], str]:
    made = report(run, folder=folder)
    return json.loads(made.json_path.read_text()), made.html_path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    return written(realistic(), tmp_path_factory.mktemp("report"))


class Page(HTMLParser):
    """What a browser would make of a page, as far as these tests ask: elements, attributes, text outside scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""
        if tag in {"td", "th", "p", "li", "dd", "dt", "caption", "small", "span", "h1", "h2", "h3"}:
            self.text += " "

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.text += data


def words(html: str) -> str:
    return " ".join(Page(html).text.split())


# --- report.json ---------------------------------------------------------------------------------


def test_quantiles_and_intervals_are_those_of_the_raw_samples(made: tuple[dict[str, Any], str]) -> None:
    content, _ = made
    seen = 0
    for metric in content["metrics"]:
        raw = next(
            np.asarray(each.samples)
            for each in realistic().measurements
            if (each.model, each.target, each.metric) == (metric["model"], metric["target"], metric["metric"])
        )
        assert metric["samples"] == raw.size
        for name, figure in metric["quantiles"].items():
            assert figure["value"] == pytest.approx(float(np.quantile(raw, float(name[1:]) / 100)), rel=1e-12)
            assert figure["low"] <= figure["value"] <= figure["high"]
            seen += 1
        if metric["metric"] == "accuracy":
            assert metric["figure"]["value"] == pytest.approx(raw.mean(), abs=1e-12)
            exact = scipy.stats.binomtest(int(raw.sum()), raw.size).proportion_ci(0.95, method="exact")
            assert (metric["figure"]["low"], metric["figure"]["high"]) == pytest.approx((exact.low, exact.high))
            seen += 1
    assert seen == 6 * 2 * 3 + 8 + 6


def test_all_but_the_raw_samples_comes_back_from_json(made: tuple[dict[str, Any], str]) -> None:
    content, _ = made
    run = realistic()
    summaries = TypeAdapter(tuple[Summary, ...]).validate_python(content["metrics"])
    assert summaries == tuple(summarise(each) for each in joined(run.measurements))
    assert TypeAdapter(tuple[Check, ...]).validate_python(content["checks"]) == checks()
    assert content["recipe"] == RECIPE
    assert content["environment"] == run.environment
    assert [each["epoch"] for each in content["histories"]["student"]] == list(range(40))
    assert content["models"][0]["path"] == "export/teacher.fp32.torch"
    assert content["verdict"]["status"] == "fail"


def test_quantiles_that_few_runs_do_not_support_are_left_out(tmp_path: Path) -> None:
    base = next(each for each in realistic().measurements if each.metric == "latency")
    run = Run(name="few", folder=tmp_path, recipe="", measurements=(replace(base, samples=base.samples[:7]),))
    content, html = written(run, tmp_path)
    assert content["metrics"][0]["quantiles"] == {}
    assert "too few runs (7)" in words(html)
    run = replace(run, measurements=(replace(base, samples=base.samples[:60]),))
    content, html = written(run, tmp_path)
    assert list(content["metrics"][0]["quantiles"]) == ["p50", "p90"]
    assert content["summary"][0]["targets"][0]["p99"] is None
    assert "p90" in Page(html).text
    assert "p99" not in Page(html).text


def test_a_loss_that_is_no_number_is_null(tmp_path: Path) -> None:
    record = EpochRecord(
        epoch=0, learning_rate=0.1, train_loss=math.nan, validation_loss=math.inf, validation_score=0.1
    )
    content, _ = written(Run(name="nan", folder=tmp_path, recipe="", histories={"student": (record,)}), tmp_path)
    assert content["histories"]["student"][0]["train_loss"] is None


# --- rows ----------------------------------------------------------------------------------------


def test_rows_hold_what_the_raw_samples_say() -> None:
    run = realistic()
    rows = {row.model: row for row in summary_rows(run)}
    assert next(iter(rows)).startswith("teacher")
    row = rows["student.static_wi8_ai8.tflite"]
    raw = {
        (each.model, each.target, each.metric): np.asarray(each.samples)
        for each in run.measurements
        if each.model in (row.model, "teacher.fp32.onnx")
    }
    assert (row.size, row.compressed, row.parameters) == (98_496, 69_932, 78_042)
    host, board = row.targets
    assert host.p90 is not None
    assert host.p90.value == pytest.approx(np.quantile(raw[row.model, "host", "latency"], 0.9), rel=1e-12)
    assert host.p99 is not None
    assert host.p99.value == pytest.approx(np.quantile(raw[row.model, "host", "latency"], 0.99), rel=1e-12)
    for figures in (host, board):
        for figure, metric in ((figures.load, "load_time"), (figures.first_inference, "first_inference")):
            assert figure is not None
            assert figure.value == raw[row.model, figures.target, metric].max()
            assert figure.samples == raw[row.model, figures.target, metric].size
    assert board.p50 is not None
    assert board.load is not None
    assert board.p50.basis == board.load.basis == "emulated"
    assert host.arena is not None
    assert host.arena.value == 55_984
    # Each target's drop is against the teacher over the samples that this target saw.
    for figures in (host, board):
        assert figures.drop is not None
        lost = (
            raw["teacher.fp32.onnx", figures.target, "accuracy"].mean()
            - raw[row.model, figures.target, "accuracy"].mean()
        )
        assert figures.drop.value == pytest.approx(lost, abs=1e-12)
        assert figures.drop.low is not None
        assert figures.drop.low < lost
    assert row.score == host.score  # the target with the most samples
    assert rows["teacher.fp32.onnx"].drop is None


def test_latency_under_other_conditions_stands_on_a_line_of_its_own() -> None:
    base = next(each for each in realistic().measurements if each.metric == "latency")
    again = replace(base, samples=(0.5,) * 8)
    four = replace(again, conditions=replace(base.conditions, threads=4))
    row = summary_rows(Run(name="", folder=Path(), recipe="", measurements=(base, again, four)))[0]
    assert [(each.detail, each.latency_samples) for each in row.targets] == [("threads 1", 1008), ("threads 4", 8)]


def test_accuracy_measured_twice_does_not_narrow_its_interval() -> None:
    base = next(each for each in realistic().measurements if each.metric == "accuracy")
    one, two = (
        summary_rows(Run(name="", folder=Path(), recipe="", measurements=each))[0] for each in ((base,), (base, base))
    )
    assert one == two


def test_of_repeated_facts_the_largest_size_and_the_last_other_one_stand() -> None:
    base = next(each for each in realistic().measurements if each.metric == "peak_memory")
    late, early = replace(base, started_at="2026-11-20T12:00:00Z"), replace(base, started_at="2026-11-20T11:00:00Z")
    sizes = joined((replace(early, samples=(5.0,)), replace(late, samples=(3.0,)), replace(late, samples=(4.0,))))
    assert [summarise(each).figure for each in sizes] == [Figure(value=5, low=5, high=5, samples=3)]
    # Neither the largest nor the first in order.
    others = [
        replace(each, metric="max_error", unit="1", samples=(value,))
        for each, value in ((early, 0.3), (late, 0.2), (early, 0.1))
    ]
    assert [(each.samples, each.started_at) for each in joined(others)] == [((0.2,), late.started_at)]


# --- report.html ---------------------------------------------------------------------------------


def test_the_verdict_comes_first_in_words_with_reason_and_next_step(made: tuple[dict[str, Any], str]) -> None:
    _, html = made
    text = words(html[html.index("<main") :])
    assert text.startswith(
        "Fail 1 of 5 checks failed: latency p90 at most 70 us for student.static_wi8_ai8.tflite on host. "
        "Next: see which operators take the time: edgekd bench student.static_wi8_ai8.tflite --target host --profile"
    )
    assert [tag for tag, _ in Page(html).tags if tag in ("h1", "h2")] == ["h1"] + ["h2"] * 7


@pytest.mark.parametrize(
    ("statuses", "verdict", "says"),
    [
        ((), "unmeasured", "no budgets"),
        (("pass", "pass"), "pass", "All budgets hold (2 checks)."),
        (("pass", "inconclusive"), "inconclusive", "1 of 2 checks is not proven yet"),
        (("inconclusive", "unmeasured", "unmeasured"), "unmeasured", "2 of 3 checks have no measurement"),
        (("unmeasured", "fail"), "fail", "1 of 2 checks failed"),
        (("fail",), "fail", "The only check failed"),
    ],
)
def test_the_verdict_is_the_worst_check(
    tmp_path: Path, statuses: tuple[Status, ...], verdict: Status, says: str
) -> None:
    found = tuple(replace(checks()[0], status=status, reason=f"because of {status}") for status in statuses)
    release = Release(model_sha256s=(), checks=found)
    content, _ = written(Run(name="run", folder=tmp_path, recipe="", release=release), tmp_path)
    assert content["verdict"]["status"] == verdict == release.status
    assert says in content["verdict"]["why"]
    if verdict == "fail":
        assert content["verdict"]["next_step"].startswith("make it smaller")
    elif verdict != "pass" and statuses:
        assert content["verdict"]["next_step"] == f"because of {verdict}"


def test_nothing_is_fetched(made: tuple[dict[str, Any], str]) -> None:
    _, html = made
    page = Page(html)
    for tag, attributes in page.tags:
        assert tag not in {"link", "iframe", "img", "object", "embed", "base", "form"}
        assert not {"src", "srcset", "data", "poster", "action"} & set(attributes), (tag, attributes)
        assert attributes.get("href", "#").startswith("#"), (tag, attributes)
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "http" not in page.scripts[0]  # the specifications
    assert "http" not in page.scripts[-1]  # the page's own code
    policy = next(attributes["content"] for tag, attributes in page.tags if attributes.get("http-equiv"))
    assert policy.startswith("default-src 'none'")


def test_it_is_small_and_the_same_every_time(tmp_path: Path) -> None:
    first, second = (report(realistic(), folder=tmp_path / name) for name in ("a", "b"))
    assert first.html_path.stat().st_size < 1_500_000
    assert first.html_path.read_bytes() == second.html_path.read_bytes()
    assert first.json_path.read_bytes() == second.json_path.read_bytes()


def test_many_files_stay_small(tmp_path: Path) -> None:
    base = next(each for each in realistic().measurements if each.metric == "latency")
    many = tuple(replace(base, model=f"file-{i}.onnx", model_sha256=digest(str(i))) for i in range(60))
    made = report(Run(name="many", folder=tmp_path, recipe="", measurements=many), folder=tmp_path)
    assert made.html_path.stat().st_size < 1_500_000


HOSTILE = "</script><script>window.broken = 1</script><img src=x onerror=alert(1)>&quot;"


def hostile() -> Run:
    run = realistic()
    return replace(
        run,
        name=HOSTILE,
        recipe=f"# {HOSTILE}\n",
        models=tuple(replace(each, name=each.name + HOSTILE, made_by=HOSTILE) for each in run.models),
        measurements=tuple(
            replace(each, model=each.model + HOSTILE, target=each.target + HOSTILE) for each in run.measurements
        ),
        histories={HOSTILE: history(0.9, 3)},
        release=Release(
            model_sha256s=(),
            checks=(replace(checks()[3], model=HOSTILE, target=HOSTILE, reason=HOSTILE),),
            evidence=(HOSTILE,),
        ),
        environment={HOSTILE: HOSTILE},
    )


def test_hostile_names_stay_text(tmp_path: Path, made: tuple[dict[str, Any], str]) -> None:
    content, html = written(hostile(), tmp_path)
    page = Page(html)
    assert content["name"] == HOSTILE
    assert len(page.scripts) == len(Page(made[1]).scripts)
    assert not [tag for tag, attributes in page.tags if tag == "img" or "onerror" in attributes]
    assert HOSTILE in page.text
    assert HOSTILE in page.scripts[0].replace("\\u003c", "<").replace("\\u003e", ">").replace("\\u0026", "&")


def test_parts_that_are_missing_are_named(tmp_path: Path) -> None:
    _, html = written(Run(name="empty", folder=tmp_path, recipe=""), tmp_path)
    text = words(html)
    for line in (
        "has not come as far as a model file",
        "There are no model files yet.",
        "No file has a score and a size or latency",
        "Nothing was trained here.",
        "No latency was measured.",
        "No conditions were recorded.",
        "No environment was recorded.",
        "This run made no model files.",
        "There was no recipe.",
    ):
        assert line in text
    assert "<script" not in html
    assert len(html) < 20_000


def test_bare_measurements_make_rows_and_charts(tmp_path: Path) -> None:
    run = Run(name="bench", folder=tmp_path, recipe="", measurements=realistic().measurements)
    content, html = written(run, tmp_path)
    text = words(html)
    assert "No budgets were checked" in text
    assert "This run made no model files." in text
    assert [row["model"] for row in content["summary"]] == [name for name, *_ in FILES]
    assert content["summary"][-1]["size"] == 98_496
    assert {"chart-frontier", "chart-latency-0", "chart-latency-1"} <= {each.get("id") for _, each in Page(html).tags}


def test_an_unfinished_run_shows_what_it_has(tmp_path: Path) -> None:
    run = realistic()
    text = words(
        written(replace(run, models=run.models[:1], measurements=(), release=None), tmp_path)[1],
    )
    assert "not measured" in text
    assert "teacher 93." in text
    assert "No latency was measured." in text


def test_nothing_partial_is_left(tmp_path: Path) -> None:
    report(Run(name="a", folder=tmp_path, recipe=""), folder=tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["report.html", "report.json"]
    before = (tmp_path / "report.json").read_bytes()
    bad = next(each for each in realistic().measurements if each.metric == "latency")
    bad = replace(bad, samples=(math.nan,) * 50)
    with pytest.raises(MeasurementError, match="not finite"):
        report(Run(name="b", folder=tmp_path, recipe="", measurements=(bad,)), folder=tmp_path)
    assert (tmp_path / "report.json").read_bytes() == before
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StoreError):
        report(Run(name="c", folder=tmp_path, recipe=""), folder=blocked / "below")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "report.html", "report.json"]


def test_the_table_shows_tail_load_and_first_inference(made: tuple[dict[str, Any], str]) -> None:
    cells = re.findall(r"<td.*?</td>", made[1], re.DOTALL)
    for row in summary_rows(realistic()):
        for figures in row.targets:
            for name, figure in (("p99", figures.p99), ("load", figures.load), ("first", figures.first_inference)):
                if figure is not None:
                    shown = f"{name} {human(figure.value, 's')}"
                    found = [cell for cell in cells if shown in words(cell)]
                    assert found
                    assert all(("emulated" in words(cell)) == (figure.basis == "emulated") for cell in found)
    assert "the largest of the few that were timed" in words(made[1])


def test_tables_and_charts_say_what_they_are(made: tuple[dict[str, Any], str]) -> None:
    tags = Page(made[1]).tags
    count = {tag: sum(each == tag for each, _ in tags) for tag in ("table", "caption", "figure", "figcaption")}
    assert count["table"] == count["caption"] == 3
    assert count["figure"] == count["figcaption"] == 5
    assert all(attributes.get("scope") for tag, attributes in tags if tag == "th")
    assert all(attributes["aria-label"] for _, attributes in tags if attributes.get("class") == "plot")
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_colours_have_the_contrast_of_wcag_aa() -> None:
    """Relative luminance and contrast ratio as WCAG 2.2 defines them; 4.5 for text, 3 for marks of charts."""
    css = (Path(report.__code__.co_filename).parent / "page.css").read_text(encoding="utf-8")

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    def contrast(one: str, two: str) -> float:
        dark, light = sorted((luminance(one), luminance(two)))
        return (light + 0.05) / (dark + 0.05)

    themes = [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    ]
    assert len(themes) == 2
    for theme in themes:
        for text in ("ink", "muted"):
            assert min(contrast(theme[text], theme[back]) for back in ("paper", "panel")) >= 4.5
        for status in ("pass", "fail", "inconclusive", "unmeasured"):
            assert min(contrast(theme[status], theme[back]) for back in ("paper", f"{status}-soft")) >= 4.5
        for mark in ("c1", "c2", "c3", "c4", "edge"):
            assert contrast(theme[mark], theme["paper"]) >= 3


# --- in a browser --------------------------------------------------------------------------------


@pytest.mark.parametrize("run", [realistic, hostile], ids=["realistic", "hostile"])
def test_a_browser_draws_every_chart(run: Callable[[], Run], tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on the path")
    made = report(run(), folder=tmp_path)
    process = subprocess.run(
        [
            chromium,
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
            *("--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path / 'user'}"),
            *("--enable-logging=stderr", "--virtual-time-budget=10000", "--window-size=360,2000", "--dump-dom"),
            made.html_path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    page = Page(process.stdout)
    plots = [attributes for _, attributes in page.tags if attributes.get("class", "").startswith("plot")]
    assert len(plots) >= 5
    assert [each.get("data-drawn") for each in plots] == ["yes"] * len(plots)
    assert [each["role"] for each in plots] == ["graphics-document"] * len(plots)
    assert all(each["aria-label"] for each in plots)
    assert sum(tag == "svg" and attributes.get("class") == "marks" for tag, attributes in page.tags) == len(plots)
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert [line for line in process.stderr.splitlines() if ":CONSOLE" in line] == []
