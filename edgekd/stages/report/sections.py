"""All parts of the page below the verdict, in order.

A new one is a module that finds its facts, a function here, and a template `templates/NAME.html.j2`.
"""

from __future__ import annotations

from collections.abc import Callable

from edgekd.stages.report.balance import balance_chart, balances
from edgekd.stages.report.charts import Chart
from edgekd.stages.report.class_charts import class_charts
from edgekd.stages.report.conditions import settings_of
from edgekd.stages.report.dots import gain_chart
from edgekd.stages.report.energy import energy_lines, energy_rows
from edgekd.stages.report.frontier import frontier_of
from edgekd.stages.report.gain import arms_of, gain_lines, gain_of
from edgekd.stages.report.history import history_charts, past_trends
from edgekd.stages.report.kernels import kernel_rows
from edgekd.stages.report.languages import language_charts, language_rows
from edgekd.stages.report.latency import latencies
from edgekd.stages.report.layers import layer_chart, layer_tables, parted_lines
from edgekd.stages.report.mixed import mixed_chart, mixed_lines, mixed_tables
from edgekd.stages.report.operators import profiles_of
from edgekd.stages.report.provenance import origins_of, recipe_hash, tools_of
from edgekd.stages.report.release import leave_of
from edgekd.stages.report.rounding import rounding_lines, rounding_of
from edgekd.stages.report.section import Findings, Section
from edgekd.stages.report.sustained import long_runs, sustained_charts
from edgekd.stages.report.taint import taint_lines
from edgekd.stages.report.teachers import chain_of, lessons_of
from edgekd.stages.report.training import training


def sections_of(found: Findings) -> list[Section]:
    """Make every part that has something to say."""
    return [section for make in _ORDER if (section := make(found))]


def _some(chart: Chart | None) -> list[Chart]:
    return [chart] if chart else []


def _files(found: Findings) -> Section:
    measurements = found.run.measurements
    return Section(
        name="files",
        title="Teacher, student and files",
        facts={
            "rows": found.rows,
            "title": found.metric,
            "pooled": any(row.seeds > 1 for row in found.rows),
            "emulated": sorted({each.basis for each in measurements} - {"measured"}),
            "tainted": taint_lines(measurements),
        },
    )


def _frontier(found: Findings) -> Section:
    frontier = frontier_of(found.rows, found.run.release)
    scored = not found.rows or any(row.score for row in found.rows)
    return Section(
        name="frontier",
        title=f"{found.metric} against size, latency and memory" if scored else "Files by size, latency and memory",
        facts={"frontier": frontier},
        data={"frontier": frontier.data} if frontier else {},
    )


def _release(found: Findings) -> Section | None:
    leave = leave_of(found.run.release)
    if leave is None:
        return None
    title = "Waivers and the last release" if leave.waivers and leave.baseline else ""
    return Section(
        name="release",
        title=title or ("Waivers" if leave.waivers else "Against the last release"),
        facts={"leave": leave},
    )


def _classes(found: Findings) -> Section | None:
    if found.classes is None:
        return None
    return Section(
        name="classes",
        title="Classes",
        facts={"classes": found.classes},
        charts=class_charts(found.classes.files),
    )


def _rounding(found: Findings) -> Section | None:
    rounding = rounding_of(found.run)
    if rounding is None:
        return None
    return Section(
        name="rounding",
        title="What learning with rounding gained",
        facts={"rounding": rounding, "rounding_sentences": rounding_lines(rounding)},
    )


def _gain(found: Findings) -> Section | None:
    gain = gain_of(found.run)
    if gain is None:
        return None
    return Section(
        name="gain",
        title="What distilling gained",
        facts={"gain": gain, "sentences": gain_lines(gain), "arms": arms_of(gain), "title": found.metric},
        charts=_some(gain_chart(gain)),
    )


def _teachers(found: Findings) -> Section | None:
    lessons = lessons_of(found.run, found.rows)
    if not lessons:
        return None
    return Section(
        name="teachers",
        title="Teachers",
        facts={
            "lessons": lessons,
            "steps": chain_of(lessons),
            "caches": list(dict.fromkeys(cache for lesson in lessons for cache in lesson.teaching.caches)),
        },
    )


def _training(found: Findings) -> Section:
    return Section(name="training", title="Training", charts=training(found.run.histories))


def _balance(found: Findings) -> Section | None:
    terms = balances(found.run.histories)
    if not terms:
        return None
    return Section(
        name="balance",
        title="Balance of losses",
        facts={"balances": terms},
        charts=_some(balance_chart(found.run.histories)),
    )


def _kernels(found: Findings) -> Section | None:
    kernels = kernel_rows(found.run.measurements)
    return (
        Section(name="kernels", title="The same files on other kernels", facts={"kernels": kernels})
        if kernels
        else None
    )


def _layers(found: Findings) -> Section | None:
    layers = found.run.layers
    tables = layer_tables(layers)
    if not tables:
        return None
    return Section(
        name="layers",
        title="Layers of the files",
        facts={"layer_tables": tables, "parted": parted_lines(layers)},
        charts=_some(layer_chart(layers)),
    )


def _mixed(found: Findings) -> Section | None:
    tables = mixed_tables(found.run.mixed)
    if not tables:
        return None
    return Section(
        name="mixed",
        title="Mixed precision",
        facts={"mixed_tables": tables, "mixed": mixed_lines(found.run.mixed)},
        charts=_some(mixed_chart(found.run.mixed)),
    )


def _corrections(found: Findings) -> Section | None:
    corrections = found.run.corrections
    if not corrections:
        return None
    return Section(name="corrections", title="What corrections were worth", facts={"corrections": corrections})


def _lint(found: Findings) -> Section | None:
    return Section(name="lint", title="Lint", facts={"findings": found.run.findings}) if found.run.findings else None


def _latency(found: Findings) -> Section:
    return Section(name="latency", title="Latency, run by run", charts=latencies(found.run.measurements, found.rows))


def _energy(found: Findings) -> Section | None:
    energies = energy_rows(found.run.measurements)
    if not energies:
        return None
    return Section(
        name="energy",
        title="Energy",
        facts={"energies": energies, "energy_lines": energy_lines(found.run.measurements)},
    )


def _languages(found: Findings) -> Section | None:
    rows = language_rows(found.run.measurements)
    if not rows:
        return None
    return Section(name="languages", title="Language models", facts={"languages": rows}, charts=language_charts(rows))


def _sustained(found: Findings) -> Section | None:
    runs = long_runs(found.run.measurements)
    if not runs:
        return None
    return Section(
        name="sustained",
        title="Long runs, start against end",
        facts={"long_runs": runs},
        charts=sustained_charts(runs),
    )


def _operators(found: Findings) -> Section | None:
    profiles = profiles_of(found.run.operators)
    return Section(name="operators", title="Time of operators", facts={"profiles": profiles}) if profiles else None


def _history(found: Findings) -> Section | None:
    gates = found.run.past_gates
    trends = past_trends(gates)
    if not trends:
        return None
    return Section(
        name="history", title="What gates saw before", facts={"trends": trends}, charts=history_charts(gates)
    )


def _conditions(found: Findings) -> Section:
    return Section(
        name="conditions", title="Conditions of measurement", facts={"settings": settings_of(found.run.measurements)}
    )


def _provenance(found: Findings) -> Section:
    return Section(
        name="provenance",
        title="Where it comes from",
        facts={
            "run": found.run,
            "origins": origins_of(found.run),
            "step_tools": tools_of(found.run),
            "recipe_sha256": recipe_hash(found.run),
        },
    )


_ORDER: tuple[Callable[[Findings], Section | None], ...] = (
    _release,
    _frontier,
    _files,
    _classes,
    _rounding,
    _gain,
    _teachers,
    _training,
    _balance,
    _kernels,
    _layers,
    _mixed,
    _corrections,
    _lint,
    _latency,
    _languages,
    _sustained,
    _operators,
    _energy,
    _history,
    _conditions,
    _provenance,
)
