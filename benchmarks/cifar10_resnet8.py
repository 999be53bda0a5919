"""What distilling is worth for MLPerf Tiny's ResNet-8 on CIFAR-10 as stored here: as JPEG files of quality 75.

The teacher is a published ResNet-56, fine-tuned on those files; the student learns alone (control), from that teacher
(kd, dkd, dist), from an ensemble, and through an assistant, all by one schedule. Every arm is trained by one seed; the
control and the arm that is best on validation data by three. Choices are made on 5,000 of the training images; the
published weights have seen those, so what a teacher reaches there tells little, but the students have not. Needs the
data: put the folders of cifar10_jpeg_bytes.npz and of the published weights into EDGEKD_DATA. About three hours on two
cores that do nothing else; a run that is cut off goes on where it was.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cifar10_data import load, load_published
from results_file import Results
from torch import nn
from training import WORK, Trained, build, errors_of, logits_of, settings_of, spread, train

from edgekd.records import AugmentationTerm, DistillSpec, LossTerm

AUGMENTATIONS = (AugmentationTerm(name="shift", options={"max_pixels": 4}), AugmentationTerm(name="flip"))
FINE_TUNING = DistillSpec(
    epochs=2,
    batch_size=128,
    learning_rate=0.01,
    weight_decay=1e-4,
    warmup_epochs=0.2,
    augmentations=AUGMENTATIONS,
)
# The same for every arm; no cache's views differ from what the control sees. As long as two cores can carry: the
# papers' schedules have ten times the epochs, and a longer one would leave less for a teacher to add.
SCHEDULE = DistillSpec(
    epochs=16, batch_size=128, learning_rate=0.1, weight_decay=1e-4, views=4, augmentations=AUGMENTATIONS
)
HARD = LossTerm(name="cross_entropy")
KD = (LossTerm(name="kl", weight=0.9, options={"temperature": 4.0}), replace(HARD, weight=0.1))
LOSSES: dict[str, tuple[LossTerm, ...]] = {
    "control": (HARD,),
    "kd": KD,
    # Weights and temperatures of the papers' CIFAR experiments (Zhao et al. 2022; Huang et al. 2022, whose code
    # multiplies by T^2).
    "dkd": (LossTerm(name="dkd", options={"target": 1.0, "others": 8.0, "temperature": 4.0}), HARD),
    "dist": (LossTerm(name="dist", weight=16.0, options={"inter": 2.0, "intra": 2.0, "temperature": 4.0}), HARD),
    "ensemble": KD,
    "assistant": KD,
}
TEACHERS: dict[str, tuple[int, ...]] = {"control": (), "ensemble": (56, 44, 32)}
ASSISTANT, TEACHER = 20, 56
GAIN, RECOVERED = 1.0, 0.25


def main() -> None:
    """Train what is missing and state what distilling gained."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="one epoch on 2,560 images, which proves nothing of accuracy"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=("teachers", *LOSSES), nargs="*", help="these arms by one seed, no claims")
    arguments = parser.parse_args()
    bench = Bench(quick=arguments.quick)
    if arguments.only:
        for arm in arguments.only:
            bench.run(arm, 0) if arm != "teachers" else [bench.teacher(depth) for depth in (56, 44, 32)]
        return
    for arm in LOSSES:
        bench.run(arm, 0)
    best = max((arm for arm in LOSSES if arm != "control"), key=lambda arm: bench.run(arm, 0)["validation_accuracy"])
    seeds = range(1 if arguments.quick else arguments.seeds)
    teacher = bench.run_teacher()
    control, distilled = ([bench.run(arm, seed)["test_accuracy"] for seed in seeds] for arm in ("control", best))
    claim(bench, teacher["test_accuracy"], best, control, distilled)


class Bench:
    """The data, the results, and the networks that several arms share."""

    def __init__(self, *, quick: bool) -> None:
        self.quick = quick
        self.results = Results("cifar10_resnet8", quick=quick, keep=True)
        self.folder = WORK / f"cifar10-resnet8{'-quick' if quick else ''}"
        data = load()
        self.data = replace(data, train=spread(data.train, 2560)) if quick else data

    def run(self, arm: str, seed: int) -> dict[str, Any]:
        """Train and test one arm by one seed, unless it is in the results."""
        spec = self._short(replace(SCHEDULE, losses=LOSSES[arm], seed=seed))
        settings = settings_of(spec, self._short(FINE_TUNING), TEACHERS.get(arm, (TEACHER,)), ASSISTANT)
        for run in self.results.runs:
            if (run["arm"], run["seed"], run["settings"]) == (arm, seed, settings):
                return run
        trained = self.student(arm, seed)
        return self._add(arm, seed, settings, spec, trained.network, trained.facts)

    def student(self, arm: str, seed: int) -> Trained:
        """Train a student, or load the one that an earlier call has trained."""
        teachers = (
            [self.assistant(seed)]
            if arm == "assistant"
            else [self.teacher(each) for each in TEACHERS.get(arm, (TEACHER,))]
        )
        return train(
            build("mlperf_resnet8", self.data, seed),
            data=self.data,
            spec=self._short(replace(SCHEDULE, losses=LOSSES[arm], seed=seed)),
            teachers=teachers,
            folder=self.folder / f"{arm}-{seed}",
            name=f"{arm} {seed}",
        )

    def run_teacher(self) -> dict[str, Any]:
        """Test the teacher, unless it is in the results."""
        spec = self._short(FINE_TUNING)
        settings = settings_of(spec, TEACHER)
        for run in self.results.runs:
            if (run["arm"], run["settings"]) == ("teacher", settings):
                return run
        return self._add("teacher", 0, settings, spec, self.teacher(TEACHER), {})

    def teacher(self, depth: int) -> nn.Module:
        """Fine-tune a published ResNet on the stored images."""
        return train(
            load_published(depth, self.data).requires_grad_(requires_grad=True),
            data=self.data,
            spec=self._short(FINE_TUNING),
            folder=self.folder / f"resnet{depth}",
            name=f"resnet{depth}",
        ).network

    def assistant(self, seed: int) -> nn.Module:
        """Distil a ResNet-20 from the teacher, starting at its published weights."""
        return train(
            load_published(ASSISTANT, self.data).requires_grad_(requires_grad=True),
            data=self.data,
            spec=self._short(replace(FINE_TUNING, epochs=4, views=4, losses=KD, seed=seed)),
            teachers=[self.teacher(TEACHER)],
            folder=self.folder / f"assistant-resnet{ASSISTANT}-{seed}",
            name=f"assistant {seed}",
        ).network

    def _short(self, spec: DistillSpec) -> DistillSpec:
        return replace(spec, epochs=1, views=spec.views and 1) if self.quick else spec

    def _add(
        self, arm: str, seed: int, settings: str, spec: DistillSpec, network: nn.Module, facts: object
    ) -> dict[str, Any]:
        data = self.data
        held, test = (logits_of(network, split, data.scale) for split in (data.validation, data.test))
        self.results.add(
            arm=arm,
            seed=seed,
            settings=settings,
            git_revision=self.results.revision,
            spec=spec,
            training=facts,
            validation_accuracy=1 - errors_of(held, data.validation.labels) / len(data.validation),
            test_accuracy=1 - errors_of(test, data.test.labels) / len(data.test),
        )
        run = self.results.runs[-1]
        print(arm, seed, run["validation_accuracy"], run["test_accuracy"], flush=True)
        return run


def claim(bench: Bench, teacher: float, best: str, control: Sequence[float], distilled: Sequence[float]) -> None:
    """State what the arms reach, and the gain of the best one over its control, seed by seed."""
    results, count = bench.results, len(control)
    results.claim("teacher_accuracy", teacher, "share")
    for arm in LOSSES:
        if arm not in ("control", best):
            results.claim(f"{arm}_accuracy", bench.run(arm, 0)["test_accuracy"], "share, one seed")
    for arm, values in (("control", control), (best, distilled)):
        unit = f"share, mean of {count}"
        results.claim(f"{arm}_accuracy", statistics.fmean(values), unit, low=min(values), high=max(values))
    gains = [100 * (one - other) for one, other in zip(distilled, control, strict=True)]
    results.claim(
        f"gain_of_{best}",
        statistics.fmean(gains),
        f"points over the control, mean of {count} seeds",
        bound=f"at least {GAIN:g}",
        holds=statistics.fmean(gains) >= GAIN,
        low=min(gains),
        high=max(gains),
    )
    gap = teacher - statistics.fmean(control)
    share = (statistics.fmean(distilled) - statistics.fmean(control)) / gap
    results.claim(
        "recovered", share, "of the gap to the teacher", bound=f"at least {RECOVERED:g}", holds=share >= RECOVERED
    )


if __name__ == "__main__":
    main()
