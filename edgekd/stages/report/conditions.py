"""Under what conditions was measured: machines, runtimes, and the state that they were in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgekd.records import Conditions, Measurement
from edgekd.stages.report.energy import name_of

# Of one metric only: it makes no setting of its own.
_OF_ENERGY = "energy_source"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Conditions that measurements share, in words, with what was measured under them."""

    title: str
    facts: tuple[tuple[str, str], ...]


def settings_of(measurements: Sequence[Measurement]) -> list[Setting]:
    """Gather under what conditions was measured: one setting for each target and set of conditions that matter."""
    groups: dict[tuple[object, ...], list[Measurement]] = {}
    for each in measurements:
        if each.conditions == Conditions():
            continue  # exact facts such as a file's size depend on none
        key = (each.target, *(getattr(each.conditions, name) for name in Conditions.MUST_AGREE if name != _OF_ENERGY))
        groups.setdefault(key, []).append(each)
    return [_setting(group) for group in groups.values()]


def _setting(group: Sequence[Measurement]) -> Setting:
    first = group[0].conditions
    loads = [each.conditions.load_before for each in group if each.conditions.load_before is not None]
    temperatures = [each.conditions.temperature_after_c for each in group if each.conditions.temperature_after_c]
    starts = sorted(each.started_at for each in group if each.started_at)
    facts: Mapping[str, object] = {
        "host": first.host,
        "CPU": first.cpu,
        "architecture": first.arch,
        "system": first.os,
        "runtime": f"{first.runtime} {first.runtime_version}".strip(),
        "threads": first.threads,
        "cores": first.cores,
        "batch": first.batch,
        "tokens": first.length,
        "delegate": first.delegate,
        "governor": first.governor,
        "warm-up": _several(
            {True: "until steady", False: "until its time was up"}[each.conditions.steady]
            for each in group
            if each.conditions.steady is not None
        ),
        "load before": _span([f"{load:.2f}" for load in sorted(loads)]),
        "throttled before": _several(each.conditions.throttled_before for each in group),
        "throttled after": _several(each.conditions.throttled_after for each in group),
        "°C after": _span([f"{each:.0f}" for each in sorted(temperatures)]),
        "energy by": _several(name_of(source) for each in group if (source := each.conditions.energy_source)),
        "tainted": first.tainted,
        "read from": first.source and f"{first.source}; it does not prove the file",
        "target's clock": _clock(first.clock_ratio),
        **{
            basis: _several(each.metric.replace("_", " ") for each in group if each.basis == basis)
            for basis in ("measured", "emulated", "estimated")
        },
        "files": len({each.model_sha256 for each in group}),
        "started (UTC)": _span([start.replace("T", " ").removesuffix("Z").removesuffix("+00:00") for start in starts]),
    }
    title = f"{group[0].target}: {first.runtime}" if first.runtime else group[0].target
    return Setting(
        title=title, facts=tuple((key, str(value)) for key, value in facts.items() if value not in (None, ""))
    )


def _clock(ratio: float | None) -> str:
    return "" if ratio is None else f"{abs(100 * (ratio - 1)):.2f} % {'fast' if ratio > 1 else 'slow'}"


def _span(ordered: Sequence[str]) -> str:
    if not ordered:
        return ""
    return ordered[0] if ordered[0] == ordered[-1] else f"{ordered[0]} to {ordered[-1]}"


def _several(values: Iterable[str | None]) -> str:
    return ", ".join(dict.fromkeys(value for value in values if value))
