"""Times that prove nothing are marked wherever they are shown, and the reason is said once."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgekd.records import Conditions, Measurement, Run
from edgekd.stages.report import report, summary_rows
from edgekd.stages.report.frontier import frontier_of
from edgekd.stages.report.latency import latencies
from edgekd.stages.report.sustained import sustained_lines
from edgekd.stages.report.taint import taint_lines
from edgekd.units import METRICS

HOT = Conditions(host="pi", runtime="litert", tainted="under-voltage, throttled")
COOL = Conditions(host="pi", runtime="litert")


def of(model: str, metric: str, conditions: Conditions, samples: tuple[float, ...]) -> Measurement:
    return Measurement(
        model_sha256=model,
        model=model,
        format="tflite",
        precision="fp32",
        role="student",
        target="pi",
        metric=metric,
        unit=METRICS[metric].unit,
        samples=samples,
        warmup=samples if metric == "sustained_latency" else (),
        conditions=conditions,
    )


TIMES = tuple(np.random.default_rng(0).gamma(1.5, 1e-4, 500) + 0.002)


def run_of(conditions: Conditions, *, with_cool: bool = True) -> Run:
    """A file that was measured under these conditions, and another one."""
    found = [
        of("hot.tflite", "latency", conditions, TIMES),
        of("hot.tflite", "load_time", conditions, (0.1, 0.2)),
        of("hot.tflite", "first_inference", conditions, (0.01,)),
        of("hot.tflite", "sustained_latency", conditions, TIMES),
        of("hot.tflite", "accuracy", COOL, (1.0, 1.0, 0.0)),
        of("hot.tflite", "peak_memory", COOL, (1e6,)),
    ]
    if with_cool:
        found += [of("cool.tflite", "latency", COOL, TIMES), of("cool.tflite", "accuracy", COOL, (1.0, 0.0, 0.0))]
    return Run(name="hot", folder=Path(), recipe="", measurements=tuple(found))


def test_each_target_and_reason_is_a_line() -> None:
    hot = run_of(HOT).measurements
    elsewhere = replace(hot[0], target="phone", conditions=replace(HOT, tainted="cpu too hot"))
    assert taint_lines([*hot, elsewhere, replace(hot[0], model="other.tflite")]) == (
        (
            "tainted on pi (under-voltage, throttled): latency, load time, first inference, sustained latency "
            "of hot.tflite, other.tflite; take it again when the target is cool and well powered"
        ),
        (
            "tainted on phone (cpu too hot): latency of hot.tflite; "
            "take it again when the target is cool and well powered"
        ),
    )
    assert taint_lines(run_of(COOL).measurements) == ()


def test_figures_carry_the_reason_of_times_alone() -> None:
    hot, cool = summary_rows(run_of(HOT))
    (line,) = hot.targets
    assert line.score is not None
    assert line.peak_memory is not None
    assert [line.score.tainted, line.peak_memory.tainted] == ["", ""]
    times = [line.p50, line.p90, line.p99, line.load, line.first_inference]
    assert [each and each.tainted for each in times] == ["under-voltage, throttled"] * 5
    assert cool.targets[0].p50 is not None
    assert cool.targets[0].p50.tainted == ""


def test_the_page_marks_every_cell_and_says_why_once(tmp_path: Path) -> None:
    html = report(run_of(HOT), folder=tmp_path).html_path.read_text(encoding="utf-8")
    # Latency, load with first inference, start and end of the long run.
    assert html.count('<span class="basis tainted" title="under-voltage, throttled">tainted</span>') == 4
    rows = re.findall(r'<th scope="rowgroup" class="file".*?</tbody>', html, re.DOTALL)
    assert [row.count(">tainted<") for row in rows] == [2, 0]
    assert html.count("Tainted on pi (under-voltage, throttled): latency") == 1
    assert "What is marked tainted proves nothing." in html
    html = report(run_of(COOL), folder=tmp_path).html_path.read_text(encoding="utf-8")
    body = html.partition("</style>")[2].partition("<script")[0]
    assert "tainted" not in body.lower()


def test_charts_and_lines_mark_them_too() -> None:
    run = run_of(HOT)
    rows = summary_rows(run)
    (chart,) = latencies(run.measurements, rows)
    heads = chart.options[0][1]["layer"][2]["data"]["values"]
    assert [each["text"] for each in heads] == ["1  hot.tflite, tainted", "2  cool.tflite"]
    assert heads[0]["more"].endswith("500 runs, tainted: under-voltage, throttled")
    assert chart.caption.endswith("Tainted times prove nothing.")
    frontier = frontier_of(rows)
    assert frontier is not None
    points = [each.values["p50"] for each in frontier.points]
    assert [words.endswith(", tainted: under-voltage, throttled") for *_, words, _ in points] == [True, False]
    assert [note for *_, note in points] == ["tainted", ""]
    assert sustained_lines(run.measurements)[0].endswith("(+0.0 %), tainted")
    calm = run_of(COOL)
    assert "ainted" not in latencies(calm.measurements, summary_rows(calm))[0].caption
