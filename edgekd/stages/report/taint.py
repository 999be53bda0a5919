"""Times that prove nothing: of what, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgekd.records import Measurement
from edgekd.stages.report.quality import label_of


def taint_lines(measurements: Sequence[Measurement]) -> tuple[str, ...]:
    """Say which figures are tainted, a line for each target and reason.

    >>> from edgekd.records import Conditions
    >>> hot = Measurement(model_sha256="", model="m.onnx", format="onnx", precision="fp32", role="student", target="pi",
    ...                   metric="latency", unit="s", samples=(0.01,), conditions=Conditions(tainted="throttled"))
    >>> taint_lines([hot])
    ('tainted on pi (throttled): latency of m.onnx; take it again when the target is cool and well powered',)
    """
    found: dict[tuple[str, str], list[Measurement]] = {}
    for each in measurements:
        if each.conditions.tainted:
            found.setdefault((each.target, each.conditions.tainted), []).append(each)
    return tuple(
        f"tainted on {target} ({reason}): {_listed(label_of(each.metric) for each in group)} "
        f"of {_listed(each.model for each in group)}; take it again when the target is cool and well powered"
        for (target, reason), group in found.items()
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))
