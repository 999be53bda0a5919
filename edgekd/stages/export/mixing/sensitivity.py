"""Measures on validation data what each layer costs in each precision, all others being float."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from edgekd import store
from edgekd.cache import cache_root
from edgekd.progress import Progress
from edgekd.records import Ranges, Task
from edgekd.simulation import operators, simulate
from edgekd.simulation.folding import make_plain
from edgekd.stages.export.verifying import spread_of

_CODE = ("stages/export/mixing/sensitivity.py", "simulation")
_BATCH = 64
# What one batch may hold of all activations, in bytes.
_BYTES = 2**28
_OF_VALUES = ("regression", "reconstruction")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A module with weights, and where it is called.

    Attributes:
        path: Of the module.
        sites: Operators that it is; more than one where it is called again.
    """

    path: str
    module: nn.Module
    sites: tuple[str, ...]


def layers_of(folded: fx.GraphModule) -> dict[str, Layer]:
    """List a folded network's modules with weights, in the order in which they run first.

    >>> from edgekd.simulation import fold
    >>> network = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    >>> list(layers_of(fold(network, np.zeros((1, 2), "f"))))
    ['0', '2']
    """
    found: dict[str, Layer] = {}
    for name, operator in operators(folded).items():
        if operator.layer is not None:
            path = str(operator.node.target)
            sites = found[path].sites if path in found else ()
            found[path] = Layer(path=path, module=operator.layer, sites=(*sites, name))
    return found


def losses_of(expected: NDArray[np.float64], found: NDArray[np.float64], task: Task) -> NDArray[np.float64]:
    """Say of each sample how far outputs are from the float student's.

    `single_label`: the Kullback-Leibler divergence sum_c p_c (log p_c - log q_c) of the softmaxes, in nats: the
    cross-entropy against the student's probabilities less what no network could avoid. `multi_label`: the same of each
    label's sigmoid, summed. Values: the mean of (y - y')^2 / s^2, s the standard deviation over samples. Against the
    student and not the labels, because it is rounding that is measured: what it takes from right answers it would give
    to wrong ones, and a few hundred samples show it.

    Args:
        expected: The float student's, (N, outputs): logits or values.
        found: Of the quantized network, likewise.
        task: What they predict.

    Returns:
        (N,), 0 where nothing changed.

    >>> losses_of(np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]]), "single_label").round(4)
    array([0.1438])
    """
    if task in _OF_VALUES:
        errors: NDArray[np.float64] = ((found - expected) / spread_of(expected, task)) ** 2
        return np.asarray(errors.mean(axis=1), np.float64)
    if task == "multi_label":
        share = np.exp(_log_sigmoid(expected))
        gaps = share * (_log_sigmoid(expected) - _log_sigmoid(found))
        gaps += (1 - share) * (_log_sigmoid(-expected) - _log_sigmoid(-found))
        return np.asarray(gaps.sum(axis=1), np.float64)
    logs = _log_softmax(expected)
    return np.asarray((np.exp(logs) * (logs - _log_softmax(found))).sum(axis=1), np.float64)


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), np.float64)


def _log_sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(-np.logaddexp(0, -logits), np.float64)


def measure(
    folded: fx.GraphModule,
    candidates: Mapping[str, Sequence[str]],
    *,
    samples: NDArray[np.float32],
    ranges: Ranges,
    task: Task,
    progress: Progress,
) -> dict[str, dict[str, float]]:
    """Measure each layer's mean loss in each of its candidates; kept beside the teachers' caches.

    What comes before a layer is computed once for all: of each variant only what depends on the layer is.

    Args:
        folded: Of `edgekd.simulation.fold`.
        candidates: Precisions by path of the module.
        samples: Of the validation split, (N, ...).
        ranges: Of activations by operator, for static precisions.
        task: What the network predicts.
        progress: Told of each batch of each variant.

    Returns:
        By path and precision.
    """
    digest = hashlib.sha256(np.ascontiguousarray(samples).data)
    for value in folded.state_dict().values():
        digest.update(value.contiguous().numpy().tobytes())
    key = store.fingerprint(
        str(folded.graph),
        digest.hexdigest(),
        samples.shape,
        candidates,
        ranges,
        task,
        store.code_fingerprint(*_CODE),
        store.tool_versions("torch"),
    )
    cached = cache_root() / "sensitivity" / f"{key[:32]}.json"
    if cached.exists():
        return store.read_json(cached, dict[str, dict[str, float]])
    losses = _measure(folded, candidates, samples=samples, ranges=ranges, task=task, progress=progress)
    store.write_json(cached, losses)
    return losses


def _measure(
    folded: fx.GraphModule,
    candidates: Mapping[str, Sequence[str]],
    *,
    samples: NDArray[np.float32],
    ranges: Ranges,
    task: Task,
    progress: Progress,
) -> dict[str, dict[str, float]]:
    layers = layers_of(folded)
    variants = [
        (path, precision, _Variant(folded, layers[path], precision, ranges))
        for path, given in candidates.items()
        for precision in given
    ]
    floats = _Recorder(folded)
    with torch.inference_mode():
        floats.run(torch.from_numpy(samples[:1].copy()))
        size = max(1, min(_BATCH, _BYTES // max(floats.nbytes(), 1)))
        starts = range(0, len(samples), size)
        expected: list[NDArray[np.float64]] = []
        found: list[list[NDArray[np.float64]]] = [[] for _ in variants]
        progress.start("sensitivity of the layers", len(starts) * len(variants))
        try:
            for start in starts:
                batch = torch.from_numpy(np.array(samples[start : start + size], np.float32))
                expected.append(_flat(floats.run(batch)))
                for place, (_, _, variant) in zip(found, variants, strict=True):
                    place.append(_flat(variant.run(batch, floats.values)))
                    progress.advance()
        finally:
            progress.end()
    reference = np.concatenate(expected)
    losses: dict[str, dict[str, float]] = {}
    for place, (path, precision, _) in zip(found, variants, strict=True):
        losses.setdefault(path, {})[precision] = float(losses_of(reference, np.concatenate(place), task).mean())
    return losses


def _flat(outputs: Tensor) -> NDArray[np.float64]:
    return np.asarray(outputs.reshape(len(outputs), -1).double().numpy(), np.float64)


class _Recorder(fx.Interpreter):
    """Runs the float network and keeps what every node gives."""

    def __init__(self, network: fx.GraphModule) -> None:
        super().__init__(network)
        self.values: dict[str, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        self.values[n.name] = super().run_node(n)
        return self.values[n.name]

    def nbytes(self) -> int:
        return sum(each.nbytes for each in self.values.values() if isinstance(each, Tensor))


class _Variant:
    """The network with one layer in a precision; its other weights are the float network's own."""

    def __init__(self, folded: fx.GraphModule, layer: Layer, precision: str, ranges: Ranges) -> None:
        self.network = simulate(folded, "fp32", ranges=ranges, layers=dict.fromkeys(layer.sites, precision))
        make_plain(self.network.get_submodule(layer.path))
        # The float network's very tensors, so that many variants fit into memory.
        for name, parameter in folded.named_parameters():
            owner, _, last = name.rpartition(".")
            if owner != layer.path:
                self.network.get_submodule(owner).register_parameter(last, parameter)
        known = {node.name for node in folded.graph.nodes}
        self.changed: set[str] = set()
        for node in self.network.graph.nodes:
            is_layer = node.op == "call_module" and node.target == layer.path
            if node.name not in known or is_layer or any(each.name in self.changed for each in node.all_input_nodes):
                self.changed.add(node.name)

    def run(self, batch: Tensor, known: Mapping[str, Any]) -> Tensor:
        outputs: Tensor = _Reusing(self.network, self.changed, known).run(batch)
        return outputs


class _Reusing(fx.Interpreter):
    def __init__(self, network: fx.GraphModule, changed: set[str], known: Mapping[str, Any]) -> None:
        super().__init__(network)
        self.changed, self.known = changed, known

    def run_node(self, n: fx.Node) -> Any:
        return super().run_node(n) if n.name in self.changed else self.known[n.name]
