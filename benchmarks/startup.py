"""Seconds of `--help`, `gate` and a run with nothing to do, the first beside `python -c "import numpy"`, in pairs."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from recipe_results import run_recipe
from results_file import Results


def main() -> None:
    """Time pairs of processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three pairs")
    quick = parser.parse_args().quick
    results = Results("startup", quick=quick, fresh=True)
    folder = Path("runs") / "benchmarks" / "startup"
    short = ("teachers.0.train.epochs=1", "distill.epochs=1")
    run_recipe("digits", folder, *short)
    for pair in range(3 if quick else 20):
        results.add(
            pair=pair,
            help_s=seconds("-m", "edgekd", "--help"),
            numpy_s=seconds("-c", "import numpy"),
            gate_s=seconds("-m", "edgekd", "gate", str(folder), codes=(0, 1, 4)),
            nothing_to_do_s=run_recipe("digits", folder, *short)[1],
        )
    ratios = sorted(run["help_s"] / run["numpy_s"] for run in results.runs)
    median = statistics.median(ratios)
    results.claim("help_over_numpy", median, "x", bound="at most 4", holds=median <= 4, low=ratios[0], high=ratios[-1])
    idle = sorted(run["nothing_to_do_s"] for run in results.runs)
    results.claim(
        "nothing_to_do", idle[-1], "s, the slowest", bound="below 3", holds=idle[-1] < 3, low=idle[0], high=idle[-1]
    )
    gate = sorted(run["gate_s"] for run in results.runs)
    results.claim("gate", statistics.median(gate), "s", low=gate[0], high=gate[-1])


def seconds(*arguments: str, codes: tuple[int, ...] = (0,)) -> float:
    """Time a Python process."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=False)
    taken = time.perf_counter() - started
    if done.returncode not in codes:
        raise SystemExit(f"{arguments} ended with {done.returncode}")
    return taken


if __name__ == "__main__":
    main()
