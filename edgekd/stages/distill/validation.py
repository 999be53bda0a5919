"""How good a network is on a split, in the metric of its task."""

from __future__ import annotations

import inspect
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from edgekd import registry, stats
from edgekd.datasets import Dataset, Split
from edgekd.metrics import metrics_of
from edgekd.stages.distill.views import labels_of, ready, share

_BATCH = 1000


def predict(network: nn.Module, split: Split, scale: float, device: torch.device) -> torch.Tensor:
    """Send a split through a network, batch by batch.

    Returns:
        (N, outputs) float32, on `device`.
    """
    network.eval()
    batches = torch.split(share(split.inputs), _BATCH)
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


def scores_of(
    metric: str, outputs: NDArray[np.float32], split: Split, data: Dataset
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Score every sample.

    Returns:
        (N,) scores, and the labels that `auc` needs beside them.
    """
    inputs = data.ready(split).reshape(len(split), -1) if data.task == "reconstruction" else None
    score = registry.function("metrics", metric)
    given = {"inputs": inputs} if "inputs" in inspect.signature(score).parameters else {}
    scores = score(outputs=outputs, labels=split.labels, **given)
    return scores, split.labels.astype(np.float64) if metric == "auc" else None


def score_of(outputs: torch.Tensor, split: Split, data: Dataset) -> float:
    """Give the primary metric of the task."""
    scores, labels = scores_of(primary_metric(data), outputs.float().cpu().numpy(), split, data)
    return float(scores.mean()) if labels is None else stats.auc(scores, labels)


def primary_metric(data: Dataset) -> str:
    """The metric that choices are made by."""
    return metrics_of(data.task)[0]
