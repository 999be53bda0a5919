"""A run with all that distillation in full leaves: seeds, controls, an assistant, two teachers, caches."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.records import CacheFacts, EpochRecord, Measurement, Model, Role, Run, Teaching, TermShare

SAMPLES = 2000
# Share of the test samples that each network has right, by name; the shipped student is that of seed 1.
SCORES: dict[str, tuple[Role, float]] = {
    "teacher-0": ("teacher", 0.931),
    "teacher-1": ("teacher", 0.927),
    "assistant-0": ("assistant", 0.915),
    "student-seed-0": ("repeat", 0.888),
    "student-seed-1": ("repeat", 0.893),
    "student-seed-2": ("repeat", 0.886),
    "control-seed-0": ("control", 0.872),
    "control-seed-1": ("control", 0.878),
    "control-seed-2": ("control", 0.875),
}
SHIPPED = "student-seed-1"
PARAMETERS = {"teacher-0": 852_618, "teacher-1": 466_906, "assistant-0": 272_186}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def measured(name: str, role: Role, answers: NDArray[np.float64], *, of: str | None = None) -> Measurement:
    """Answers of a torch network, one a test sample; `of` is the name of the file behind it."""
    return Measurement(
        model_sha256=digest(of or name),
        model=name,
        format="torch",
        precision="fp32",
        role=role,
        target="training",
        metric="accuracy",
        unit="1",
        samples=tuple(answers.tolist()),
    )


def answers(share: float, seed: int) -> NDArray[np.float64]:
    """Exactly that share of the samples right, the wrong ones among those that are hard for all."""
    noise = np.random.default_rng(seed).normal(0, 0.05, SAMPLES)
    difficulty = np.random.default_rng(99).random(SAMPLES) + noise
    right: NDArray[np.float64] = (np.argsort(np.argsort(difficulty)) < round(share * SAMPLES)).astype(np.float64)
    return right


def history(top: float, seed: int, *, epochs: int = 30, terms: bool = False) -> tuple[EpochRecord, ...]:
    noise = np.random.default_rng(seed).normal(0, 1, (epochs, 3))
    return tuple(
        EpochRecord(
            epoch=epoch,
            learning_rate=0.05 * (1 + math.cos(math.pi * epoch / epochs)),
            train_loss=float(2.2 * math.exp(-epoch / 7) + 0.1 + 0.01 * noise[epoch, 0]),
            validation_loss=float(2.0 * math.exp(-epoch / 6) + 0.3 + 0.02 * noise[epoch, 1]),
            validation_score=float(top - 0.6 * math.exp(-epoch / 5) + 0.004 * noise[epoch, 2]),
            terms=_terms(epoch, epochs) if terms else (),
        )
        for epoch in range(epochs)
    )


def _terms(epoch: int, epochs: int) -> tuple[TermShare, ...]:
    hint = 0.006 * math.exp(-2 * epoch / epochs)
    soft = 0.7 + 0.2 * epoch / epochs
    return (
        TermShare(name="kl", weight=0.9, loss=soft + 0.02, gradient=soft),
        TermShare(name="cross_entropy", weight=0.1, loss=0.97 - soft, gradient=1 - soft - hint),
        TermShare(name="hint", weight=0.5, loss=0.01, gradient=hint),
    )


def cache(teacher: str) -> CacheFacts:
    return CacheFacts(
        teacher=teacher,
        path=f"cache/{teacher}",
        samples=45_000,
        views=8,
        classes=100,
        kept=16,
        size_bytes=45_000 * 8 * 100,
        precision="bfloat16",
        error=0.0123,
    )


def distilled_run() -> Run:
    """Two teachers taught an assistant, which taught three students; three controls had no teacher."""
    networks = [measured(name, role, answers(share, i)) for i, (name, (role, share)) in enumerate(SCORES.items())]
    student = measured(
        "student", "student", np.asarray(next(m.samples for m in networks if m.model == SHIPPED)), of=SHIPPED
    )
    files: tuple[tuple[str, Role, str], ...] = (
        ("teacher-0", "teacher", "teacher-0"),
        ("teacher-1", "teacher", "teacher-1"),
        ("assistant-0", "assistant", "assistant-0"),
        ("student", "student", SHIPPED),
    )
    models = [
        Model(
            name=name,
            path=Path("/runs/x") / name,
            format="torch",
            precision="fp32",
            role=role,
            sha256=digest(of),
            size_bytes=4 * PARAMETERS.get(name, 78_042),
            parameters=PARAMETERS.get(name, 78_042),
        )
        for name, role, of in files
    ]
    by_assistant = Teaching(
        metric="accuracy",
        combine="logits",
        scores={"assistant-0": 0.918},
        ensemble_score=0.918,
        disagreement=0.0,
        caches=(cache("assistant-0"),),
    )
    return Run(
        name="cifar10-resnet8",
        folder=Path("/runs/x"),
        recipe="[distill]\ncontrol = true\nseeds = 3\n",
        models=tuple(models),
        measurements=(*networks, student),
        histories={
            name: history(
                share + 0.004, i, epochs=40 if role == "teacher" else 30, terms=role in ("repeat", "assistant")
            )
            for i, (name, (role, share)) in enumerate(SCORES.items())
        },
        teachings={
            "assistant-0": Teaching(
                metric="accuracy",
                combine="logits",
                scores={"teacher-0": 0.934, "teacher-1": 0.930},
                ensemble_score=0.941,
                disagreement=0.0423,
                caches=(cache("teacher-0"), cache("teacher-1")),
            ),
            **{f"student-seed-{seed}": by_assistant for seed in range(3)},
        },
    )


@pytest.fixture
def distilled() -> Callable[[], Run]:
    return distilled_run
