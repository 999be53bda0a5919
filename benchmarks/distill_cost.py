"""What distilling costs beside training alone, and beside torchdistill: seconds, bytes and memory.

Everything trains MLPerf Tiny's ResNet-8 from the published ResNet-56 on some images of CIFAR-10 as stored here,
with equal batches and threads; seconds are of epochs after the first, each with its validation pass. torchdistill runs
as its examples do (float32, its own loaders) in an environment of its own: PyTorch 2.12.1 and torchvision 0.27.1, some
3 GB, which the first call installs. Needs the data: put the folders of cifar10_jpeg_bytes.npz and of the published
weights into EDGEKD_DATA. Times mean nothing on a machine that does other work.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from cifar10_data import MEAN, STD, WEIGHTS, find, load, load_published
from recipe_memory import peaks_of
from results_file import Results
from torch import nn
from training import WORK, build, save_arrays, spread

from edgekd import store
from edgekd.datasets import Dataset
from edgekd.progress import Silent
from edgekd.records import AugmentationTerm, DistillSpec, LossTerm
from edgekd.stages.distill import distill, save_weights

BATCH = 128
TORCHDISTILL = ("torchdistill==1.1.5", "torch==2.12.1", "torchvision==0.27.1")
# What a sample's logits need at least in float16: two bytes a class.
LEAST_BYTES = 2 * 10
SCHEDULE = DistillSpec(
    batch_size=BATCH,
    learning_rate=0.1,
    weight_decay=1e-4,
    views=2,
    augmentations=(AugmentationTerm(name="shift", options={"max_pixels": 4}), AugmentationTerm(name="flip")),
)
ALONE = (LossTerm(name="cross_entropy"),)
TAUGHT = (LossTerm(name="kl", weight=0.9, options={"temperature": 4.0}), LossTerm(name="cross_entropy", weight=0.1))
# Teachers whose weights are worth counting, 73 MB each, and that answer fast.
BIG_TEACHER = {"hidden": (3000, 3000)}

# What the runs of a part hold, and what is claimed of its arms: name, part, arms, unit, bound.
KEYS = {"epoch": "epoch_s", "torchdistill": "epoch_s", "build": "samples_per_s", "memory": "peak_bytes"}
FASTER = "x fewer seconds per epoch"
PEAK = "x the peak memory of"
RATIOS: tuple[tuple[str, str, tuple[str, str], str, str], ...] = (
    ("warm_cache_epoch", "epoch", ("cached", "supervised"), "x the seconds of supervised training", "at most 1.1"),
    ("over_torchdistill", "torchdistill", ("torchdistill_torchvision", "cached"), FASTER, "at least 2.5"),
    (
        "over_torchdistill_tensors",
        "torchdistill",
        ("torchdistill_tensors", "cached"),
        f"{FASTER}; its images ready, without augmentation",
        "",
    ),
    (
        "over_torchdistill_fp32",
        "torchdistill",
        ("torchdistill_torchvision", "cached_fp32"),
        f"{FASTER}; ours in float32 too",
        "",
    ),
    (
        "over_torchdistill_live",
        "torchdistill",
        ("torchdistill_torchvision", "live"),
        f"{FASTER}; ours with a live teacher",
        "",
    ),
    ("build_rate", "build", ("cache", "bare"), "x the samples per second of the teacher alone", "at least 0.9"),
    ("cached_memory", "memory", ("cached_warm", "supervised"), f"{PEAK} supervised training", "at most 1.15"),
    (
        "building_memory",
        "memory",
        ("cached", "supervised"),
        f"{PEAK} supervised training, the cache being built",
        "",
    ),
    ("ensemble_memory", "memory", ("three_big", "one_big"), f"{PEAK} one teacher of 73 MB", "at most 1.15"),
)


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is done."""

    samples: int
    epochs: int
    pairs: int


def main() -> None:
    """Measure what is missing, part by part, and state what it shows."""
    parts: dict[str, Callable[[Bench], None]] = {
        "epoch": time_epochs,
        "torchdistill": time_torchdistill,
        "build": time_build,
        "memory": measure_memory,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one pair each on 640 images")
    parser.add_argument("--only", choices=tuple(parts), nargs="*", help="these parts, no claims")
    parser.add_argument("--pairs", type=int, default=8, help="how many of each; more can follow later")
    arguments = parser.parse_args()
    full = Size(samples=6_400, epochs=4, pairs=arguments.pairs)
    size = Size(samples=640, epochs=2, pairs=1) if arguments.quick else full
    bench = Bench(size, quick=arguments.quick)
    for name in arguments.only or parts:
        parts[name](bench)
    if not arguments.only:
        claim(bench)


class Bench:
    """The data, the networks and the results of one size."""

    def __init__(self, size: Size, *, quick: bool) -> None:
        self.size = size
        self.results = Results("distill_cost", quick=quick, keep=True)
        self.folder = WORK / f"distill-cost{'-quick' if quick else ''}"
        full = load()
        self.data = replace(
            full,
            train=spread(full.train, size.samples),
            validation=spread(full.validation, 1000),
            test=spread(full.test, 1000),
        )
        self.threads = torch.get_num_threads()
        # A cache of another revision's code would not be found; one of this size always has this name.
        os.environ["EDGEKD_CACHE"] = str((self.folder / "cache").absolute())

    def pairs(self, part: str) -> range:
        """Which pairs of a part are still to be measured."""
        settings = {"part": part, "samples": self.size.samples, "threads": self.threads}
        done = sum(all(run.get(key) == value for key, value in settings.items()) for run in self.results.runs)
        return range(done, self.size.pairs)

    def add(self, part: str, pair: int, **found: object) -> None:
        """Keep what a pair gave, with how busy the machine was."""
        self.results.add(
            part=part,
            pair=pair,
            samples=self.size.samples,
            threads=self.threads,
            git_revision=self.results.revision,
            load_1min=os.getloadavg()[0],
            **found,
        )
        print(part, pair, found, flush=True)

    def runs(self, part: str) -> list[dict[str, Any]]:
        """All pairs of a part of this size."""
        return [run for run in self.results.runs if run["part"] == part and run["samples"] == self.size.samples]


class Clock(Silent):
    """Hears of progress and keeps when each step of each task ended."""

    def __init__(self) -> None:
        self.tasks: dict[str, tuple[int, float, list[tuple[int, float]]]] = {}
        self.task = ""

    def start(self, task: str, total: int) -> None:
        """A task begins."""
        self.task = task
        self.tasks[task] = (total, time.perf_counter(), [])

    def advance(self, count: int = 1) -> None:
        """Some steps of it ended."""
        ends = self.tasks[self.task][2]
        ends.append((count + (ends[-1][0] if ends else 0), time.perf_counter()))

    def end(self) -> None:
        """It ended; when, its last step told."""

    def epoch_s(self, task: str, epochs: int) -> float:
        """Seconds of an epoch: from the end of the first one's last step to the end of the last one's."""
        total, _, ends = self.tasks[task]
        first = next(at for done, at in ends if done == total // epochs)
        return (ends[-1][1] - first) / (epochs - 1)

    def seconds(self, ending: str) -> float:
        """Seconds of the task whose name ends so, up to its last step."""
        _, started, ends = next(found for name, found in self.tasks.items() if name.endswith(ending))
        return ends[-1][1] - started


def train(bench: Bench, clock: Clock, teachers: list[nn.Module], **changes: Any) -> float:
    """Train the student and give seconds per epoch."""
    spec = replace(SCHEDULE, epochs=bench.size.epochs, losses=TAUGHT if teachers else ALONE, **changes)
    distill(build("mlperf_resnet8", bench.data, 0), data=bench.data, teachers=teachers, spec=spec, progress=clock)
    return clock.epoch_s("student", spec.epochs)


def time_epochs(bench: Bench) -> None:
    """(a) An epoch with a warm cache beside one without teacher, in alternating pairs."""
    if bench.pairs("epoch"):
        teacher = load_published(56, bench.data)
        train(bench, Clock(), [teacher])  # fills the cache, and compiles kernels
    for pair in bench.pairs("epoch"):
        order = ("supervised", "cached") if pair % 2 else ("cached", "supervised")
        seconds = {arm: train(bench, Clock(), [teacher] if arm == "cached" else []) for arm in order}
        bench.add("epoch", pair, order=order, epoch_s=seconds)


def time_torchdistill(bench: Bench) -> None:
    """(b) torchdistill with its live teacher beside a warm cache, a live teacher, and a warm cache in float32."""
    if not bench.pairs("torchdistill"):
        return
    teacher = load_published(56, bench.data)
    ours: dict[str, dict[str, str]] = {
        "cached": {},
        "live": {"cache": "off"},
        "cached_fp32": {"mixed_precision": "off"},
    }
    for changes in ours.values():
        train(bench, Clock(), [teacher], **changes)
    theirs = [f"torchdistill_{loading}" for loading in ("torchvision", "tensors")]
    workers = fastest_workers(bench)
    for pair in bench.pairs("torchdistill"):
        order = [*ours, *theirs] if pair % 2 else [*theirs, *ours]
        seconds = {
            arm: train(bench, Clock(), [teacher], **ours[arm])
            if arm in ours
            else run_torchdistill(bench, arm.removeprefix("torchdistill_"), workers)
            for arm in order
        }
        bench.add("torchdistill", pair, order=order, workers=workers, epoch_s=seconds)


def fastest_workers(bench: Bench) -> int:
    """How many processes load fastest for torchdistill: it shall not lose by how it is set up."""
    return min((0, 1, 2), key=lambda workers: run_torchdistill(bench, "torchvision", workers))


def run_torchdistill(bench: Bench, loading: str, workers: int) -> float:
    """Train with torchdistill in its own environment and give seconds per epoch."""
    python = install_torchdistill()
    images = bench.folder / "images.npz"
    images.parent.mkdir(parents=True, exist_ok=True)
    save_arrays(images, train=bench.data.train, validation=bench.data.validation)
    settings = {
        "data": str(images),
        "weights": str(find(WEIGHTS[56], "resnet_cifar10")),
        "epochs": bench.size.epochs,
        "batch_size": BATCH,
        "threads": bench.threads,
        "workers": workers if loading == "torchvision" else 0,
        "loading": loading,
    }
    script = Path(__file__).with_name("torchdistill_epochs.py")
    done = subprocess.run([python, script, json.dumps(settings)], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return statistics.fmean(found["epoch_s"])


def install_torchdistill() -> Path:
    """Make torchdistill's environment, unless it is there."""
    folder = WORK / "torchdistill-venv"
    python, mark = folder / "bin" / "python", folder / "installed"
    if not mark.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *TORCHDISTILL], check=True)
        mark.write_text("\n".join(TORCHDISTILL))
    return python


def time_build(bench: Bench) -> None:
    """(c, d) Building the cache beside the teacher alone, at the same precision, batch and layout; and its bytes."""
    if not bench.pairs("build"):
        return
    teacher = load_published(56, bench.data)
    place = bench.folder / "built"
    for pair in bench.pairs("build"):
        rates = {}
        for who in ("bare", "cache") if pair % 2 else ("cache", "bare"):
            if who == "cache":
                shutil.rmtree(place, ignore_errors=True)
                clock = Clock()
                train(bench, clock, [teacher], cache_folder=place)
                manifest, taken = manifest_of(place), clock.seconds(": cache")
                rates[who] = manifest["samples"] * manifest["views"] / taken
            else:
                rates[who] = bare_rate(teacher, bench.data, precision=_precision(place))
        size = sum(file.stat().st_size for file in place.rglob("*.logits"))
        bench.add(
            "build",
            pair,
            samples_per_s=rates,
            precision=manifest["precision"],
            bytes_per_view=size / manifest["samples"] / manifest["views"],
        )


def manifest_of(place: Path) -> dict[str, Any]:
    """Read the manifest of the one cache below a folder."""
    (file,) = place.rglob("manifest.json")
    return store.read_json(file, dict[str, Any])


def bare_rate(teacher: nn.Module, data: Dataset, *, precision: str) -> float:
    """Samples a second of the teacher alone, on images that lie ready in memory."""
    ready = torch.from_numpy(data.ready(data.train)).contiguous(memory_format=torch.channels_last)
    batches = torch.split(ready, 512)  # as many as the cache's builder asks about at once
    teacher = teacher.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        teacher(batches[0])
        started = time.perf_counter()
        for batch in batches:
            teacher(batch)
    return len(ready) / (time.perf_counter() - started)


def measure_memory(bench: Bench) -> None:
    """(e) Peak memory of whole runs: without teacher, with the published one, with a big one, with three of those."""
    if not bench.pairs("memory"):
        return
    published = {"model": "resnet", "depth": 56, "shortcut": "A", "padding": "symmetric"}
    published |= {"weights": str(find(WEIGHTS[56], "resnet_cifar10").absolute())}
    published |= {"input_mean": MEAN, "input_std": STD}
    big = []
    for index in range(3):
        weights = (bench.folder / f"big-{index}.safetensors").absolute()
        if not weights.exists():
            save_weights(build("mlp", bench.data, index, **BIG_TEACHER), weights)
        big.append({"model": "mlp", "weights": str(weights), **BIG_TEACHER})
    arms: dict[str, list[dict[str, Any]]] = {
        "supervised": [],
        "cached": [published],
        "one_big": big[:1],
        "three_big": big,
    }
    for pair in bench.pairs("memory"):
        peaks: dict[str, int] = {}
        for arm, teachers in arms.items():
            cold, warm = peaks_of(bench.folder / "memory", bench.data, teachers, batch_size=BATCH)
            peaks |= {arm: cold, f"{arm}_warm": warm}
        bench.add("memory", pair, peak_bytes=peaks)


def claim(bench: Bench) -> None:
    """State medians of the pairs' ratios, against their bounds."""
    for name, part, (over, under), unit, bound in RATIOS:
        key = KEYS[part]
        found = sorted(run[key][over] / run[key][under] for run in bench.runs(part))
        value = statistics.median(found)
        kind, _, limit = bound.rpartition(" ")
        holds = (value <= float(limit) if kind == "at most" else value >= float(limit)) if bound else None
        bench.results.claim(name, value, unit, bound=bound, holds=holds, low=found[0], high=found[-1])
    size = max(run["bytes_per_view"] for run in bench.runs("build"))
    unit = f"B, of {LEAST_BYTES} that float16 logits of 10 classes need"
    bench.results.claim("bytes_per_sample_and_view", size, unit)


def _precision(place: Path) -> str:
    return str(manifest_of(place)["precision"]) if place.exists() else "fp32"


if __name__ == "__main__":
    main()
