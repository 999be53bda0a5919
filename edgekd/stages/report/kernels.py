"""How files agree with themselves on the kernels of another processor, or of another build of their runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgekd.records import Measurement


@dataclass(frozen=True, kw_only=True)
class KernelRow:
    """One file on one target, against the same file in the export's own runtime.

    Attributes:
        agreeing: Samples for which both predict the same.
        bit_equal: Samples whose outputs are the same bits.
        max_error: Largest difference of an output.
    """

    model: str
    target: str
    runtime: str
    samples: int
    agreeing: int
    bit_equal: int
    max_error: float


def kernel_rows(measurements: Sequence[Measurement]) -> tuple[KernelRow, ...]:
    """Gather what the comparison of kernels found, in the order of the files.

    >>> kernel_rows(())
    ()
    """
    found: dict[tuple[str, str], dict[str, Measurement]] = {}
    for each in measurements:
        if each.metric.startswith("kernel_"):
            found.setdefault((each.model, each.target), {})[each.metric] = each
    return tuple(
        KernelRow(
            model=model,
            target=target,
            runtime=f"{parity.conditions.runtime} {parity.conditions.runtime_version}".strip(),
            samples=len(parity.samples),
            agreeing=round(sum(parity.samples)),
            bit_equal=round(sum(metrics["kernel_bit_equal"].samples)),
            max_error=metrics["kernel_max_error"].samples[0],
        )
        for (model, target), metrics in found.items()
        for parity in [metrics["kernel_parity"]]
    )
