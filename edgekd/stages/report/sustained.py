"""What long runs cost: their first minute against their last, or halves of shorter ones."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from edgekd.records import Measurement
from edgekd.units import human


def sustained_lines(measurements: Sequence[Measurement]) -> tuple[str, ...]:
    """Say how the median latency of each long run changed, a line each.

    >>> hot = Measurement(model_sha256="", model="m.onnx", format="onnx", precision="fp32", role="student",
    ...                   target="pi", metric="sustained_latency", unit="s", samples=(0.012,), warmup=(0.01,))
    >>> sustained_lines([hot])
    ('m.onnx on pi, sustained: p50 10.0 ms at the start, 12.0 ms at the end (+20.0 %)',)
    """
    lines = []
    for each in measurements:
        if each.metric == "sustained_latency" and each.warmup and each.samples:
            first, last = statistics.median(each.warmup), statistics.median(each.samples)
            lines.append(
                f"{each.model} on {each.target}, sustained: p50 {human(first, 's')} at the start, "
                f"{human(last, 's')} at the end ({100 * (last / first - 1):+.1f} %)"
            )
    return tuple(lines)
