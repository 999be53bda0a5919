"""A small language model taught by a larger one: what it recovers of the gap, and what its files do.

The teacher is stories260K (llama2.c: 260,032 parameters, trained on TinyStories by others), the student a Llama of less
than a third of them. Both see stories that the teacher wrote at temperature 1, because TinyStories itself is not at
hand: so few that a student alone can't learn all of them say. Each seed trains the same first weights four times, for
as many updates: alone, from the teacher's word on these stories (off-policy), with half of the batches written by the
student itself (on-policy; GKD, Agarwal et al. 2024), and from the teacher's word on other stories that it writes for
the student (sequence-level, Kim & Rush 2016). The validation split chooses epochs; stories that were held out test
each network once.

Then the first sequence-level student becomes files: perplexity of each precision on the test stories, and how fast it
writes, against transformers' own `generate`. And the memory of the loss at growing vocabularies.

The folder of stories260K.bin and tok512.bin is asked for by EDGEKD_DATA (lm_stories260k below it).
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from results_file import Results
from torch import nn
from training import WORK, Trained, build, train

from edgekd import api, registry
from edgekd.datasets import Dataset, open_dataset
from edgekd.datasets._places import find
from edgekd.records import DataSpec, DistillSpec, LossTerm, Model, WritingSpec
from edgekd.stages.distill import measure_network

NAME = "causal_lm"
FOLDER = Path("lm_stories260k")
STUDENT = {"layers": 3, "hidden": 48, "heads": 4, "kv_heads": 2, "intermediate": 92}
LENGTH, STORIES, SEEDS = 128, 1280, 2
# Of other stories there are more, each seen less often.
OTHERS, OTHERS_EPOCHS = 8192, 5
SCHEDULE = DistillSpec(
    epochs=53,
    batch_size=32,
    optimizer="adamw",
    learning_rate=0.004,
    weight_decay=0.01,
    gradient_clip=1.0,
    mixed_precision="off",
)
TAUGHT = (
    LossTerm(name="kl", weight=0.9, options={"temperature": 1.0}),
    LossTerm(name="cross_entropy", weight=0.1),
)
ARMS = {
    "control": (replace(SCHEDULE, losses=(LossTerm(name="cross_entropy"),)), False),
    "off_policy": (replace(SCHEDULE, losses=TAUGHT), True),
    "on_policy": (replace(SCHEDULE, losses=TAUGHT, generation=WritingSpec(on_policy=0.5)), True),
    "sequence_level": (
        replace(SCHEDULE, losses=TAUGHT, epochs=OTHERS_EPOCHS, generation=WritingSpec(samples=OTHERS)),
        True,
    ),
}
VOCABULARIES = (4096, 16_384, 65_536, 131_072)


def main() -> None:
    """Train and measure what is not there yet, then state what it shows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed of one epoch on a tenth of the stories")
    quick = parser.parse_args().quick
    results, folder = Results(NAME, quick=quick, keep=True), WORK / (f"{NAME}-quick" if quick else NAME)
    teacher = open_teacher()
    data = open_data(STORIES // 10 if quick else STORIES)
    keep(results, "teacher", 0, teacher, data, {})
    for seed in range(1 if quick else SEEDS):
        for arm, (spec, taught) in ARMS.items():
            student = learn(data, teacher if taught else None, spec, seed, folder / f"{arm}-{seed}", quick=quick)
            keep(results, arm, seed, student.network, data, student.facts)
    if not any(run["kind"] == "files" for run in results.runs):
        first = learn(data, teacher, ARMS["sequence_level"][0], 0, folder / "sequence_level-0", quick=quick)
        results.add(kind="files", **measure_files(first.network, data, folder / "files"))
    if not any(run["kind"] == "memory" for run in results.runs):
        results.add(kind="memory", peak_bytes={str(size): peak_of_loss(size) for size in VOCABULARIES})
    claim(results)


def open_teacher() -> nn.Module:
    """The published checkpoint."""
    load = registry.function("teachers", "llama2c")
    teacher: nn.Module = load(weights=find(FOLDER / "stories260K.bin"), outputs=512)
    return teacher


def open_data(stories: int) -> Dataset:
    """Stories that the teacher writes once, some of them held out."""
    options = {
        "weights": FOLDER / "stories260K.bin",
        "tokenizer": FOLDER / "tok512.bin",
        "texts": stories,
        "length": LENGTH,
    }
    return open_dataset(DataSpec(source="written_text", validation=0.1, test=0.3, options=options))


def learn(
    data: Dataset, teacher: nn.Module | None, spec: DistillSpec, seed: int, folder: Path, *, quick: bool
) -> Trained:
    """Train one student; all arms of a seed begin with the same weights."""
    return train(
        build("llama", data, seed, **STUDENT),
        data=data,
        spec=replace(spec, seed=seed, epochs=1 if quick else spec.epochs),
        teachers=[teacher] if teacher is not None else [],
        folder=folder,
        name=folder.name,
    )


def keep(results: Results, arm: str, seed: int, network: nn.Module, data: Dataset, facts: object) -> None:
    """Try a network on the test stories, once, and keep what came out."""
    if any((run["kind"], run.get("arm"), run.get("seed")) == ("training", arm, seed) for run in results.runs):
        return
    model = Model(name=arm, path=Path(), format="torch", precision="fp32", role="student", sha256="", size_bytes=0)
    found = {each.metric: each for each in measure_network(network, data.test, data, model)}
    nats, counts = found["perplexity"].samples, found["perplexity"].labels
    results.add(
        kind="training",
        arm=arm,
        seed=seed,
        perplexity=math.exp(np.dot(nats, counts) / sum(counts)) if counts else math.exp(statistics.fmean(nats)),
        nats=nats,
        parameters=sum(each.numel() for each in network.parameters()),
        facts=facts,
    )
    print(arm, seed, results.runs[-1]["perplexity"], flush=True)


def measure_files(student: nn.Module, data: Dataset, folder: Path) -> dict[str, Any]:
    """Export a student, and measure its files' perplexity and speed, the latter against transformers'."""
    made = api.export(
        student,
        calibration=data,
        formats=("onnx", "tflite"),
        precisions=("fp32", "dynamic_wi8_afp32", "weight_only_wi8_afp32", "weight_only_wi4_afp32"),
        folder=folder,
    )
    measured = api.benchmark(made, data=data, runs=200, time_limit_s=10)
    wanted = {"perplexity", "decode_rate", "prefill_rate", "time_to_first_token", "context_memory"}
    own = {model.name: f"{model.precision}.{model.format}" for model in made.models}
    files: dict[str, dict[str, Any]] = {own[model.name]: {"size_bytes": model.size_bytes} for model in made.models}
    for each in measured:
        if each.metric in wanted and each.model in own:
            files[own[each.model]][each.metric] = {
                "samples": each.samples,
                "parts": each.parts,
                "labels": each.labels,
                "unit": each.unit,
            }
    return {"files": files, "transformers_tokens_per_s": generate_rates(student)}


def generate_rates(student: nn.Module, runs: int = 5, tokens: int = 200) -> list[float]:
    """How many tokens transformers' own `generate` writes greedily in a second of one core's time, a run each."""
    torch.set_num_threads(1)
    network: Any = student.network  # of transformers
    rates = []
    for _ in range(runs + 1):  # the first one warms up
        started = time.process_time()
        with torch.inference_mode():
            text = network.generate(
                torch.ones(1, 1, dtype=torch.long),
                max_new_tokens=tokens,
                min_new_tokens=tokens,
                do_sample=False,
                pad_token_id=0,
            )
        rates.append((text.shape[1] - 1) / (time.process_time() - started))
    return rates[1:]


def peak_of_loss(vocabulary: int) -> int:
    """Most memory that 1,024 positions of a loss took, beside the head's weights and their gradient."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    program = Path(__file__).with_name("loss_memory.py")
    done = subprocess.run(
        [sys.executable, program, str(vocabulary)], capture_output=True, text=True, check=True, env=environment
    )
    return int(done.stdout)


def claim(results: Results) -> None:
    """Hold what came out against what is asked."""
    by_arm: dict[str, list[dict[str, Any]]] = {}
    for run in results.runs:
        if run["kind"] == "training":
            by_arm.setdefault(run["arm"], []).append(run)
    teacher = by_arm["teacher"][0]
    for arm, runs in by_arm.items():
        found = [run["perplexity"] for run in runs]
        results.claim(f"perplexity_{arm}", statistics.fmean(found), "", low=min(found), high=max(found))
    smaller = by_arm["control"][0]["parameters"] / teacher["parameters"]
    results.claim(
        "size_of_the_student", smaller, "of the teacher's parameters", bound="at most 1/3", holds=smaller <= 1 / 3
    )
    for arm in ("off_policy", "on_policy", "sequence_level"):
        shares = [
            (one["perplexity"] - two["perplexity"]) / (one["perplexity"] - teacher["perplexity"])
            for one, two in zip(by_arm["control"], by_arm[arm], strict=True)
        ]
        mean = statistics.fmean(shares)
        ask = arm == "sequence_level"
        results.claim(
            f"gap_recovered_{arm}",
            mean,
            f"share, mean of {len(shares)} seeds",
            low=min(shares),
            high=max(shares),
            bound="at least 0.5" if ask else "",
            holds=mean >= 0.5 if ask else None,
        )
    claim_files(results)
    (memory,) = (run for run in results.runs if run["kind"] == "memory")
    peaks = [memory["peak_bytes"][str(size)] for size in VOCABULARIES]
    growth = peaks[-1] / peaks[1]
    results.claim(
        "memory_of_the_loss", growth, "x from 16,384 to 131,072 tokens", bound="at most 1.1", holds=growth <= 1.1
    )


def claim_files(results: Results) -> None:
    """What precisions cost, and how fast files write."""
    (run,) = (run for run in results.runs if run["kind"] == "files")
    files = run["files"]
    of_torch = statistics.median(run["transformers_tokens_per_s"])
    for name, found in files.items():
        if name.startswith("weight_only_wi4"):
            form = name.rpartition(".")[2]
            ratio = perplexity_of(found) / perplexity_of(files[f"fp32.{form}"]) - 1
            results.claim(f"int4_{form}", ratio, "higher perplexity", bound="at most 0.03", holds=ratio <= 0.03)
        if "decode_rate" in found:
            times = statistics.median(found["decode_rate"]["samples"]) / of_torch
            asked = name == "fp32.onnx"
            results.claim(
                f"decode_{name}",
                times,
                "x transformers' generate",
                bound="at least 2" if asked else "",
                holds=times >= 2 if asked else None,
            )


def perplexity_of(found: dict[str, Any]) -> float:
    """From nats and tokens of each window."""
    nats, counts = found["perplexity"]["samples"], found["perplexity"]["labels"]
    return math.exp(np.average(nats, weights=counts or None))


if __name__ == "__main__":
    main()
