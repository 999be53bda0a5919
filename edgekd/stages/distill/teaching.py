"""What teachers say of a batch: computed live or read from their caches, and put together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn import functional

from edgekd.cache import TeacherCache
from edgekd.datasets import Dataset
from edgekd.errors import ModelError
from edgekd.records import TOKEN_TASKS, Combine, TeacherSpec
from edgekd.stages.distill.positions import Said, places_of
from edgekd.stages.distill.views import Batch
from edgekd.teachers import StoredLogits


class Teachers(Protocol):
    """Teachers of a student, however they know what they say."""

    def outputs(self, batch: Batch) -> torch.Tensor:
        """Give what they say together: (B, outputs) float32, without gradient."""

    def said(self, batch: Batch) -> Said:
        """Give what they say at the positions of a batch of tokens that predict something."""


class LiveTeachers:
    """Teachers that look at each batch.

    Args:
        networks: Frozen, on the batches' device.
        weights: Share of each.
        combine: As `DistillSpec.combine`.
        mixed: Compute in bfloat16.
    """

    def __init__(
        self, networks: Sequence[nn.Module], weights: Sequence[float], combine: Combine, *, mixed: bool
    ) -> None:
        self.networks, self.weights, self.combine, self.mixed = tuple(networks), tuple(weights), combine, mixed

    def outputs(self, batch: Batch) -> torch.Tensor:
        """Send a batch through every teacher."""
        # Not inference_mode: what feature losses catch on the way takes part in autograd.
        with torch.no_grad(), torch.autocast(batch.inputs.device.type, dtype=torch.bfloat16, enabled=self.mixed):
            each = [ask(network, batch).float() for network in self.networks]
        return combine(each, self.weights, self.combine)

    def said(self, batch: Batch) -> Said:
        """Send a batch of tokens through every teacher, but for the heads."""
        networks: Sequence[Any] = self.networks
        places = places_of(batch.labels)
        with torch.no_grad(), torch.autocast(batch.inputs.device.type, dtype=torch.bfloat16, enabled=self.mixed):
            hidden = [network.hidden(batch.inputs).flatten(0, 1) for network in networks]
        known = getattr(networks[0], "known", None)

        def rows(span: slice) -> torch.Tensor:
            with torch.no_grad(), torch.autocast(batch.inputs.device.type, dtype=torch.bfloat16, enabled=self.mixed):
                each = [
                    network.head(states[places[span]]).float() for network, states in zip(networks, hidden, strict=True)
                ]
            return combine(each, self.weights, self.combine)

        return Said(rows=rows, known=None if known is None else known(batch.inputs).flatten()[places])


class CachedTeachers:
    """Teachers whose answers lie on the disk.

    Args:
        caches: Complete ones of the same samples and views.
        weights: Share of each.
        combine: As `DistillSpec.combine`.
    """

    def __init__(self, caches: Sequence[TeacherCache], weights: Sequence[float], combine: Combine) -> None:
        self.caches, self.weights, self.combine = tuple(caches), tuple(weights), combine

    def outputs(self, batch: Batch) -> torch.Tensor:
        """Read the answers to a batch."""
        indices = batch.indices.cpu().numpy()
        each = [torch.from_numpy(cache.read(batch.view, indices)).to(batch.inputs.device) for cache in self.caches]
        return combine(each, self.weights, self.combine)

    def said(self, batch: Batch) -> Said:
        """Read the answers at a batch's positions, which are rows of the caches, a slice at a time."""
        length = batch.labels.shape[1]
        places = places_of(batch.labels)
        numbers = (batch.indices[places // length] * length + places % length).cpu().numpy()

        def rows(span: slice) -> torch.Tensor:
            each = [
                torch.from_numpy(cache.read(batch.view, numbers[span])).to(batch.inputs.device) for cache in self.caches
            ]
            return combine(each, self.weights, self.combine)

        return Said(rows=rows)


def ask(teacher: nn.Module, batch: Batch) -> torch.Tensor:
    """Give one teacher's outputs: computed from the inputs, or looked up by where the samples lie in their source."""
    answer: torch.Tensor = (
        teacher(batch.positions, batch.view) if isinstance(teacher, StoredLogits) else teacher(batch.inputs)
    )
    return answer


def combine(outputs: Sequence[torch.Tensor], weights: Sequence[float], how: Combine) -> torch.Tensor:
    r"""Put the outputs of several teachers together.

    `logits`: :math:`\sum_t w_t z_t`, the geometric mean of their distributions; `probabilities`:
    :math:`\log \sum_t w_t \mathrm{softmax}(z_t)`, the arithmetic one (Hinton et al. 2015, section 4).
    `confidence` weighs the latter, for each sample, by :math:`w_t (1 - H(p_t) / \log C)`: a teacher that spreads its
    answer over all classes has no say (entropy as in Kwon et al. 2020, "Adaptive knowledge distillation based on
    entropy").

    Args:
        outputs: One (B, C) tensor a teacher.
        weights: Above 0; they need not sum to 1.
        how: Which mean.

    Returns:
        (B, C) logits; the teacher's own where there is only one.

    >>> sure, unsure = torch.tensor([[9.0, 0.0]]), torch.tensor([[0.0, 0.1]])
    >>> float(combine([sure, unsure], [1, 1], "confidence").argmax())
    0.0
    """
    if len(outputs) == 1:
        return outputs[0]
    shares = torch.tensor(weights, dtype=outputs[0].dtype, device=outputs[0].device)
    stacked = torch.stack(tuple(outputs))
    if how == "logits":
        return torch.einsum("t,tbc->bc", shares / shares.sum(), stacked)
    logs = functional.log_softmax(stacked, dim=2)
    each = shares[:, None].expand(stacked.shape[:2])
    if how == "confidence":
        entropy = -(logs.exp() * logs).sum(2)
        # Where nobody is sure of anything, all count alike.
        each = each * (1 - entropy / math.log(stacked.shape[2])).clamp(min=1e-6)
    return torch.logsumexp(logs + (each / each.sum(0)).log()[:, :, None], dim=0)


class AdaptedTeacher(nn.Module):
    """A teacher that wants other inputs than the student, or gives other outputs.

    Args:
        teacher: Takes and gives what its own training was made for.
        spec: What to do to inputs and outputs.
        data: The student's classes.
        name: For messages.

    Raises:
        ModelError: The teacher does not know one of the data's classes.
    """

    def __init__(self, teacher: nn.Module, spec: TeacherSpec, data: Dataset, name: str) -> None:
        super().__init__()
        self.teacher, self.scale, self.probabilities = teacher, spec.input_scale, spec.output == "probabilities"
        if data.tokens is not None and data.task in TOKEN_TASKS:
            raise ModelError(
                "the data are tokens, which are not scaled, and have no classes",
                where=name,
                next_step="leave out input_scale, input_mean, input_std, classes and output",
            )
        channels = data.input_shape[0]
        for key, values, neutral in (("mean", spec.input_mean, 0.0), ("std", spec.input_std, 1.0)):
            if len(values) not in (0, 1, channels):
                raise ModelError(
                    f"{len(values)} values for {channels} channels",
                    where=f"{name}: input_{key}",
                    allowed=f"1 or {channels}",
                )
            shape = (-1, *[1] * (len(data.input_shape) - 1))
            self.register_buffer(key, torch.tensor(values or (neutral,)).reshape(shape), persistent=False)
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.columns: torch.Tensor | None
        missing = [each for each in data.classes if spec.classes and each not in spec.classes]
        if missing:
            raise ModelError(
                f"the teacher does not know the class '{missing[0]}'",
                where=f"{name}: classes",
                allowed=f"all of {', '.join(data.classes)}, in the teacher's order; it may have more",
            )
        columns = [spec.classes.index(each) for each in data.classes] if spec.classes else []
        self.register_buffer("columns", torch.tensor(columns) if columns else None, persistent=False)

    @staticmethod
    def is_needed(spec: TeacherSpec) -> bool:
        """Whether a spec asks for anything that this class does."""
        changed = spec.input_scale != 1 or spec.input_mean or spec.input_std
        return bool(changed or spec.classes or spec.output != "logits")

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Give logits of the data's classes: (B, ...) to (B, classes)."""
        outputs: torch.Tensor = self.teacher((inputs * self.scale - self.mean) / self.std)
        if self.probabilities:
            outputs = outputs.clamp(min=1e-7).log()
        return outputs if self.columns is None else outputs[:, self.columns]
