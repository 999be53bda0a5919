"""What a recipe's run came to, for the benchmarks that run one."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from edgekd import pipeline
from edgekd.records import Measurement, Model, Run


def run_recipe(recipe: str, folder: Path, *overrides: str) -> tuple[int, float, str]:
    """Run a recipe through the command, as a user would.

    Returns:
        Exit code, seconds, and what it printed.
    """
    settings = [part for override in overrides for part in ("--set", override)]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "edgekd", "run", recipe, "--out", str(folder), *settings],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return done.returncode, time.perf_counter() - started, done.stdout


def figures_of(folder: Path) -> dict[str, Any]:
    """Read a run's figures: status, and size, parameters, accuracy and median latency of every file."""
    opened: Run = pipeline.open_run(folder)
    return {
        "status": opened.release.status if opened.release else None,
        "models": {model.name: _figures(model, opened.measurements) for model in opened.models},
    }


def _figures(model: Model, measurements: tuple[Measurement, ...]) -> dict[str, Any]:
    mine = [each for each in measurements if each.model_sha256 == model.sha256]
    found: dict[str, Any] = {"size_bytes": model.size_bytes, "parameters": model.parameters, "sha256": model.sha256}
    for each in mine:
        key = f"{each.metric}@{each.target}"
        if each.metric in {"accuracy", "parity"}:
            found[key] = statistics.fmean(each.samples)
            found[f"{key}_samples"] = len(each.samples)
        elif each.metric == "latency":
            found[f"{key}_p50_s"] = statistics.median(each.samples)
        elif each.metric in {"arena_size", "compressed_size", "peak_memory"}:
            found[key] = max(each.samples)
    return found
