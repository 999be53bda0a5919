"""Networks that a benchmark trains: built by seed, trained once, kept as weights, and tried on a split."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from results_file import git_revision
from torch import nn

from edgekd import registry, store
from edgekd.datasets import Dataset, Split
from edgekd.progress import Silent
from edgekd.records import DistillSpec
from edgekd.stages.distill import distill, save_weights

WORK = Path("runs") / "benchmarks"
# Teachers' caches beside the other work, not in the user's own folder.
os.environ.setdefault("EDGEKD_CACHE", str((WORK / "cache").absolute()))
_EVALUATION_BATCH = 1000


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A network that was trained now or in an earlier call.

    Attributes:
        key: Hash of all settings, first weights, data and teachers.
        facts: Of its training: seconds, epochs, the best epoch's validation score.
    """

    network: nn.Module
    key: str
    facts: Mapping[str, Any]


class Log(Silent):
    """Prints a line now and then, for a training in the background."""

    def __init__(self, every_s: float = 60.0) -> None:
        self.every_s, self.name, self.total, self.done, self.last = every_s, "", 0, 0, time.perf_counter()

    def start(self, name: str, total: int) -> None:
        """A piece of work begins."""
        self.name, self.total, self.done = name, total, 0

    def advance(self, count: int = 1) -> None:
        """Some of it is done."""
        self.done += count
        if time.perf_counter() - self.last >= self.every_s:
            self.last = time.perf_counter()
            print(f"{time.strftime('%H:%M:%S')} {self.name} {self.done}/{self.total}", flush=True)

    def end(self) -> None:
        """It ended."""


def build(model: str, data: Dataset, seed: int, **options: object) -> nn.Module:
    """Build a network whose first weights depend on the seed alone."""
    make = registry.function("networks", model)
    if data.tokens is not None:
        options["tokens"] = data.tokens
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network: nn.Module = make(classes=data.outputs, input_shape=data.input_shape, **options)
    return network


def settings_of(spec: DistillSpec, *more: object) -> str:
    """Give a short hash that tells the runs of one setting from those of another, whatever their seed."""
    return store.fingerprint(said(replace(spec, seed=0)), *(said(each) for each in more))[:12]


def said(value: object) -> object:
    """Reduce records to what differs from the defaults, so that a new field changes no hash of before it."""
    if is_dataclass(value) and not isinstance(value, type):
        told = ((each, getattr(value, each.name)) for each in fields(value))
        return {
            each.name: said(found)
            for each, found in told
            if found != (each.default if each.default_factory is MISSING else each.default_factory())
        }
    return [said(each) for each in value] if isinstance(value, tuple) else value


def train(
    network: nn.Module,
    *,
    data: Dataset,
    spec: DistillSpec,
    teachers: Sequence[nn.Module] = (),
    transfer: Split | None = None,
    folder: Path,
    name: str,
) -> Trained:
    """Train a network, or load it where the very same training has ended before.

    Weights of an earlier revision count too; a training that was cut off goes on from its checkpoint.
    """
    learned = data if transfer is None else replace(data, train=transfer)
    taught_by = [hash_weights(each) for each in teachers]
    key = store.fingerprint(said(spec), repr(network), hash_weights(network), learned.sha256, taught_by)
    weights, facts_file = folder / "weights.safetensors", folder / "facts.json"
    if weights.exists() and facts_file.exists():
        kept = store.read_json(facts_file, dict[str, Any])
        if kept["key"] == key and kept["sha256"] == store.sha256_of(weights):
            loaded: nn.Module = registry.function("teachers", "torch")(network=network, weights=weights)
            # As after training: some learn on from here.
            return Trained(network=loaded.requires_grad_(requires_grad=True), key=key, facts=kept["facts"])
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    done = distill(
        network,
        data=data,
        teachers=teachers,
        transfer=transfer,
        spec=spec,
        folder=folder,
        progress=Log(),
        name=name,
    )
    # The first one of this score, as the training chooses.
    best = next(record for record in done.history if record.validation_score == done.score)
    facts = {
        "git_revision": git_revision(),
        "code": store.code_fingerprint("stages/distill", "augmentations", "losses")[:12],
        "seconds_of_the_last_call": time.perf_counter() - started,
        "epochs": len(done.history),
        "best_epoch": best.epoch + 1,
        "validation_score": best.validation_score,
        "train_loss": done.history[-1].train_loss,
    }
    save_weights(done.network, weights)
    store.write_json(facts_file, {"key": key, "sha256": store.sha256_of(weights), "facts": facts})
    return Trained(network=done.network.eval(), key=key, facts=facts)


def hash_weights(network: nn.Module) -> str:
    """Hash a network's weights and buffers."""
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def spread(split: Split, count: int) -> Split:
    """Take samples at equal distances: sources may be sorted by class."""
    return split.take(np.arange(count) * len(split) // count)


def save_arrays(path: Path, **splits: Split) -> None:
    """Write splits as the data source `npz` reads them: x_train, y_train, x_test, y_test."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, split in splits.items():
        arrays |= {f"x_{name}": split.inputs, f"y_{name}": split.labels}
    path.parent.mkdir(parents=True, exist_ok=True)
    with store.atomic_path(path) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def logits_of(network: nn.Module, split: Split, scale: float) -> NDArray[np.float32]:
    """Send a split through a network in float32: (N, classes)."""
    network.eval()
    batches = []
    with torch.inference_mode():
        for start in range(0, len(split), _EVALUATION_BATCH):
            raw = torch.from_numpy(np.array(split.inputs[start : start + _EVALUATION_BATCH]))
            ready = raw.to(torch.float32) * scale
            if ready.ndim == 4:
                ready = ready.contiguous(memory_format=torch.channels_last)
            batches.append(network(ready).numpy())
    return np.concatenate(batches)


def errors_of(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> int:
    """Count wrong predictions."""
    return int((logits.argmax(1) != labels).sum())
