"""What learning with rounding gained, against counting, and what the page and the terminal say of it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from edgekd.records import Measurement, QuantizationOutcome, Role, Run
from edgekd.stages.report import report, summary_rows, worth_lines
from edgekd.stages.report.rounding import rounding_lines, rounding_of

SAMPLES = 1000
OUTCOME = QuantizationOutcome(
    precision="static_wi8_ai8",
    metric="accuracy",
    float_score=0.95,
    calibrated_score=0.90,
    trained_score=0.94,
    kept=True,
    ranges={"input": (0.0, 1.0)},
)


def measured(name: str, right: int, role: Role = "simulated", metric: str = "accuracy") -> Measurement:
    samples = np.zeros(SAMPLES)
    samples[:right] = 1
    return Measurement(
        model_sha256=name,
        model=name,
        format="torch",
        precision="static_wi8_ai8",
        role=role,
        target="training",
        metric=metric,
        unit="1",
        samples=tuple(samples.tolist()),
    )


RUN = Run(
    name="run",
    folder=Path(),
    recipe="",
    measurements=(
        measured("student", 930, "student"),
        measured("student-calibrated", 900),
        measured("student-quantized", 925),
        measured("student-calibrated", 3, metric="f1"),
    ),
    quantization=OUTCOME,
)


def test_the_gain_is_that_of_paired_test_samples() -> None:
    found = rounding_of(RUN)
    assert found is not None
    assert (found.calibrated, found.trained, found.samples) == (0.9, 0.925, SAMPLES)
    assert found.gain is not None
    assert found.gain.value == pytest.approx(0.025)
    assert found.gain.low is not None
    assert found.gain.high is not None
    # 25 samples that only the trained one has right, none the other way: a normal interval of paired differences.
    error = scipy.stats.sem([1.0] * 25 + [0.0] * 975)
    assert (found.gain.low, found.gain.high) == pytest.approx((0.025 - 1.96 * error, 0.025 + 1.96 * error), abs=3e-3)


def test_what_is_said() -> None:
    first, second = rounding_lines_of(RUN)
    gained = r"gained 2\.50 pt \(1\.\d\d to 3\.\d\d; 1000 test samples, in torch\) over calibration alone"
    assert re.fullmatch(rf"learning with the rounding of static_wi8_ai8 {gained}", first)
    assert second == "validation accuracy 94.00 %, by calibration alone 90.00 %"
    assert worth_lines(RUN)[-1] == first
    worse = replace(RUN, measurements=(measured("student-calibrated", 925), measured("student-quantized", 900)))
    assert "lost 2.50 pt (1." in rounding_lines_of(worse)[0]
    left_out = replace(RUN, quantization=replace(OUTCOME, kept=False, trained_score=0.85))
    (only,) = rounding_lines_of(replace(left_out, measurements=RUN.measurements[:2]))
    assert only == (
        "learning with the rounding of static_wi8_ai8 did not help: validation accuracy 85.00 %, by calibration alone "
        "90.00 %"
    )
    unmeasured = replace(RUN, measurements=())
    assert rounding_lines_of(unmeasured) == (
        "learning with the rounding of static_wi8_ai8: validation accuracy 94.00 %, by calibration alone 90.00 %",
    )
    errors = replace(OUTCOME, metric="mean_squared_error", calibrated_score=0.5, trained_score=0.25)
    assert (
        "validation mean squared error 0.25, by calibration alone 0.5"
        in rounding_lines_of(replace(unmeasured, quantization=errors))[0]
    )
    assert rounding_of(replace(RUN, quantization=None)) is None


def rounding_lines_of(run: Run) -> tuple[str, ...]:
    found = rounding_of(run)
    assert found is not None
    return rounding_lines(found)


def test_what_was_only_simulated_is_no_file(tmp_path: Path) -> None:
    assert [row.model for row in summary_rows(RUN)] == ["student"]
    html = report(RUN, folder=tmp_path).html_path.read_text()
    section = html.partition('<h2 id="rounding">')[2].partition("</section>")[0]
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", section)
    assert cells == ["95.00 %", "\N{EN DASH}", "90.00 %", "90.00 %", "94.00 %", "92.50 %"]
    none = report(replace(RUN, quantization=None), folder=tmp_path).html_path.read_text()
    assert 'id="rounding"' not in none
