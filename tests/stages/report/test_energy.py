"""Energies beside the power that they are of, and of what: in the page, in lines and in the terminal's table."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from edgekd.console import Terminal, measurements_table
from edgekd.records import Conditions, Measurement, Run
from edgekd.stages.report import report, summary_rows
from edgekd.stages.report.energy import energy_lines, energy_rows

SAMPLES = tuple((0.0052 * (1 + np.random.default_rng(0).normal(0, 0.01, 10))).tolist())
PMIC = Conditions(host="pi", runtime="litert", energy_source="pmic", idle_w=1.55, running_w=4.51)
LATENCY = Measurement(
    model_sha256="5e1f",
    model="m.tflite",
    format="tflite",
    precision="fp32",
    role="student",
    target="pi",
    metric="latency",
    unit="s",
    samples=(0.00115,) * 100,
    conditions=replace(PMIC, energy_source=None, idle_w=None, running_w=None),
)
ENERGY = replace(LATENCY, metric="energy", unit="J", samples=SAMPLES, conditions=PMIC)


def run_of(*measurements: Measurement) -> Run:
    return Run(name="energy", folder=Path(), recipe="", measurements=measurements)


def plain(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html.replace("<wbr>", "")).split())


def test_a_row_holds_mean_and_interval_and_both_powers() -> None:
    (row,) = energy_rows([LATENCY, ENERGY])
    assert row.energy.value == pytest.approx(np.mean(SAMPLES))
    assert row.energy.low is not None
    assert row.energy.high is not None
    # Of samples that are hardly skewed it is Student's.
    low, high = scipy.stats.t.interval(0.95, 9, np.mean(SAMPLES), scipy.stats.sem(SAMPLES))
    assert (row.energy.low, row.energy.high) == pytest.approx((low, high), rel=2e-3)
    assert (row.idle_w, row.running_w, row.source) == (1.55, 4.51, "pmic")
    (summary,) = summary_rows(run_of(LATENCY, ENERGY))
    (line,) = summary.targets  # the source of an energy is no other condition of the latency
    assert line.energy == row.energy
    assert line.detail == ""


def test_each_source_of_each_target_is_a_line() -> None:
    other = replace(ENERGY, model_sha256="0", model="n.tflite", conditions=replace(PMIC, running_w=3.9))
    rapl = Conditions(energy_source="rapl", idle_w=8.0, running_w=21.5)
    host = replace(ENERGY, target="host", conditions=rapl)
    unknown = replace(ENERGY, target="desk", conditions=Conditions(energy_source="wall meter"))
    assert energy_lines([LATENCY, ENERGY, other, host, unknown]) == (
        (
            "energy on pi is told by the power chip of the Raspberry Pi 5: the rails behind it, without USB, "
            "what else is on the 5 V input, and its own losses; "
            "1.55 W idle before, 3.9 W to 4.51 W running, nothing is subtracted"
        ),
        (
            "energy on host is told by the RAPL counters of the processor: "
            "its packages, without memory and the rest of the machine; "
            "8 W idle before, 21.5 W running, nothing is subtracted"
        ),
        (
            "energy on desk is told by another source (wall meter): nobody said what it sees; "
            "an unknown power idle before, an unknown power running, nothing is subtracted"
        ),
    )
    assert energy_lines([LATENCY]) == ()


def test_the_page_marks_energy_as_what_it_is(tmp_path: Path) -> None:
    tainted = replace(ENERGY, model_sha256="0", model="hot.tflite", conditions=replace(PMIC, tainted="throttled"))
    made = report(run_of(LATENCY, ENERGY, tainted), folder=tmp_path)
    html = made.html_path.read_text(encoding="utf-8")
    section = html[html.index('<section aria-labelledby="energy">') :].partition("</section>")[0]
    cells = plain(section)
    assert re.search(r"m\.tflite pi 5\.2\d? mJ 5\.\d+ to 5\.\d+ mJ 4\.51 W 1\.55 W", cells)
    assert re.search(r"hot\.tflite pi 5\.2\d? mJ 5\.\d+ to 5\.\d+ mJ tainted 4\.51 W 1\.55 W", cells)
    assert "Energy on pi is told by the power chip of the Raspberry Pi 5: the rails behind it, without USB" in cells
    settings = re.findall(r'<div class="card">.*?</div>', html, re.DOTALL)
    assert len([each for each in settings if "energy by" in each]) == len(settings) == 2  # one of them is tainted
    report(run_of(LATENCY), folder=tmp_path)
    assert 'id="energy"' not in made.html_path.read_text(encoding="utf-8")


def test_the_terminal_has_a_column_where_there_is_an_energy(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().print(measurements_table([LATENCY, ENERGY]))
    _, columns, row, _, line = capsys.readouterr().out.splitlines()
    assert "energy" in columns.split()
    assert re.search(r" 5\.2\d? mJ", row)
    assert line.startswith("energy on pi is told by the power chip")
    Terminal().print(measurements_table([LATENCY]))
    assert "energy" not in capsys.readouterr().out
