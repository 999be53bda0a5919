"""What the report says of a file on other kernels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from edgekd.records import Conditions, Measurement, Run
from edgekd.stages.report import report
from edgekd.stages.report.kernels import KernelRow, kernel_rows

FIRST = Measurement(
    model_sha256="ab",
    model="student.static_wi8_ai8.tflite",
    format="tflite",
    precision="static_wi8_ai8",
    role="student",
    target="arm64-emulated",
    metric="kernel_parity",
    unit="1",
    samples=(1.0, 1.0, 0.0),
    conditions=Conditions(runtime="litert", runtime_version="2.3.0", arch="aarch64"),
)
FOUND = (
    FIRST,
    replace(FIRST, metric="kernel_bit_equal", samples=(1.0, 0.0, 0.0)),
    replace(FIRST, metric="kernel_max_error", samples=(0.125,)),
)


def test_a_row_is_one_file_on_one_target() -> None:
    expected = KernelRow(
        model="student.static_wi8_ai8.tflite",
        target="arm64-emulated",
        runtime="litert 2.3.0",
        samples=3,
        agreeing=2,
        bit_equal=1,
        max_error=0.125,
    )
    assert kernel_rows((replace(FIRST, metric="latency", unit="s"), *FOUND)) == (expected,)


def test_the_page_has_a_section_where_kernels_were_compared(tmp_path: Path) -> None:
    made = report(Run(name="run", folder=tmp_path, recipe="", measurements=FOUND), folder=tmp_path)
    html = made.html_path.read_text(encoding="utf-8")
    assert 'id="kernels"' in html
    assert '<td class="n">2 of 3</td><td class="n">1 of 3</td>' in html
    assert json.loads(made.json_path.read_text())["kernels"][0]["max_error"] == 0.125
    made = report(Run(name="run", folder=tmp_path, recipe=""), folder=tmp_path)
    assert 'id="kernels"' not in made.html_path.read_text(encoding="utf-8")
