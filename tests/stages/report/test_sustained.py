"""Lines on long runs."""

from __future__ import annotations

import dataclasses

from edgekd.records import Measurement
from edgekd.stages.report.sustained import sustained_lines

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


def test_only_long_runs_have_a_line_and_it_has_a_sign() -> None:
    hot = dataclasses.replace(COOL, samples=(0.0125,) * 9)
    other = dataclasses.replace(COOL, metric="latency")
    assert sustained_lines([other, COOL, hot]) == (
        "m.tflite on pi, sustained: p50 10.0 ms at the start, 9 ms at the end (-10.0 %)",
        "m.tflite on pi, sustained: p50 10.0 ms at the start, 12.5 ms at the end (+25.0 %)",
    )
