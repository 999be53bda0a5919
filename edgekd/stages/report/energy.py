"""What inferences take of energy, and of what: each source sees its own part of a machine, and none sees all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgekd.records import Measurement
from edgekd.stages.report.summary import Figure, joined, summarise
from edgekd.units import human

_NAMES = {
    "pmic": "the power chip of the Raspberry Pi 5",
    "ina3221": "the power monitor of the Jetson module",
    "rapl": "the RAPL counters of the processor",
    "battery": "the battery while it discharges",
}
# What each of them sees.
_SIGHTS = {
    "pmic": "the rails behind it, without USB, what else is on the 5 V input, and its own losses",
    "ina3221": "all that goes into the module, without the board that carries it",
    "rapl": "its packages, without memory and the rest of the machine",
    "battery": "all of the machine, screen and radio too, by a gauge that follows slowly",
}


@dataclass(frozen=True, kw_only=True)
class EnergyRow:
    """What a file takes on a target.

    Attributes:
        energy: Of one inference, in J.
        idle_w: Before it ran, in W; not subtracted from `running_w` nor from the energy.
        source: What told, as `Conditions.energy_source`.
    """

    model: str
    target: str
    energy: Figure
    idle_w: float | None
    running_w: float | None
    source: str


def energy_rows(measurements: Sequence[Measurement]) -> tuple[EnergyRow, ...]:
    """Find the energies that were measured."""
    found = [(each, summarise(each).figure) for each in joined(measurements) if each.metric == "energy"]
    return tuple(
        EnergyRow(
            model=each.model,
            target=each.target,
            energy=figure,
            idle_w=each.conditions.idle_w,
            running_w=each.conditions.running_w,
            source=each.conditions.energy_source or "",
        )
        for each, figure in found
        if figure
    )


def name_of(source: str) -> str:
    """Name what told an energy.

    >>> name_of("rapl")
    'the RAPL counters of the processor'
    """
    return _NAMES.get(source, f"another source ({source})")


def energy_lines(measurements: Sequence[Measurement]) -> tuple[str, ...]:
    r"""Say of what the energies on each target are, a line each.

    >>> from edgekd.records import Conditions
    >>> told = Conditions(energy_source="rapl", idle_w=8.0, running_w=21.5)
    >>> one = Measurement(model_sha256="", model="m", format="onnx", precision="fp32", role="student", target="host",
    ...                   metric="energy", unit="J", samples=(0.002, 0.0021, 0.0022), conditions=told)
    >>> print(energy_lines([one])[0].replace(": ", ":\n  "))
    energy on host is told by the RAPL counters of the processor:
      its packages, without memory and the rest of the machine; 8 W idle before, 21.5 W running, nothing is subtracted
    """
    groups: dict[tuple[str, str], list[EnergyRow]] = {}
    for row in energy_rows(measurements):
        groups.setdefault((row.target, row.source), []).append(row)
    lines = []
    for (target, source), rows in groups.items():
        idle, running = _span([row.idle_w for row in rows]), _span([row.running_w for row in rows])
        sight = _SIGHTS.get(source, "nobody said what it sees")
        powers = f"{idle} idle before, {running} running, nothing is subtracted"
        lines.append(f"energy on {target} is told by {name_of(source)}: {sight}; {powers}")
    return tuple(lines)


def _span(watts: Sequence[float | None]) -> str:
    known = sorted(each for each in watts if each is not None)
    if not known:
        return "an unknown power"
    low, high = human(known[0], "W"), human(known[-1], "W")
    return low if low == high else f"{low} to {high}"
