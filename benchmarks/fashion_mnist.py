"""The `fashion-mnist` recipe from end to end: teacher, student, files, and whether they keep what was asked.

Needs the data: put the folder of fashion_mnist.npz into EDGEKD_DATA. About three quarters of an hour on two cores; a
run that is cut off goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
from pathlib import Path

from recipe_results import figures_of, run_recipe
from results_file import Results

from edgekd.config.files import RECIPES


def main() -> None:
    """Run seeds, keep each, and state what they show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one epoch each, which proves nothing about accuracy")
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    results = Results("fashion_mnist", quick=arguments.quick, keep=True)
    recipe = hashlib.sha256((RECIPES / "fashion-mnist.toml").read_bytes()).hexdigest()[:12]
    done = [run["seed"] for run in results.runs if run.get("recipe") == recipe]
    for seed in sorted(set(range(arguments.seeds)) - set(done)):
        folder = Path("runs") / "benchmarks" / f"fashion-mnist-{'quick-' if arguments.quick else ''}{seed}"
        overrides = [f"teachers.0.train.seed={seed}", f"distill.seed={seed}"]
        if arguments.quick:
            overrides += ["teachers.0.train.epochs=1", "distill.epochs=1"]
        code, seconds, _ = run_recipe("fashion-mnist", folder, *overrides)
        results.add(
            recipe=recipe,
            git_revision=results.revision,
            seed=seed,
            exit_code=code,
            seconds=seconds,
            **figures_of(folder),
        )
    runs = [run["models"] for run in results.runs if run.get("recipe") == recipe]
    int8 = "student.static_wi8_ai8.tflite"
    teachers = [models["teacher-0"]["accuracy@training"] for models in runs]
    kept = [models[int8]["accuracy@host"] / models["teacher-0"]["accuracy@training"] for models in runs]
    sizes = [models[int8]["size_bytes"] for models in runs]
    shares = [models["student"]["parameters"] / models["teacher-0"]["parameters"] for models in runs]
    results.claim("teacher_accuracy", min(teachers), "share", bound="at least 0.93", holds=min(teachers) >= 0.93)
    results.claim(
        "student_parameters", max(shares), "of the teacher's", bound="at most 0.05", holds=max(shares) <= 0.05
    )
    results.claim("int8_tflite_size", max(sizes), "B", bound="at most 64000", holds=max(sizes) <= 64_000)
    results.claim("int8_tflite_accuracy", min(models[int8]["accuracy@host"] for models in runs), "share", holds=None)
    results.claim(
        "int8_tflite_retention",
        min(kept),
        "of the teacher's accuracy",
        bound="at least 0.985",
        holds=min(kept) >= 0.985,
    )
    # Where the recipe trains a control: what the teacher was worth to the network that the files are made of.
    gains = [
        100 * (models["student"]["accuracy@training"] - models["control"]["accuracy@training"])
        for models in runs
        if "control" in models
    ]
    if gains:
        results.claim("gain_over_control", statistics.fmean(gains), "points", low=min(gains), high=max(gains))


if __name__ == "__main__":
    main()
