"""The story of docs/guides/failed-release.md, run for real: a release that fails, is diagnosed, mended, and passes.

Each command runs as people run it, in a folder of its own; what they print goes into the guide (tools/readme).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from results_file import Results

from edgekd.pipeline import open_run
from edgekd.stages.report.layers import parted_lines

WORK = Path("runs") / "benchmarks" / "failed-release"
# 539 test samples, and 200 on the emulated chip, prove no half a point.
BASELINE = "--baseline .edgekd/baseline.json --tolerance 'accuracy=2.5 pt'"
TIGHT = "--set export.calibration.method=percentile --set export.calibration.percentile"
COMMANDS = {
    "first": "run digits --out runs/v1",
    "promote": "promote runs/v1",
    "tight": f"run digits --out runs/v2 {TIGHT}=92.0",
    "gate": f"gate runs/v2 {BASELINE}",
    "mended": f"run digits --out runs/v3 {TIGHT}=99.99",
    "open": f"gate runs/v3 {BASELINE}",
    "pass": f"gate runs/v3 {BASELINE}",
    "again": f"promote runs/v3 {BASELINE}",
}
# Of tables, what is no pass; of the rest all from the verdict on.
_VERDICT = re.compile(r"(PASS|FAIL|INCONCLUSIVE|UNMEASURED): ")
_ROW = re.compile(r"(FAIL|open|NONE) +\w")


def main() -> None:
    """Run the story, and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the same; there is no shorter one")
    results = Results("failed_release", quick=parser.parse_args().quick, fresh=True)
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    for name, command in COMMANDS.items():
        if name == "pass":
            compare(results)
        results.add(name=name, **call(command))
        print(name, results.runs[-1]["exit_code"], flush=True)
    results.add(name="layers", output="\n".join(parted_lines(open_run(WORK / "runs" / "v2").layers)))
    codes = [run["exit_code"] for run in results.runs if "exit_code" in run and run["name"] != "compare"]
    expected = [0, 0, 1, 1, 0, 4, 0, 0]
    results.claim("exit_codes", codes == expected, f"{codes}", bound=f"{expected}", holds=codes == expected)


def compare(results: Results) -> None:
    """Run what the gate said would decide: files of which only two sessions tell the latency, in turns."""
    for command in re.findall(r"edgekd (compare .*)", results.runs[-1]["all"]):
        results.add(name="compare", **call(command))


def call(command: str) -> dict[str, Any]:
    """Run a command of edgekd in the story's folder, and keep what it printed."""
    words = [word.strip("'") for word in re.findall(r"'[^']*'|\S+", command)]
    environment = {**os.environ, "COLUMNS": "150", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "edgekd", *words], cwd=WORK, env=environment, capture_output=True, text=True, check=False
    )
    return {
        "command": f"edgekd {command}",
        "exit_code": done.returncode,
        "output": shown(done.stdout),
        "all": done.stdout,
    }


def shown(text: str) -> str:
    """What people look at first: rows that are no pass, and the verdict with its reasons."""
    lines = text.splitlines()
    start = next((at for at, line in enumerate(lines) if _VERDICT.match(line)), 0)
    rows = [line for line in lines[:start] if _ROW.match(line)]
    return "\n".join([*rows, *([""] if rows else []), *lines[start:]])


if __name__ == "__main__":
    main()
