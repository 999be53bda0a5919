"""Latencies of windows: means over many inferences without a break, beside those of single ones."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from edgekd.records import Measurement
from edgekd.units import human


def window_lines(measurements: Sequence[Measurement]) -> tuple[str, ...]:
    """Say what an inference takes in windows, a line for each file and target.

    >>> mean = Measurement(model_sha256="", model="m.tflite", format="tflite", precision="fp32", role="student",
    ...                    target="board", metric="window_latency", unit="s", samples=(0.0291, 0.029, 0.0293))
    >>> window_lines([mean])
    ('m.tflite on board, inferences without a break: 29.1 ms, median of the means of 3 windows',)
    """
    return tuple(
        f"{each.model} on {each.target}, inferences without a break: {human(statistics.median(each.samples), 's')}, "
        f"median of the means of {len(each.samples)} windows"
        for each in measurements
        if each.metric == "window_latency" and each.samples
    )
