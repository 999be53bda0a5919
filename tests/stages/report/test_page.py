"""The page of a run with all that distillation in full leaves, as text and in a browser."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgekd.records import Correction, Finding, Measurement, Run, Stretch
from edgekd.stages.report import report

Make = Callable[[], Run]


def words(html: str) -> str:
    """The text outside of styles and scripts."""
    body = re.sub(r"<(style|script)\b.*?</\1>", " ", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<wbr>", "", body).replace("<", " <").split())


def plain(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", words(html)).split())


def written(run: Run, folder: Path) -> tuple[dict[str, Any], str]:
    made = report(run, folder=folder)
    return json.loads(made.json_path.read_text()), made.html_path.read_text(encoding="utf-8")


def test_the_page_says_what_distilling_was_worth(distilled: Make, tmp_path: Path) -> None:
    _, html = written(distilled(), tmp_path)
    text = plain(html)
    assert "Distilling gained 1.40 pt (0.74 to 2.06; 3 seeds, paired t) and recovered 25 %" in text
    assert "with teachers 3 88.90 % 88.60 to 89.30 %" in text
    assert "without 3 87.50 % 87.20 to 87.80 %" in text
    assert "Gain 3 pairs 1.40 pt 0.74 to 2.06 pt" in text
    assert "Share of the gap to teacher-0 recovered 3 pairs 25.00 % 13.47 to 36.83 %" in text
    assert "control without teachers, 3 seeds, torch, fp32" in text


def test_the_page_says_what_the_teachers_are(distilled: Make, tmp_path: Path) -> None:
    text = plain(written(distilled(), tmp_path)[1])
    assert "In steps: teacher-0, teacher-1 → teaches assistant-0 → teaches student" in text
    assert "all together mean of logits; disagree on 4.23 % \N{EN DASH} 94.10 % accuracy" in text
    assert text.count("16 of 100") == 3  # the assistant's cache is one, not one a seed
    assert "45 000 8 36.0 MB 100 B bfloat16 0.0123" in text.replace("\u202f", " ")


def test_a_loss_that_hardly_counts_is_warned_of(distilled: Make, tmp_path: Path) -> None:
    content, html = written(distilled(), tmp_path)
    assert "Warning: hint has 0.27 % of the gradient of student, below 1 %" in plain(html)
    assert "cross_entropy 20.1 % 10.6 % to 29.4 % 17.3 % 0.1" in plain(html)
    assert [each["term"] for each in content["balance"] if each["warning"]] == ["hint", "hint"]


def test_json_holds_the_gain_and_what_it_is_computed_from(distilled: Make, tmp_path: Path) -> None:
    run = distilled()
    content, _ = written(run, tmp_path)
    assert content["edgekd_report"] == 3
    assert content["gain"]["gain"]["value"] == pytest.approx(0.014)
    assert len(content["gain"]["scores"]) == 6
    assert content["teachings"]["assistant-0"]["ensemble_score"] == 0.941
    # A student that is there as what ships and as a seed is summed up as both.
    assert {each["model"] for each in content["metrics"]} == {each.model for each in run.measurements}


def test_sections_with_nothing_to_say_are_left_out(distilled: Make, tmp_path: Path) -> None:
    run = distilled()
    alone = tuple(each for each in run.measurements if each.role == "student")
    history = {"student": tuple(replace(each, terms=()) for each in run.histories["student-seed-1"])}
    text = plain(written(replace(run, measurements=alone, teachings={}, histories=history), tmp_path)[1])
    for heading in ("What distilling gained", "Balance of losses", "In steps"):
        assert heading not in text


def test_without_a_control_the_section_says_so(distilled: Make, tmp_path: Path) -> None:
    run = distilled()
    kept = tuple(each for each in run.measurements if each.role in ("teacher", "student"))
    text = plain(written(replace(run, measurements=kept), tmp_path)[1])
    assert "No control was trained: set distill.control = true to know what distilling gained." in text
    assert "Seed by seed" not in text
    assert "Lowest to highest" not in text


def test_hostile_names_stay_text(distilled: Make, tmp_path: Path) -> None:
    bad = "</script><img src=x onerror=alert(1)>"
    run = distilled()
    teachings = {
        bad + name: replace(
            each,
            combine="logits",
            scores={bad + teacher: score for teacher, score in each.scores.items()},
            caches=tuple(replace(facts, teacher=bad, precision=bad) for facts in each.caches),
        )
        for name, each in run.teachings.items()
    }
    histories = {
        bad + name: tuple(
            replace(each, terms=tuple(replace(term, name=bad + term.name) for term in each.terms)) for each in records
        )
        for name, records in run.histories.items()
    }
    measurements = tuple(replace(each, model=bad + each.model) for each in run.measurements)
    _, html = written(replace(run, teachings=teachings, histories=histories, measurements=measurements), tmp_path)
    assert "<img src=x" not in html
    assert html.lower().count("</script>") == 3  # the data, Vega and the page's own code
    assert "Distilling gained 1.40 pt" in html
    assert html.count("&lt;img src=x") > 10


def test_other_metrics_have_their_own_names(distilled: Make, tmp_path: Path) -> None:
    run = distilled()
    errors = tuple(
        replace(each, metric="mean_squared_error", samples=tuple(2.5 - sample for sample in each.samples))
        for each in run.measurements
    )
    histories = {
        name: tuple(replace(each, metric="mean_squared_error") for each in records)
        for name, records in run.histories.items()
    }
    text = plain(written(replace(run, measurements=errors, histories=histories), tmp_path)[1])
    assert "Distilling lowered the mean squared error by 0.014 (0.00743 to 0.0206; 3 seeds, paired t)" in text
    assert "Mean squared error against size, latency and memory" in text
    assert "Accuracy" not in text


def test_equal_runs_give_equal_bytes(distilled: Make, tmp_path: Path) -> None:
    one, two = (report(distilled(), folder=tmp_path / name) for name in ("a", "b"))
    assert one.html_path.read_bytes() == two.html_path.read_bytes()
    assert one.json_path.read_bytes() == two.json_path.read_bytes()


@pytest.mark.parametrize("width", [360, 1200])
def test_a_browser_draws_every_chart(width: int, distilled: Make, open_tab: Callable[..., Any]) -> None:
    long_run = Measurement(
        model_sha256="",
        model="m.tflite",
        format="tflite",
        precision="fp32",
        role="student",
        target="pi",
        metric="sustained_latency",
        unit="s",
        samples=(0.012,) * 50,
        warmup=(0.010,) * 50,
        course=tuple(Stretch(start_s=second, samples=(0.01 + second / 1e4, 0.011)) for second in range(10)),
    )
    run = distilled()
    tab = open_tab(replace(run, measurements=(*run.measurements, long_run)), width=width)
    plots = tab.page.evaluate("[...document.querySelectorAll('.plot')].map((each) => [each.id, each.dataset.drawn])")
    names = ("frontier", "gain", "score", "loss", "balance", "sustained-0")
    assert plots == [[f"chart-{name}", "yes"] for name in names]
    assert tab.complaints == []


def test_the_page_says_what_lint_found_and_what_corrections_were_worth(distilled: Make, tmp_path: Path) -> None:
    found = Finding(
        rule="hybrid_operator",
        severity="error",
        target="cortex-m4",
        what="CONV_2D takes float data and <int8> weights",
        next_step="export it as static_wi8_ai8",
        operator="CONV_2D",
        layer="stem/conv",
        model="student.dynamic_wi8_afp32.tflite",
    )
    corrections = (
        Correction(precision="static_wi8_ai8", name="equalization", before=0.2, after=0.31, kept=False),
        Correction(precision="static_wi8_ai8", name="bias_correction", before=0.2, after=0.0456, kept=True),
    )
    content, html = written(replace(distilled(), findings=(found,), corrections=corrections), tmp_path)
    text = plain(html)
    assert "error student.dynamic_wi8_afp32.tflite cortex-m4 hybrid_operator stem/conv CONV_2D" in text
    assert "&lt;int8&gt; weights export it as static_wi8_ai8" in text
    assert "static_wi8_ai8 equalization 20 % 31 % left out" in text
    assert "static_wi8_ai8 bias_correction 20 % 4.56 % kept" in text
    assert [each["after"] for each in content["corrections"]] == [0.31, 0.0456]
    assert content["findings"][0]["layer"] == "stem/conv"
    _, html = written(distilled(), tmp_path)
    assert 'id="lint"' not in html
    assert 'id="corrections"' not in html


@pytest.mark.slow
def test_vega_s_text_is_what_its_library_makes() -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, root / "tools" / "vega", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
