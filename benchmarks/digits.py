"""The `digits` recipe from end to end, by several seeds: what `make demo` shows, with its spread."""

from __future__ import annotations

import argparse
import shutil
import statistics
from pathlib import Path

from recipe_results import figures_of, run_recipe
from results_file import RESULTS, Results

from edgekd import store


def main() -> None:
    """Run seeds, keep each, and state what they show; the first one's output goes into the README."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two seeds of few epochs")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    quick = arguments.quick
    results = Results("digits", quick=quick)
    for seed in range(len(results.runs), 2 if quick else arguments.seeds):
        folder = Path("runs") / "benchmarks" / f"digits-{seed}"
        shutil.rmtree(folder, ignore_errors=True)  # seconds are of a whole run
        overrides = [f"teachers.0.train.seed={seed}", f"distill.seed={seed}"] if seed else []
        if quick:
            overrides += ["teachers.0.train.epochs=3", "distill.epochs=3"]
        code, seconds, printed = run_recipe("digits", folder, *overrides)
        if seed == 0 and not quick:
            store.write_bytes(RESULTS / "digits.txt", printed.replace(f"{folder}/", "runs/digits/").encode())
        results.add(seed=seed, exit_code=code, seconds=seconds, **figures_of(folder))
    runs = [run["models"] for run in results.runs]
    int8 = [models["student.static_wi8_ai8.tflite"] for models in runs]
    ratios = [models["teacher-0"]["parameters"] / models["student"]["parameters"] for models in runs]
    seconds_taken = [run["seconds"] for run in results.runs]
    for name, values in (
        ("teacher_accuracy", [models["teacher-0"]["accuracy@training"] for models in runs]),
        ("student_accuracy", [models["student"]["accuracy@training"] for models in runs]),
        ("int8_tflite_accuracy", [each["accuracy@host"] for each in int8]),
    ):
        results.claim(name, statistics.fmean(values), "share", low=min(values), high=max(values))
    results.claim("parameter_ratio", min(ratios), "x fewer", bound="at least 10", holds=min(ratios) >= 10)
    results.claim("int8_tflite_size", max(each["size_bytes"] for each in int8), "B")
    results.claim("seconds", max(seconds_taken), "s", bound="at most 180", holds=max(seconds_taken) <= 180)
    passed = sum(run["status"] == "pass" for run in results.runs)
    results.claim("seeds_that_pass_the_gate", passed, f"of {len(runs)}", bound="all", holds=passed == len(runs))


if __name__ == "__main__":
    main()
