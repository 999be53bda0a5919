"""Of which texts latencies are, where a file takes texts of any length."""

from __future__ import annotations

from collections.abc import Sequence

from edgekd.records import Measurement


def length_lines(measurements: Sequence[Measurement]) -> tuple[str, ...]:
    """Say how many tokens were fed to files that take any number, a line for each file and target.

    >>> from edgekd.records import Conditions
    >>> fed = Measurement(model_sha256="", model="m.onnx", format="onnx", precision="fp32", role="student", target="pi",
    ...                   metric="latency", unit="s", samples=(0.01,), conditions=Conditions(length=128))
    >>> length_lines([fed])
    ('m.onnx on pi takes texts of any length: times are of 128 tokens',)
    """
    return tuple(
        f"{each.model} on {each.target} takes texts of any length: times are of {each.conditions.length} tokens"
        for each in measurements
        if each.metric == "latency" and each.conditions.length is not None
    )
