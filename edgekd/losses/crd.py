"""Contrastive distillation: tell the teacher's feature of the same sample from those of others (Tian et al. 2020)."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from edgekd.errors import ConfigError
from edgekd.losses._features import check_count, check_not_empty, vectors


def loss(
    *,
    student_feature: torch.Tensor,
    teacher_feature: torch.Tensor,
    indices: torch.Tensor,
    projector: nn.Module,
    mask: torch.Tensor | None = None,
    temperature: float = 0.07,
    dimension: int = 128,
    negatives: int = 4096,
    momentum: float = 0.5,
) -> torch.Tensor:
    r"""Classify pairs of student and teacher features into same sample and different samples.

    .. math:: -\frac{1}{B} \sum_b \left[ \log h(s_b, t_b) + \sum_{j=1}^N \log (1 - h(s_b, t_j)) \right]
        \; + \; \text{the same from } t_b, \quad
        h(s, t) = \frac{e^{s \cdot t / \tau} / Z}{e^{s \cdot t / \tau} / Z + N / M}

    with embeddings s and t of unit length, N negatives of M training samples (arXiv:1910.10699, section 3.1: the
    contrastive objective and its critic h), and the constant Z that the authors' code adds after Wu et al. 2018
    (arXiv:1805.01978, eq. 8): the mean of e^{s t / tau} over the first negatives times M. Negatives come from a
    memory of all samples' embeddings, which follow the current ones with a momentum; they are drawn from torch's
    global generator and never are the sample itself.

    Args:
        student_feature: (B, ...); maps are averaged over space, sequences over tokens.
        teacher_feature: (B, ...), likewise.
        indices: (B,) int64 numbers of the samples in the training split.
        projector: What `build_projector` made.
        mask: (B, T), false where a sequence is filled up: padding does not count.
        temperature: Tau, above 0.
        dimension: Of the embeddings.
        negatives: N.
        momentum: Share of the memory that stays when a sample is seen, from 0 to 1, 1 excluded.

    Returns:
        Scalar, in nats, above 0.

    >>> projector = build_projector(student_shape=(8,), teacher_shape=(16,), samples=100)
    >>> inputs = {"student_feature": torch.randn(4, 8), "teacher_feature": torch.randn(4, 16)}
    >>> loss(**inputs, indices=torch.arange(4), projector=projector, negatives=32).item() > 0
    True
    """
    del dimension  # the projector has it
    features = (vectors(each, mask) for each in (student_feature, teacher_feature))
    value: torch.Tensor = projector(*features, indices, temperature, negatives, momentum)
    return value


def build_projector(
    *, student_shape: tuple[int, ...], teacher_shape: tuple[int, ...], samples: int, dimension: int = 128
) -> nn.Module:
    """Make the embeddings of both networks and the memory of all samples.

    Args:
        student_shape: (C,), (T, C) or (C, H, W).
        teacher_shape: The same kinds; not necessarily the student's.
        samples: Size of the training split, M; the memory takes `8 * samples * dimension` bytes.
        dimension: Of the embeddings.

    Returns:
        A module that the student is trained with.

    Raises:
        ConfigError: Features of more than three dimensions, fewer than two samples, or no dimension.

    >>> build_projector(student_shape=(8,), teacher_shape=(16, 4, 4), samples=50, dimension=32).student
    Linear(in_features=8, out_features=32, bias=True)
    """
    check_count("crd", "dimension", dimension)
    check_not_empty("crd", student_shape, teacher_shape)
    if samples < 2:
        raise ConfigError(
            f"{samples} training samples leave nothing to contrast", where="loss crd", allowed="at least 2 samples"
        )
    for side, shape in (("student", student_shape), ("teacher", teacher_shape)):
        if len(shape) > 3:
            raise ConfigError(
                f"the {side}'s layer gives {tuple(shape)}",
                where="loss crd",
                allowed="vectors (channels,), sequences (tokens, channels) or maps (channels, height, width)",
                next_step="choose a layer after pooling",
            )
    return _Contrast(_channels(student_shape), _channels(teacher_shape), samples, dimension)


def _channels(shape: tuple[int, ...]) -> int:
    return shape[-1] if len(shape) < 3 else shape[0]


class _Contrast(nn.Module):
    """Embeddings of student and teacher, and the memory that negatives come from."""

    student_memory: torch.Tensor
    teacher_memory: torch.Tensor
    log_scale: torch.Tensor

    def __init__(self, student: int, teacher: int, samples: int, dimension: int) -> None:
        super().__init__()
        self.student = nn.Linear(student, dimension)
        self.teacher = nn.Linear(teacher, dimension)
        for side in ("student", "teacher"):
            self.register_buffer(f"{side}_memory", functional.normalize(torch.randn(samples, dimension), dim=1))
        # log Z for the student's and the teacher's embeddings; not a number until the first batch.
        self.register_buffer("log_scale", torch.full((2,), math.nan))

    def forward(
        self,
        student_feature: torch.Tensor,
        teacher_feature: torch.Tensor,
        indices: torch.Tensor,
        temperature: float,
        negatives: int,
        momentum: float,
    ) -> torch.Tensor:
        """Give the loss, and remember the batch."""
        student = functional.normalize(self.student(student_feature), dim=1)
        teacher = functional.normalize(self.teacher(teacher_feature), dim=1)
        samples = len(self.student_memory)
        # One draw serves the whole batch: from all but one sample, then past each sample's own place.
        draw = torch.randint(samples - 1, (negatives,), device=indices.device)
        past_own = draw >= indices[:, None]
        same = (student * teacher).sum(dim=1, keepdim=True) / temperature
        total = torch.zeros_like(same)
        for side, (anchors, memory) in enumerate(((student, self.teacher_memory), (teacher, self.student_memory))):
            others = torch.where(past_own, anchors @ memory[draw + 1].T, anchors @ memory[draw].T) / temperature
            shift = self._scale(side, others.detach()) + math.log(negatives / samples)
            total = total - functional.logsigmoid(same - shift)
            # log(1 - h) without taking h from 1
            total = total - functional.logsigmoid(shift - others).sum(dim=1, keepdim=True)
        self._remember(indices, student.detach(), teacher.detach(), momentum)
        return total.mean()

    def _scale(self, side: int, scores: torch.Tensor) -> torch.Tensor:
        """Log Z, estimated once; chosen without a look at the number, which would wait for a GPU."""
        estimate = scores.logsumexp(dim=(0, 1)) - math.log(scores.numel() / len(self.student_memory))
        kept = torch.where(self.log_scale[side].isnan(), estimate, self.log_scale[side])
        self.log_scale[side] = kept
        return kept

    def _remember(self, indices: torch.Tensor, student: torch.Tensor, teacher: torch.Tensor, momentum: float) -> None:
        for memory, current in ((self.student_memory, student), (self.teacher_memory, teacher)):
            memory[indices] = functional.normalize(momentum * memory[indices] + (1 - momentum) * current, dim=1)
