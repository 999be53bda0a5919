"""The page: what it says comes from the comparison, how it looks from the template beside this module."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markupsafe import Markup

from edgekd.records import Check, Conditions, Measurement, Run
from edgekd.stages.report.balance import balance_chart, balances
from edgekd.stages.report.charts import Chart
from edgekd.stages.report.comparison import summary_rows
from edgekd.stages.report.dots import gain_chart
from edgekd.stages.report.energy import energy_lines, energy_rows, name_of
from edgekd.stages.report.gain import arms_of, gain_lines, gain_of
from edgekd.stages.report.kernels import kernel_rows
from edgekd.stages.report.latency import latencies
from edgekd.stages.report.layers import layer_chart, layer_tables, parted_lines
from edgekd.stages.report.mixed import mixed_chart, mixed_lines, mixed_tables
from edgekd.stages.report.quality import label_of, primary_metric
from edgekd.stages.report.rounding import rounding_lines, rounding_of
from edgekd.stages.report.sustained import long_runs, sustained_charts
from edgekd.stages.report.taint import taint_lines
from edgekd.stages.report.teachers import chain_of, lessons_of
from edgekd.stages.report.tradeoff import tradeoff
from edgekd.stages.report.training import training
from edgekd.stages.report.words import FILTERS, capitalised
from edgekd.units import METRICS
from edgekd.verdict import describe_budget, verdict_of

_HERE = Path(__file__).parent
# Of one metric only: it makes no setting of its own.
_OF_ENERGY = "energy_source"
_COMBINED = {
    "logits": "mean of logits",
    "probabilities": "mean of probabilities",
    "confidence": "mean of probabilities, weighted by confidence",
}
_STATUS_WORDS = {
    "pass": "Pass",
    "fail": "Fail",
    "inconclusive": "Inconclusive",
    "unmeasured": "Unmeasured",
}


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Where observed value, interval and limit stand on a line, in percent of its width."""

    observed: float
    low: float
    high: float
    limit: float

    @property
    def start(self) -> float:
        """Left end of the stretch between observed value and limit."""
        return min(self.observed, self.limit)

    @property
    def width(self) -> float:
        """Length of that stretch."""
        return abs(self.observed - self.limit)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Conditions that measurements share, in words, with what was measured under them."""

    title: str
    facts: tuple[tuple[str, str], ...]


def render(run: Run) -> str:
    """Write the whole page of a run as HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    rows, gain, rounding = summary_rows(run), gain_of(run), rounding_of(run)
    lessons = lessons_of(run, rows)
    drawn: dict[str, Sequence[Chart]] = {
        "tradeoff": [chart] if (chart := tradeoff(rows)) else [],
        "gain": [chart] if (chart := gain_chart(gain)) else [],
        "training": training(run.histories),
        "balance": [chart] if (chart := balance_chart(run.histories)) else [],
        "layers": [chart] if (chart := layer_chart(run.layers)) else [],
        "mixed": [chart] if (chart := mixed_chart(run.mixed)) else [],
        "latency": latencies(run.measurements, rows),
        "sustained": sustained_charts(run.measurements),
    }
    every = [chart for group in drawn.values() for chart in group]
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    return environment.get_template("page.html.j2").render(
        run=run,
        verdict=verdict_of(run),
        status_words=_STATUS_WORDS,
        checks=[
            (check, describe_budget(check.budget), bar_of(check))
            for check in (run.release.checks if run.release else ())
        ],
        rows=rows,
        title=capitalised(label_of(rows[0].metric if rows else primary_metric(()))),
        pooled=any(row.seeds > 1 for row in rows),
        rounding=rounding,
        rounding_sentences=rounding_lines(rounding) if rounding else (),
        gain=gain,
        sentences=gain_lines(gain) if gain else (),
        arms=arms_of(gain) if gain else (),
        lessons=lessons,
        combined=_COMBINED,
        steps=chain_of(lessons),
        caches=list(dict.fromkeys(cache for lesson in lessons for cache in lesson.teaching.caches)),
        balances=balances(run.histories),
        layer_tables=layer_tables(run.layers),
        parted=parted_lines(run.layers),
        kernels=kernel_rows(run.measurements),
        mixed_tables=mixed_tables(run.mixed),
        mixed=mixed_lines(run.mixed),
        energies=energy_rows(run.measurements),
        energy_lines=energy_lines(run.measurements),
        long_runs=long_runs(run.measurements),
        tainted=taint_lines(run.measurements),
        emulated=sorted({each.basis for each in run.measurements} - {"measured"}),
        drawn=drawn,
        settings=settings_of(run.measurements),
        parents={model.sha256: model.name for model in run.models},
        style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),  # noqa: S704  (our own file)
        script=_script((_HERE / "page.js").read_text(encoding="utf-8")),
        library=_script(_library()) if every else "",
        chart_data=_script_json(
            [{"name": chart.name, "specs": [spec for _, spec in chart.options]} for chart in every]
        ),
    )


# --- what goes into script elements --------------------------------------------------------------


@cache
def _library() -> str:
    # Vega, Vega-Lite and Vega-Embed in one text; made by a JavaScript engine that takes seconds to start.
    import vl_convert

    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))


def _script(code: str) -> Markup:
    """Keep an end tag inside a string or comment of a script from ending the script."""
    return Markup(re.sub("</(?=script)", r"<\\/", code, flags=re.IGNORECASE))  # noqa: S704  (our own and Vega's code)


def _script_json(value: object) -> Markup:
    r"""Write JSON that no HTML parser can take for markup.

    >>> _script_json("</script>")
    Markup('"\\u003c/script\\u003e"')
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704  (markup was escaped just now)


# --- bars and settings ----------------------------------------------------------------------------


def bar_of(check: Check) -> Bar | None:
    """Place observed value, interval and limit on one line; `None` where nothing was observed.

    Sizes and times start at zero; shares don't, because 97 and 98 % would fall together.
    """
    if check.observed is None:
        return None
    low = check.observed if check.low is None else check.low
    high = check.observed if check.high is None else check.high
    smallest, largest = min(low, check.observed, check.limit), max(high, check.observed, check.limit)
    metric = METRICS.get(check.budget.metric)
    if metric and metric.dimension == "share":
        margin = max((largest - smallest) * 0.25, 1e-4)
        start, end = smallest - margin, largest + margin
    else:
        start, end = min(0.0, smallest * 1.1), max(largest * 1.1, 1e-12)

    def place(value: float) -> float:
        return round((value - start) / (end - start) * 100, 2)

    return Bar(observed=place(check.observed), low=place(low), high=place(high), limit=place(check.limit))


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
