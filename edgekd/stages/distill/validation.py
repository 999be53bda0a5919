"""How good a network is on a split, in the metric of its task."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional

from edgekd.datasets import Dataset, Split
from edgekd.metrics import Scores, metrics_of, score_all
from edgekd.records import TOKEN_TASKS
from edgekd.stages.distill.other_tokens import OtherTokens
from edgekd.stages.distill.positions import Positions, Use, nats_of, prepare
from edgekd.stages.distill.views import labels_of, ready, share

BATCH = 500
# In one batch, where samples are texts: hidden states of more are more than memory holds.
_TOKENS = 2**14
# Of validation, in which always the same tokens are hidden.
_SEED = 0


def predict(network: nn.Module, split: Split, data: Dataset, device: torch.device) -> torch.Tensor:
    """Send a split through a network, batch by batch.

    Args:
        network: On `device`; one of tokens may be a `Positions`.
        split: One of the data's.
        data: For scale, task and tokens.
        device: Where to compute.

    Returns:
        (N, outputs) float32, on `device`; where tokens are predicted (N, 2) float64, nats and tokens of each sample.
    """
    network.eval()
    if data.task in TOKEN_TASKS:
        return _nats(network, split, data, device)
    batches = torch.split(share(split.inputs), BATCH)
    with torch.inference_mode():
        return torch.cat([network(ready(batch.to(device), data.scale)) for batch in batches])


def batches_of_tokens(split: Split, data: Dataset, device: torch.device) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Give inputs and labels (B, T) of a split, whose hidden tokens are always the same."""
    assert data.tokens is not None  # noqa: S101 - the data was checked
    for indices in torch.arange(len(split)).split(max(1, _TOKENS // split.inputs.shape[1])):  # type: ignore[no-untyped-call]  # torch's stubs
        inputs = ready(share(split.inputs)[indices].to(device), data.scale)
        yield prepare(inputs, data.task, data.tokens, seed=_SEED, view=0, indices=indices.to(device))


def _nats(network: nn.Module, split: Split, data: Dataset, device: torch.device) -> torch.Tensor:
    if isinstance(network, OtherTokens):
        with torch.inference_mode():
            return torch.cat([network.nats(*batch) for batch in batches_of_tokens(split, data, device)])
    # A wrapper calls its module's `forward`, which is that of a `Positions`.
    is_ready = isinstance(getattr(network, "module", network), Positions)
    asked = network if is_ready else Positions(network)

    def against(labels: torch.Tensor) -> Use:
        return lambda hidden, head: nats_of(hidden, head, labels, data.outputs)

    with torch.inference_mode():
        found = [asked(inputs, against(labels)) for inputs, labels in batches_of_tokens(split, data, device)]
        return torch.cat(found)


def loss_of(outputs: torch.Tensor, split: Split, data: Dataset) -> float:
    """Give the plain loss of a task: cross-entropy, or the squared error where outputs are no classes.

    Args:
        outputs: As `predict` gives them.
        split: Their labels.
        data: For the task.
    """
    if data.task in TOKEN_TASKS:
        return float(outputs[:, 0].sum() / outputs[:, 1].sum())
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
    kind = torch.float64 if data.task in TOKEN_TASKS else torch.float32
    return score_all(data.task, outputs=outputs.to(kind).cpu().numpy(), labels=split.labels, inputs=inputs)


def primary_metric(data: Dataset) -> str:
    """The metric that choices are made by, on validation data."""
    return metrics_of(data.task, data.validation.labels)[0]
