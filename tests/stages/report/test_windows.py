"""Latencies of windows, in words and in the table."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from edgekd.records import Measurement, Run
from edgekd.stages.report import summary_rows
from edgekd.stages.report.windows import window_lines

MEANS = Measurement(
    model_sha256="5e1f",
    model="m.tflite",
    format="tflite",
    precision="fp32",
    role="student",
    target="board",
    metric="window_latency",
    unit="s",
    samples=(0.0034, 0.0035, 0.0036, 0.0041, 0.0031),
)


def test_only_windows_have_a_line() -> None:
    single = dataclasses.replace(MEANS, metric="latency")
    assert window_lines([single, MEANS]) == (
        "m.tflite on board, inferences without a break: 3.5 ms, median of the means of 5 windows",
    )


def test_a_target_with_nothing_else_is_in_the_table_but_has_no_latency() -> None:
    (row,) = summary_rows(Run(name="bench", folder=Path(), recipe="", measurements=(MEANS,)))
    (place,) = row.targets
    assert (place.target, place.p50, place.p90, place.latency_samples) == ("board", None, None, 0)
