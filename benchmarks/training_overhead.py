"""Samples per second of edgekd's training against a bare hand-written PyTorch loop, in alternating pairs.

Both train MLPerf Tiny's ResNet-8 (width 9) on the same images with the same batch, threads, optimizer and
precision, count a validation pass an epoch, and include loading: the supervised arm without teacher, the
distilled arm with a live teacher. Neither augments. Images are Fashion-MNIST where `EDGEKD_DATA` has it, else
random bytes of the same shape (the arithmetic is the same).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from results_file import Results
from torch import nn
from torch.nn import functional

from edgekd import registry
from edgekd.datasets import Dataset, Split, open_dataset
from edgekd.errors import DataError
from edgekd.records import DataSpec, DistillSpec, LossTerm
from edgekd.stages.distill import distill
from edgekd.stages.distill.fit import has_fast_bfloat16

BATCH, RATE, DECAY = 128, 0.1, 5e-4
TEMPERATURE, SOFT, HARD = 4.0, 0.9, 0.1
BOUND = 0.95


def main() -> None:
    """Time pairs, one after another, and state the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two pairs on 2,000 images")
    quick = parser.parse_args().quick
    pairs, count, epochs = (2, 2000, 1) if quick else (12, 12_800, 1)
    data = load(count)
    for who in ("bare", "edgekd"):  # the first training of a process also compiles kernels
        time_one(who, "distilled", data, 1)
    results = Results("training_overhead", quick=quick)
    for arm in ("supervised", "distilled"):
        done = sum(run["arm"] == arm for run in results.runs)
        for pair in range(done, pairs):
            order = ("bare", "edgekd") if pair % 2 == 0 else ("edgekd", "bare")
            timed = {who: time_one(who, arm, data, epochs) for who in order}
            results.add(arm=arm, pair=pair, samples=count, epochs=epochs, order=order, samples_per_s=timed)
            print(arm, pair, {who: round(rate) for who, rate in timed.items()})
    for arm in ("supervised", "distilled"):
        rates = [run["samples_per_s"] for run in results.runs if run["arm"] == arm]
        ratios = sorted(each["edgekd"] / each["bare"] for each in rates)
        median = statistics.median(ratios)
        results.claim(
            f"{arm}_ratio",
            median,
            "x samples per second of the bare loop",
            bound=f"at least {BOUND}",
            holds=median >= BOUND,
            low=ratios[0],
            high=ratios[-1],
        )


def load(count: int) -> Dataset:
    """Take the first images of Fashion-MNIST, or random ones of its shape."""
    try:
        full = open_dataset(DataSpec(source="npz", options={"path": "fashion_mnist.npz"})).train
    except DataError:
        rng = np.random.default_rng(0)
        full = Split(
            inputs=rng.integers(0, 256, (count + 1000, 1, 28, 28), np.uint8), labels=rng.integers(0, 10, count + 1000)
        )
    train, rest = (
        Split(inputs=full.inputs[part], labels=full.labels[part]) for part in (slice(count), slice(count, count + 1000))
    )
    return Dataset(
        classes=tuple(str(each) for each in range(10)), scale=1 / 255, train=train, validation=rest, test=rest
    )


def time_one(who: str, arm: str, data: Dataset, epochs: int) -> float:
    """Train from scratch and give samples per second."""
    torch.manual_seed(0)
    build = registry.function("networks", "mlperf_resnet8")
    student: nn.Module = build(classes=10, input_shape=(1, 28, 28), width=9)
    teacher: nn.Module = build(classes=10, input_shape=(1, 28, 28), width=16)
    teachers = [teacher.eval().requires_grad_(requires_grad=False)] if arm == "distilled" else []
    train: Callable[[nn.Module, list[nn.Module], Dataset, int], None] = train_bare if who == "bare" else train_edgekd
    started = time.perf_counter()
    train(student, teachers, data, epochs)
    return len(data.train) // BATCH * BATCH * epochs / (time.perf_counter() - started)


def train_edgekd(student: nn.Module, teachers: list[nn.Module], data: Dataset, epochs: int) -> None:
    """Train as a recipe does, with its checks and checkpoints."""
    soft = LossTerm(name="kl", weight=SOFT, options={"temperature": TEMPERATURE})
    hard = LossTerm(name="cross_entropy", weight=HARD if teachers else 1.0)
    spec = DistillSpec(
        epochs=epochs,
        batch_size=BATCH,
        learning_rate=RATE,
        weight_decay=DECAY,
        losses=(soft, hard) if teachers else (hard,),
    )
    with tempfile.TemporaryDirectory() as folder:
        distill(student, data=data, teachers=teachers, spec=spec, folder=Path(folder))


def train_bare(student: nn.Module, teachers: list[nn.Module], data: Dataset, epochs: int) -> None:
    """Train as one would by hand: tensors in memory, shuffled indices, autocast, SGD with a cosine."""
    channels_last = torch.channels_last
    student = student.to(memory_format=channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    teachers = [each.to(memory_format=channels_last) for each in teachers]  # type: ignore[call-overload]  # as above
    inputs, labels = torch.from_numpy(data.train.inputs), torch.from_numpy(data.train.labels)
    held, held_labels = torch.from_numpy(data.validation.inputs), torch.from_numpy(data.validation.labels)
    optimizer = torch.optim.SGD(student.parameters(), lr=RATE, momentum=0.9, nesterov=True, weight_decay=DECAY)
    steps = len(labels) // BATCH
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps * epochs)
    mixed = has_fast_bfloat16(torch.device("cpu"))
    for _ in range(epochs):
        student.train()
        order = torch.randperm(len(labels))
        for step in range(steps):
            index = order[step * BATCH : (step + 1) * BATCH]
            batch = (inputs[index].float() / 255).contiguous(memory_format=channels_last)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
                logits = student(batch).float()
                if teachers:
                    with torch.no_grad():
                        taught = teachers[0](batch).float()
            loss = functional.cross_entropy(logits, labels[index])
            if teachers:
                soft = functional.kl_div(
                    functional.log_softmax(logits / TEMPERATURE, 1),
                    functional.log_softmax(taught / TEMPERATURE, 1),
                    log_target=True,
                    reduction="batchmean",
                )
                loss = SOFT * TEMPERATURE**2 * soft + HARD * loss
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch's stubs
            optimizer.step()
            schedule.step()
        student.eval()
        with torch.inference_mode():
            (
                student((held.float() / 255).contiguous(memory_format=channels_last)).argmax(1) == held_labels
            ).float().mean()


if __name__ == "__main__":
    main()
