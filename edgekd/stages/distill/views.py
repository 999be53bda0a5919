"""Augmented views: what is seen of a sample is a pure function of (seed, view, sample index)."""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from edgekd import registry
from edgekd.augmentations._random import uniform
from edgekd.datasets import Dataset, Split
from edgekd.errors import ConfigError
from edgekd.records import TOKEN_TASKS, AugmentationTerm
from edgekd.stages.distill.positions import prepare

# Far from the streams that augmentations draw from.
_PARTNER_STREAM = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What the networks see in one step.

    Attributes:
        inputs: (B, ...) float32, ready for the network.
        labels: (B,) int64 or, where samples are mixed or the task has no classes, (B, outputs) float32. Of tokens
            (B, T) int64, what each position predicts, -1 for nothing.
        indices: (B,) int64, which samples of the split these are.
        positions: (B,) int64, where they lie in their source.
        view: Number of the view.
    """

    inputs: torch.Tensor
    labels: torch.Tensor
    indices: torch.Tensor
    positions: torch.Tensor
    view: int


class Views:
    """A split as training sees it.

    Args:
        split: Samples; memory-mapped ones are read batch by batch.
        data: For scale, task and classes.
        augmentations: Applied in order; one that mixes samples comes last.
        seed: Of the augmentations.
        device: Where batches go.

    Raises:
        ConfigError: A mixing augmentation that is not the last, or of a task without classes.
    """

    def __init__(
        self, split: Split, data: Dataset, augmentations: Sequence[AugmentationTerm], seed: int, device: torch.device
    ) -> None:
        self.data, self.seed, self.device = data, seed, device
        # On a GPU the split is held there; on the CPU nothing is copied.
        self.inputs = share(split.inputs).to(device)
        self.labels = labels_of(split, data).to(device)
        positions = np.arange(len(split)) if split.positions is None else split.positions
        self.positions = share(positions).to(device)
        self.plain: list[tuple[Callable[..., torch.Tensor], dict[str, Any]]] = []
        self.mixing: tuple[Callable[..., tuple[torch.Tensor, torch.Tensor]], dict[str, Any]] | None = None
        for term in augmentations:
            augment = registry.function("augmentations", term.name)
            if self.mixing is not None:
                raise ConfigError(f"'{term.name}' after an augmentation that mixes samples", allowed="one, at the end")
            if "partners" not in inspect.signature(augment).parameters:
                self.plain.append((augment, dict(term.options)))
            elif data.task != "single_label":
                raise ConfigError(f"augmentation '{term.name}' mixes classes; the task is {data.task}")
            else:
                self.mixing = augment, dict(term.options)

        self._bytes = split.inputs

    def __len__(self) -> int:
        return len(self.inputs)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of all that a teacher can see of the samples."""
        digest = hashlib.sha256(repr((self._bytes.shape, str(self._bytes.dtype), self.data.scale)).encode())
        digest.update(np.ascontiguousarray(self._bytes).data)
        digest.update(self.positions.cpu().numpy().data)
        return digest.hexdigest()

    def batch(self, indices: torch.Tensor, view: int) -> Batch:
        """Give samples as they look in a view.

        Args:
            indices: (B,) int64, on the views' device.
            view: Number of the view.
        """
        inputs, labels = self._plain(indices, view), self.labels[indices]
        if self.mixing is not None:
            augment, options = self.mixing
            partner = (uniform(self.seed, view, indices, _PARTNER_STREAM) * len(self)).long()
            inputs, share_kept = augment(
                seed=self.seed,
                view=view,
                indices=indices,
                inputs=inputs,
                partners=self._plain(partner, view),
                **options,
            )
            kept = share_kept[:, None]
            labels = kept * self._one_hot(labels) + (1 - kept) * self._one_hot(self.labels[partner])
        elif self.data.task == "reconstruction":
            labels = inputs.flatten(1)
        elif self.data.task in TOKEN_TASKS and self.data.tokens is not None:
            inputs, labels = prepare(
                inputs, self.data.task, self.data.tokens, seed=self.seed, view=view, indices=indices
            )
        return Batch(
            inputs=_channels_last(inputs), labels=labels, indices=indices, positions=self.positions[indices], view=view
        )

    def _plain(self, indices: torch.Tensor, view: int) -> torch.Tensor:
        inputs = self.inputs[indices]
        for augment, options in self.plain:
            inputs = augment(seed=self.seed, view=view, indices=indices, inputs=inputs, **options)
        return _scaled(inputs, self.data.scale)

    def _one_hot(self, labels: torch.Tensor) -> torch.Tensor:
        """Give (B, classes); a row of zeros where there is no label."""
        known = functional.one_hot(labels.clamp(min=0), len(self.data.classes)).float()
        return known * (labels >= 0)[:, None]


def default_device() -> torch.device:
    """The GPU of this process where there is one."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def channels_last(network: nn.Module) -> nn.Module:
    """Lay out a network's weights as its inputs are."""
    if any(isinstance(each, nn.Conv2d) for each in network.modules()):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    return network


def labels_of(split: Split, data: Dataset) -> torch.Tensor:
    """Give a split's labels as losses take them: int64 classes, or float32 where they are not single classes."""
    wanted = torch.float32 if data.task in ("multi_label", "regression") else torch.int64
    return share(split.labels).to(wanted)


def ready(inputs: torch.Tensor, scale: float) -> torch.Tensor:
    """Give stored values as networks take them."""
    return _channels_last(_scaled(inputs, scale))


def share(array: NDArray[np.generic]) -> torch.Tensor:
    """Give an array to torch without a copy; nothing here writes to it, so it may be memory-mapped read-only."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(np.ascontiguousarray(array))


def _scaled(inputs: torch.Tensor, scale: float) -> torch.Tensor:
    return inputs.to(torch.float32).mul_(scale) if inputs.dtype != torch.float32 else inputs * scale


def _channels_last(inputs: torch.Tensor) -> torch.Tensor:
    return inputs.contiguous(memory_format=torch.channels_last) if inputs.ndim == 4 else inputs
