"""What language models cost by the token: how fast they read a prompt and write on, and the memory of long texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from edgekd.records import Measurement
from edgekd.stages.report.charts import COLOURS, Chart, Spec, axis_unit, specification, thinned
from edgekd.stages.report.summary import Figure, joined, summarise
from edgekd.units import human

_OF_TOKENS = ("prefill_rate", "decode_rate", "time_to_first_token", "context_memory", "perplexity", "bits_per_byte")
_SERIES = len(COLOURS)


@dataclass(frozen=True, kw_only=True)
class LanguageRow:
    """A language model's file on a target.

    Attributes:
        perplexity: On the test texts, by the file itself; so are `bits_per_byte`.
        first: Median time to the first token by length of the prompt, in s.
        prefill: Median rate at which a prompt is read, by its length, in tokens/s.
        decode: Median rate of single tokens after it, with its interval.
        memory: Peak with so many tokens in the cache, in B.
    """

    model: str
    target: str
    perplexity: Figure | None = None
    bits_per_byte: Figure | None = None
    first: dict[str, Figure]
    prefill: dict[str, Figure]
    decode: dict[str, Figure]
    memory: dict[str, Figure]
    tainted: str = ""


def language_rows(measurements: Sequence[Measurement]) -> tuple[LanguageRow, ...]:
    """Find what was measured of language models that write texts."""
    found = [each for each in joined(measurements) if each.metric in _OF_TOKENS and each.samples]
    places: dict[tuple[str, str], dict[str, Measurement]] = {}
    for each in found:
        places.setdefault((each.model, each.target), {})[each.metric] = each
    return tuple(
        LanguageRow(
            model=model,
            target=target,
            perplexity=_score(there.get("perplexity")),
            bits_per_byte=_score(there.get("bits_per_byte")),
            first=_by_part(there.get("time_to_first_token")),
            prefill=_by_part(there.get("prefill_rate")),
            decode=_by_part(there.get("decode_rate")),
            memory=_by_part(there.get("context_memory")),
            tainted=next((each.conditions.tainted for each in there.values() if each.conditions.tainted), ""),
        )
        for (model, target), there in places.items()
        if there.keys() & {"decode_rate", "context_memory"}
    )


def language_lines(measurements: Sequence[Measurement]) -> tuple[str, ...]:
    """Say how fast each language model is on each target, a line each.

    >>> rate = Measurement(model_sha256="", model="m.onnx", format="onnx", precision="fp32", role="student",
    ...                    target="pi", metric="decode_rate", unit="tokens/s", samples=(20.0, 22.0), parts=("16", "16"))
    >>> language_lines([rate])
    ('m.onnx on pi writes 21 tokens/s after 16 tokens',)
    """
    lines = []
    for row in language_rows(measurements):
        said = [f"writes {human(rate.value, 'tokens/s')} after {length} tokens" for length, rate in row.decode.items()]
        said += [
            f"reads {length} tokens in {human(first.value, 's')} ({human(row.prefill[length].value, 'tokens/s')})"
            for length, first in row.first.items()
            if length in row.prefill
        ]
        if row.memory:
            length, memory = list(row.memory.items())[-1]
            said.append(f"takes {human(memory.value, 'B')} with {length} tokens")
        if row.perplexity:
            said.append(f"has a perplexity of {row.perplexity.value:.4g}")
        lines.append(f"{row.model} on {row.target} {', '.join(said)}" + (", tainted" if row.tainted else ""))
    return tuple(lines)


def language_charts(rows: Sequence[LanguageRow]) -> list[Chart]:
    """Plot memory over the length of the text, one chart a target."""
    charts = []
    for index, target in enumerate(dict.fromkeys(row.target for row in rows)):
        files = [row for row in rows if row.target == target and len(row.memory) > 1]
        if files:
            charts.append(
                Chart(
                    name=f"context-memory-{index}",
                    title=f"Memory over the length of the text on {target}",
                    caption="Peak resident memory that a file added to its process, with so many tokens in its cache.",
                    options=(("memory", _spec(thinned(files, _SERIES), target)),),
                )
            )
    return charts


def _spec(files: Sequence[LanguageRow], target: str) -> Spec:
    factor, unit = axis_unit([figure.value for row in files for figure in row.memory.values()], "B")
    points = [
        {"length": int(length), "memory": float(f"{figure.value / factor:.5g}"), "file": row.model}
        for row in files
        for length, figure in row.memory.items()
    ]
    names = [row.model for row in files]
    y_title = f"memory ({unit})"
    return specification(
        f"Memory over the length of the text on {target}",
        240,
        data={"values": points},
        mark={"type": "line", "point": True, "strokeWidth": 1.8},
        encoding={
            "x": {"field": "length", "type": "quantitative", "title": "tokens in the cache"},
            "y": {"field": "memory", "type": "quantitative", "title": y_title, "scale": {"zero": True}},
            "color": {
                "field": "file",
                "type": "nominal",
                "title": None,
                "scale": {"domain": names, "range": COLOURS[: len(names)]},
            },
            "tooltip": [
                {"field": "file", "type": "nominal", "title": "file"},
                {"field": "length", "type": "quantitative", "title": "tokens"},
                {"field": "memory", "type": "quantitative", "title": y_title, "format": ".4~g"},
            ],
        },
    )


def _score(measurement: Measurement | None) -> Figure | None:
    return summarise(measurement).figure if measurement else None


def _by_part(measurement: Measurement | None) -> dict[str, Figure]:
    """Of each length, the median with its interval where there are samples enough for one."""
    if measurement is None:
        return {}
    found = {}
    for part in sorted(set(measurement.parts), key=_number):
        samples = tuple(_of(part, measurement))
        alone = replace(measurement, samples=samples, parts=(part,) * len(samples), warmup=())
        conditions = measurement.conditions
        found[part] = summarise(alone).figure or Figure(
            value=median(samples), samples=len(samples), basis=measurement.basis, tainted=conditions.tainted
        )
    return found


def _of(part: str, measurement: Measurement) -> Iterable[float]:
    return (sample for sample, each in zip(measurement.samples, measurement.parts, strict=True) if each == part)


def _number(part: str) -> int:
    return int(part) if part.isdigit() else 0
