"""Language models in the page, in Markdown and in lines, against what NumPy makes of the same samples."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekd import stats
from edgekd.records import Conditions, Measurement, Run
from edgekd.stages.report import report
from edgekd.stages.report.languages import language_charts, language_lines, language_rows

RATES = tuple((20 + np.random.default_rng(0).uniform(-1, 1, 200)).tolist())
RATE = Measurement(
    model_sha256="5e1f",
    model="m.onnx",
    format="onnx",
    precision="fp32",
    role="student",
    target="pi",
    metric="decode_rate",
    unit="tokens/s",
    samples=RATES,
    parts=("128",) * 100 + ("16",) * 100,
)
FIRST = replace(RATE, metric="time_to_first_token", unit="s", samples=(0.5, 0.6, 0.1), parts=("128", "128", "16"))
PREFILL = replace(RATE, metric="prefill_rate", samples=(256.0, 213.0, 160.0), parts=FIRST.parts)
MEMORY = replace(RATE, metric="context_memory", unit="B", samples=(4e6, 9e6), parts=("128", "512"))
NATS = replace(RATE, metric="perplexity", unit="", samples=(1.2, 1.4, 1.3), labels=(100.0, 100.0, 50.0), parts=())
ALL = (RATE, FIRST, PREFILL, MEMORY, NATS)


def test_a_row_holds_medians_by_length_shortest_first() -> None:
    (row,) = language_rows(ALL)
    assert list(row.decode) == list(row.first) == ["16", "128"]
    assert row.decode["128"].value == pytest.approx(np.median(RATES[:100]))
    assert row.decode["128"].low is not None
    assert row.first["128"].value == pytest.approx(0.55)
    assert row.first["16"].low is None, "one sample says nothing of the spread"
    assert [each.value for each in row.memory.values()] == [4e6, 9e6]
    assert row.perplexity is not None
    assert row.perplexity.value == pytest.approx(stats.perplexity(NATS.samples, NATS.labels))


def test_models_that_write_nothing_have_no_row() -> None:
    assert language_rows([replace(RATE, metric="latency", unit="s", parts=()), NATS]) == ()


def test_a_line_says_it_in_words() -> None:
    (line,) = language_lines([*ALL[:-1], replace(NATS, conditions=Conditions(tainted="throttled"))])
    assert line == (
        f"m.onnx on pi writes {np.median(RATES[100:]):.3g} tokens/s after 16 tokens, "
        f"writes {np.median(RATES[:100]):.3g} tokens/s after 128 tokens, reads 16 tokens in 100.0 ms (160 tokens/s), "
        "reads 128 tokens in 550.0 ms (234 tokens/s), takes 9.0 MB with 512 tokens, has a perplexity of 3.669, tainted"
    )


def test_memory_is_plotted_over_the_length() -> None:
    (chart,) = language_charts(language_rows(ALL))
    ((_, spec),) = chart.options
    points = [(each["length"], each["memory"]) for each in spec["data"]["values"]]
    assert points == [(128, 4.0), (512, 9.0)]
    assert language_charts(language_rows([RATE, replace(MEMORY, samples=(4e6,), parts=("128",))])) == []


def test_the_page_and_its_markdown_have_them(tmp_path: Path) -> None:
    run = Run(name="stories", folder=tmp_path, recipe="", measurements=ALL)
    made = report(run, folder=tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Language models" in html
    assert "550.0 ms" in html
    assert 'id="chart-context-memory-0"' in html
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["name"] == "stories"
    assert made is not None
