"""Trains a student from teachers, or a teacher from labels."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgekd import registry, store
from edgekd.datasets import Dataset, Split
from edgekd.progress import Progress
from edgekd.records import Conditions, DistillSpec, EpochRecord, LossTerm, Measurement, Model, Role
from edgekd.stages.distill.fit import TeacherEnsemble, fit, pick_device, predict
from edgekd.stages.distill.preflight import check_data, check_network, check_spec, check_teachers

__all__ = ["Distilled", "describe_weights", "distill", "measure_accuracy", "save_weights", "serialise_weights"]

_log = logging.getLogger("edgekd")
HINTON = (LossTerm(name="kl", weight=0.9, options={"temperature": 4.0}), LossTerm(name="cross_entropy", weight=0.1))
LABELS = (LossTerm(name="cross_entropy"),)


@dataclass(frozen=True, kw_only=True)
class Distilled:
    """A trained network and how its training went.

    Attributes:
        network: With the weights of its best epoch, in eval mode.
    """

    network: nn.Module
    history: tuple[EpochRecord, ...]


def distill(
    student: nn.Module,
    *,
    data: Dataset,
    teachers: Sequence[nn.Module] = (),
    teacher_weights: Sequence[float] | None = None,
    spec: DistillSpec | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
    name: str = "student",
) -> Distilled:
    """Train a network, from teachers where there are any.

    Without losses in the spec: Hinton's (0.9 soft at T = 4, 0.1 hard) with teachers, cross-entropy without.

    Args:
        student: Takes (B, *data.input_shape) float32, gives (B, classes) logits; trained in place.
        data: Its training split is learned, its validation split chooses the epoch.
        teachers: Networks with the same inputs and outputs.
        teacher_weights: Share of each; equal by default.
        spec: Schedule and losses.
        folder: Keeps a checkpoint, so that a killed run goes on and ends with the same bytes.
        progress: Hears of batches.
        name: For messages and progress.

    Returns:
        The student with the weights of its best epoch.

    Raises:
        ConfigError: The spec, or the teachers' weights, can't be meant.
        DataError: The network does not take the data's shape.
        ModelError: A teacher has other classes than the data, or the student nothing to train.
        TrainingError: The loss is not a number.
    """
    spec = spec or DistillSpec()
    losses = spec.losses or (HINTON if teachers else LABELS)
    shares = tuple([1.0] * len(teachers) if teacher_weights is None else teacher_weights)
    check_spec(spec, losses, data, has_teachers=bool(teachers), name=name)
    check_data(data)
    check_teachers(student, teachers, shares, name)
    device = pick_device()
    for network, role in [(student, name), *((teacher, "teacher") for teacher in teachers)]:
        check_network(network.to(device), data, role, device)
    ensemble = TeacherEnsemble(tuple(teachers), shares)
    terms = [(term, registry.function("losses", term.name)) for term in losses]
    history = fit(
        student,
        data=data,
        spec=spec,
        teachers=ensemble,
        terms=terms,
        folder=folder,
        progress=progress,
        name=name,
        device=device,
    )
    return Distilled(network=student.eval().cpu(), history=history)


def serialise_weights(network: nn.Module) -> bytes:
    """Turn a network's weights into the bytes of a safetensors file, and nothing else."""
    from safetensors.torch import save

    # Clones, because safetensors refuses tied weights, which share their memory.
    state = {
        key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, value in network.state_dict().items()
    }
    return bytes(save(state))


def save_weights(network: nn.Module, path: Path) -> None:
    """Write a network's weights as safetensors, whole or not at all; plain PyTorch loads them."""
    store.write_bytes(path, serialise_weights(network))


def measure_accuracy(network: nn.Module, split: Split, data: Dataset, model: Model) -> Measurement:
    """Measure a torch network on a split, sample by sample.

    Args:
        network: The network behind `model`.
        split: Read once, at the end: the test split.
        data: For its scale.
        model: Its record.

    Returns:
        Metric `accuracy`: one 0 or 1 per sample.
    """
    device = pick_device()
    logits: NDArray[np.float32] = predict(network.to(device), split, data.scale, device).cpu().numpy()
    network.cpu()
    correct = registry.function("metrics", "accuracy")(outputs=logits, labels=split.labels)
    return Measurement(
        model_sha256=model.sha256,
        model=model.name,
        format="torch",
        precision=model.precision,
        role=model.role,
        target="training",
        metric="accuracy",
        unit="1",
        samples=tuple(float(each) for each in correct),
        conditions=Conditions(
            runtime="torch", runtime_version=torch.__version__, threads=torch.get_num_threads(), batch=1000
        ),
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def describe_weights(path: Path, network: nn.Module, *, name: str, role: Role, data: Dataset) -> Model:
    """Make the record of a torch weights file."""
    return Model(
        name=name,
        path=path,
        format="torch",
        precision="fp32",
        role=role,
        sha256=store.sha256_of(path),
        size_bytes=path.stat().st_size,
        parameters=sum(each.numel() for each in network.parameters()),
        made_by=f"torch {torch.__version__}",
        input_scale=data.scale,
    )
