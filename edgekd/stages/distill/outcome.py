"""What a training leaves: weights that plain PyTorch loads, their record, and what they are worth."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import nn

from edgekd import store, units
from edgekd.datasets import Dataset, Split
from edgekd.metrics import Scores
from edgekd.records import Conditions, Measurement, Model, Role
from edgekd.stages.distill.processes import Alone
from edgekd.stages.distill.validation import BATCH, predict, scores_of


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


def measure_network(network: nn.Module, split: Split, data: Dataset, model: Model) -> list[Measurement]:
    """Measure a torch network on a split, sample by sample.

    Args:
        network: The network behind `model`.
        split: Read once, at the end: the test split.
        data: For its scale and task.
        model: Its record.

    Returns:
        One measurement for each metric of the task; of a classifier that teaches also `recall`, what it predicts.
    """
    device = Alone().device
    outputs = predict(network.to(device), split, data, device)
    network.cpu()
    found = scores_of(outputs, split, data)
    if model.role == "teacher" and data.task == "single_label":
        predicted, labels = outputs.argmax(1).tolist(), split.labels.tolist()
        found += (Scores(metric="recall", samples=tuple(map(float, predicted)), labels=tuple(map(float, labels))),)
    return [
        Measurement(
            model_sha256=model.sha256,
            model=model.name,
            format=model.format,
            precision=model.precision,
            role=model.role,
            target="training",
            metric=scores.metric,
            unit=units.METRICS[scores.metric].unit,
            samples=scores.samples,
            labels=scores.labels,
            conditions=Conditions(
                runtime="torch", runtime_version=torch.__version__, threads=torch.get_num_threads(), batch=BATCH
            ),
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        for scores in found
    ]


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
