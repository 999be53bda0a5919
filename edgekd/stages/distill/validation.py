"""How good a network is on a split, in the metric of its task."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from edgekd.datasets import Dataset, Split
from edgekd.metrics import Scores, metrics_of, score_all
from edgekd.stages.distill.views import labels_of, ready, share

BATCH = 500


def predict(network: nn.Module, split: Split, scale: float, device: torch.device) -> torch.Tensor:
    """Send a split through a network, batch by batch.

    Returns:
        (N, outputs) float32, on `device`.
    """
    network.eval()
    batches = torch.split(share(split.inputs), BATCH)
    with torch.inference_mode():
        return torch.cat([network(ready(batch.to(device), scale)) for batch in batches])


def loss_of(outputs: torch.Tensor, split: Split, data: Dataset) -> float:
    """Give the plain loss of a task: cross-entropy, or the squared error where outputs are no classes."""
    labels = labels_of(split, data).to(outputs.device)
    if data.task == "single_label":
        return float(functional.cross_entropy(outputs, labels))
    if data.task == "multi_label":
        return float(functional.binary_cross_entropy_with_logits(outputs, labels))
    if data.task == "reconstruction":
        # Anomalies are not meant to be reconstructed.
        normal = labels == 0
        wanted = ready(share(split.inputs).to(outputs.device), data.scale).flatten(1)
        return float(functional.mse_loss(outputs[normal], wanted[normal])) if bool(normal.any()) else math.nan
    return float(functional.mse_loss(outputs, labels))


def scores_of(outputs: torch.Tensor, split: Split, data: Dataset) -> tuple[Scores, ...]:
    """Score every sample by every metric of the task that has a meaning for the split; the primary one first."""
    inputs = data.ready(split).reshape(len(split), -1) if data.task == "reconstruction" else None
    return score_all(data.task, outputs=outputs.float().cpu().numpy(), labels=split.labels, inputs=inputs)


def primary_metric(data: Dataset) -> str:
    """The metric that choices are made by, on validation data."""
    return metrics_of(data.task, data.validation.labels)[0]
