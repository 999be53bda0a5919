"""A text classifier for a microcontroller, taught by a transformer: its size, and what it keeps of the accuracy.

A BERT of four layers learns AG News from scratch; convolutions over words (Kim 2014) learn from it, and alone. The
student becomes an int8 TFLite file, which TFLite Micro runs. Three seeds, of the teacher too. The validation split
chooses epochs; the test split is read once by each network and file, at the end.

AG News' official test.csv (7,600 items, here split into training, validation and test) is asked for by EDGEKD_DATA
(text_agnews below it).
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from results_file import Results
from torch import nn
from training import WORK, build, errors_of, logits_of, train

from edgekd import api, stats
from edgekd.datasets import Dataset, open_dataset
from edgekd.records import DataSpec, DistillSpec, LossTerm

NAME = "micro_text"
TEACHER = {"layers": 4, "hidden": 128, "heads": 4, "intermediate": 512, "dropout": 0.2}
STUDENT = {"embedding": 32, "width": 64, "kernels": (2, 3, 4), "dropout": 0.3}
TEACHES = DistillSpec(
    epochs=6, batch_size=64, optimizer="adamw", learning_rate=5e-4, weight_decay=0.01, gradient_clip=1.0
)
LEARNS = DistillSpec(epochs=20, batch_size=64, optimizer="adamw", learning_rate=5e-3, weight_decay=0.01, cache="off")
TAUGHT = (
    LossTerm(name="kl", weight=0.7, options={"temperature": 2.0}),
    LossTerm(name="cross_entropy", weight=0.3),
)
LIMIT_BYTES = 256_000


def main() -> None:
    """Train what is not there yet, then state what it shows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed of one epoch on a tenth of the items")
    quick = parser.parse_args().quick
    results = Results(NAME, quick=quick, keep=True)
    data = open_data()
    if quick:
        data = replace(data, train=data.train.take(np.arange(0, len(data.train), 10)))
    for seed in range(len(results.runs), 1 if quick else 3):
        folder = WORK / (f"{NAME}-quick" if quick else NAME) / f"seed-{seed}"
        results.add(seed=seed, **learn(data, seed, folder, epochs=1 if quick else None))
    claim(results, data)


def open_data() -> Dataset:
    """Titles with descriptions as 48 tokens of 5,000 word pieces, which are learned from the training split."""
    options = {
        "path": Path("text_agnews") / "test.csv",
        "header": False,
        "text": ("2", "3"),
        "label": "1",
        "classes": ("World", "Sports", "Business", "Sci/Tech"),
        "first_class": 1,
        "length": 48,
        "vocabulary": 5000,
    }
    return open_dataset(DataSpec(source="text", test=0.2, validation=0.1, options=options))


def learn(data: Dataset, seed: int, folder: Path, *, epochs: int | None) -> dict[str, Any]:
    """Train one seed's teacher and students, and measure the file of the one that was taught."""
    teaches, learns = (replace(each, seed=seed, epochs=epochs or each.epochs) for each in (TEACHES, LEARNS))
    teacher = train(
        build("bert", data, seed, **TEACHER), data=data, spec=teaches, folder=folder / "teacher", name=f"teacher {seed}"
    )
    students = {
        arm: train(
            build("text_cnn", data, seed + 1000, **STUDENT),
            data=data,
            spec=replace(learns, losses=losses),
            teachers=[teacher.network],
            folder=folder / arm,
            name=f"{arm} {seed}",
        )
        for arm, losses in (("taught", TAUGHT), ("alone", (LossTerm(name="cross_entropy"),)))
    }
    networks = {"teacher": teacher.network, **{arm: each.network for arm, each in students.items()}}
    return {
        "test_accuracy": {arm: accuracy(network, data) for arm, network in networks.items()},
        "right": {arm: right(network, data) for arm, network in networks.items()},
        "parameters": {arm: sum(each.numel() for each in network.parameters()) for arm, network in networks.items()},
        "facts": {"teacher": teacher.facts, **{arm: each.facts for arm, each in students.items()}},
        "files": measure_files(students["taught"].network, data, folder / "files"),
    }


def right(network: nn.Module, data: Dataset) -> list[int]:
    """Which texts of the test split a network is right about."""
    found: list[int] = (logits_of(network, data.test, 1.0).argmax(1) == data.test.labels).astype(int).tolist()
    return found


def accuracy(network: nn.Module, data: Dataset) -> float:
    """Share of the test split that a network is right about."""
    return 1 - errors_of(logits_of(network, data.test, 1.0), data.test.labels) / len(data.test)


def measure_files(student: nn.Module, data: Dataset, folder: Path) -> dict[str, Any]:
    """Export the student to TFLite, and run its files here and the int8 one in TFLite Micro."""
    made = api.export(
        student, calibration=data, formats=("tflite",), precisions=("fp32", "static_wi8_ai8"), io="int8", folder=folder
    )
    measured = api.benchmark(made, data=data, targets=("host", "cortex-m4"), runs=500, time_limit_s=5)
    found: dict[str, Any] = {model.precision: {"size_bytes": model.size_bytes} for model in made.models}
    for each in measured:
        if each.metric in ("accuracy", "latency", "arena_size") and each.model in {one.name for one in made.models}:
            told = found[each.precision].setdefault(each.target, {})
            told[each.metric] = [*(each.samples if each.metric == "accuracy" else [statistics.median(each.samples)])]
    return found


def claim(results: Results, data: Dataset) -> None:
    """Hold what came out against what a microcontroller needs."""
    runs = results.runs
    for arm in ("teacher", "taught", "alone"):
        scores = [run["test_accuracy"][arm] for run in runs]
        results.claim(f"accuracy_{arm}", statistics.fmean(scores), "share", low=min(scores), high=max(scores))
    gain = stats.gain_interval([run["right"]["taught"] for run in runs], [run["right"]["alone"] for run in runs])
    results.claim(
        "over_the_student_alone", gain.estimate, f"share, mean of {len(runs)} seeds", low=gain.low, high=gain.high
    )
    int8 = [run["files"]["static_wi8_ai8"] for run in runs]
    sizes = [each["size_bytes"] for each in int8]
    results.claim("int8_size", max(sizes), "B", bound="at most 256000", holds=max(sizes) <= LIMIT_BYTES)
    kept = [
        statistics.fmean(each["host"]["accuracy"]) / run["test_accuracy"]["teacher"]
        for each, run in zip(int8, runs, strict=True)
    ]
    mean = statistics.fmean(kept)
    results.claim(
        "accuracy_kept_by_int8",
        mean,
        "of the transformer's",
        low=min(kept),
        high=max(kept),
        bound="at least 0.95",
        holds=mean >= 0.95,
    )
    drop = stats.gain_interval(
        [run["files"]["fp32"]["host"]["accuracy"] for run in runs], [each["host"]["accuracy"] for each in int8]
    )
    results.claim("drop_of_int8", drop.estimate, f"share of {len(data.test)}", low=drop.low, high=drop.high)
    micro = [each.get("cortex-m4", {}) for each in int8]
    arenas = [each["arena_size"][0] for each in micro if "arena_size" in each]
    results.claim(
        "arena",
        max(arenas, default=float("nan")),
        "B in TFLite Micro",
        bound="there is one",
        holds=len(arenas) == len(runs),
    )


if __name__ == "__main__":
    main()
