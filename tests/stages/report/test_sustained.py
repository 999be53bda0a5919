"""Long runs: lines, table and curves against what NumPy makes of the same samples."""

from __future__ import annotations

import dataclasses
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.records import Conditions, Measurement, Run, Stretch
from edgekd.stages.report import report
from edgekd.stages.report.sustained import POINTS_PER_RUN, long_runs, sustained_charts, sustained_lines

COOL = Measurement(
    model_sha256="",
    model="m.tflite",
    format="tflite",
    precision="fp32",
    role="student",
    target="pi",
    metric="sustained_latency",
    unit="s",
    samples=(0.009,) * 20,
    warmup=(0.010,) * 21,
)


def course_of(seconds: int, *, peak_s: float = 0.0) -> tuple[Stretch, ...]:
    """Ten minutes or less, in which latency grows from 10 ms to 15 ms; with a peak in one second."""
    generator = np.random.default_rng(0)
    rows = 0.010 * np.linspace(1, 1.5, seconds)[:, None] * (1 + generator.gamma(1.5, 0.02, (seconds, 20)))
    rows[seconds // 2, :4] += peak_s
    return tuple(Stretch(start_s=second * 1.01, samples=tuple(row.tolist())) for second, row in enumerate(rows))


def long_run(seconds: int, **changes: Any) -> Measurement:
    course = course_of(seconds)
    first, last = ([each for stretch in part for each in stretch.samples] for part in (course[:60], course[-60:]))
    return dataclasses.replace(COOL, samples=tuple(last), warmup=tuple(first), course=course, **changes)


def layers_of(measurement: Measurement) -> tuple[list[dict[str, Any]], Any]:
    """The points of a run's curve, and the layers of its chart."""
    (chart,) = sustained_charts(long_runs([measurement]))
    ((_, spec),) = chart.options
    return spec["data"]["values"], spec["layer"]


def test_only_long_runs_have_a_line_and_it_has_a_sign() -> None:
    hot = dataclasses.replace(COOL, samples=(0.0125,) * 9)
    other = dataclasses.replace(COOL, metric="latency")
    assert sustained_lines([other, COOL, hot]) == (
        "m.tflite on pi, sustained: p50 10.0 ms at the start, 9 ms at the end (-10.0 %)",
        "m.tflite on pi, sustained: p50 10.0 ms at the start, 12.5 ms at the end (+25.0 %)",
    )


def test_start_and_end_are_quantiles_of_their_own_samples() -> None:
    measured = long_run(600, conditions=Conditions(temperature_before_c=47.7, temperature_after_c=84.2))
    (run,) = long_runs([dataclasses.replace(measured, metric="latency"), measured])
    for part, samples in ((run.first, measured.warmup), (run.last, measured.samples)):
        assert {name: figure.value for name, figure in part.items()} == pytest.approx(
            {name: np.quantile(samples, q) for name, q in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))}
        )
    assert run.change == pytest.approx(np.median(measured.samples) / np.median(measured.warmup) - 1)
    assert run.degrees == "48 to 84"
    assert long_runs([COOL])[0].degrees == ""


def test_a_curve_is_of_all_samples_of_each_part_of_the_run() -> None:
    measured = long_run(600)
    points, layers = layers_of(measured)
    assert len(points) == POINTS_PER_RUN
    fifth = [sample for stretch in measured.course[20:25] for sample in stretch.samples]
    assert points[4]["t"] == pytest.approx(22 * 1.01 / 60, rel=1e-3)  # the middle of five seconds, in minutes
    assert [points[4][name] for name in ("low", "p50", "high")] == pytest.approx(
        (1000 * np.quantile(fifth, (0.1, 0.5, 0.9))).tolist(), rel=1e-4
    )
    # What the table compares is shaded: the first minute and the last of 606 seconds.
    parts = [(each["t"], each["end"]) for each in layers[0]["data"]["values"]]
    assert parts == [(0, pytest.approx(1)), (pytest.approx(9.1, rel=1e-3), pytest.approx(10.1, rel=1e-3))]


def test_short_runs_are_in_seconds_and_have_halves() -> None:
    points, layers = layers_of(long_run(10))
    assert len(points) == 10
    assert layers[0]["encoding"]["x"]["title"] == "time (s)"
    assert [each["end"] for each in layers[0]["data"]["values"]] == pytest.approx([5.05, 10.1], rel=1e-3)


def test_one_inference_that_takes_all_the_time_is_drawn(tmp_path: Path) -> None:
    slow = dataclasses.replace(COOL, samples=(7.0,), warmup=(7.0,), course=(Stretch(start_s=0.0, samples=(7.0,)),))
    points, layers = layers_of(slow)
    assert [(each["t"], each["p50"]) for each in points] == [(0.0, 7.0)]
    low, high = layers[-1]["encoding"]["y"]["scale"]["domain"]
    assert low < 7 < high
    report(Run(name="slow", folder=tmp_path, recipe="", measurements=(slow,)), folder=tmp_path)


def test_a_peak_of_the_band_does_not_flatten_the_curve_and_is_said() -> None:
    calm, peak = (dataclasses.replace(COOL, course=course_of(100, peak_s=peak_s)) for peak_s in (0.0, 0.4))
    (chart,) = sustained_charts(long_runs([peak]))
    assert "cut off where some of it is far above the rest" in chart.caption
    _, layers = layers_of(peak)
    assert 15 < layers[-1]["encoding"]["y"]["scale"]["domain"][1] < 30
    assert layers[2]["mark"]["clip"]
    (chart,) = sustained_charts(long_runs([calm]))
    assert "cut off" not in chart.caption
    points, layers = layers_of(calm)
    assert layers[-1]["encoding"]["y"]["scale"]["domain"][1] >= max(point["high"] for point in points)


def test_files_of_a_target_share_a_chart_and_records_without_a_course_have_none() -> None:
    runs = [long_run(30), long_run(30, model="n.tflite"), long_run(30, target="host"), COOL]
    charts = sustained_charts(long_runs(runs))
    assert [(chart.name, [label for label, _ in chart.options]) for chart in charts] == [
        ("sustained-0", ["m.tflite", "n.tflite"]),
        ("sustained-1", ["m.tflite"]),
    ]


def test_the_page_holds_start_against_end(tmp_path: Path) -> None:
    measured = dataclasses.replace(long_run(600), basis="emulated")
    made = report(Run(name="long", folder=tmp_path, recipe="", measurements=(measured,)), folder=tmp_path)
    html = made.html_path.read_text(encoding="utf-8")
    section = html[html.index('<section aria-labelledby="sustained">') :].partition("</section>")[0]
    (run,) = long_runs([measured])
    assert f"{100 * run.change:+.1f} %" in section
    assert section.count('<span class="basis">emulated</span>') == 2
    assert "11." in section
    assert 'id="chart-sustained-0"' in section
    (kept,) = json.loads(made.json_path.read_text())["metrics"]
    assert kept["figure"]["value"] == pytest.approx(statistics.median(measured.samples))
    report(Run(name="short", folder=tmp_path, recipe=""), folder=tmp_path)
    assert 'id="sustained"' not in made.html_path.read_text(encoding="utf-8")
