"""Sees what flows through a folded or simulated network, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from edgekd.errors import ExportError, did_you_mean
from edgekd.simulation.folding import WEIGHTED
from edgekd.simulation.operators import operators

_BATCH = 64
_TAPS = "taps"


def batches(samples: NDArray[np.float32], size: int = _BATCH) -> Iterator[Tensor]:
    """Give samples as tensors, a batch at a time: they may lie on disk or be computed as they are read.

    Args:
        samples: (N, ...), or what slices into such arrays.
        size: Of a batch.

    >>> [len(batch) for batch in batches(np.zeros((5, 1), "f"), 2)]
    [2, 2, 1]
    """
    for start in range(0, len(samples), size):
        yield torch.from_numpy(np.array(samples[start : start + size], np.float32))


def part(network: fx.GraphModule, nodes: Sequence[fx.Node]) -> fx.GraphModule:
    """Cut out what computes some nodes; weights and quantizers are shared with the network.

    Args:
        network: Folded or simulated.
        nodes: Of its graph.

    Returns:
        From the network's inputs to a tuple of what the nodes give.
    """
    needed = set(nodes)
    for node in reversed(network.graph.nodes):
        if node in needed:
            needed.update(node.all_input_nodes)
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in network.graph.nodes:
        if node in needed or node.op == "placeholder":
            copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(tuple(copies[node] for node in nodes))
    return fx.GraphModule(network, graph)


def weighted_layers(network: fx.GraphModule) -> dict[str, Any]:
    """Give convolutions and linear layers by path, in the order in which they run first.

    Args:
        network: Folded or simulated.

    >>> from torch import nn
    >>> from edgekd.simulation.folding import fold
    >>> list(weighted_layers(fold(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)), np.zeros((1, 2), "f"))))
    ['0', '2']
    """
    calls = [str(node.target) for node in network.graph.nodes if node.op == "call_module"]
    modules = {path: network.get_submodule(path) for path in calls}
    return {path: module for path, module in modules.items() if isinstance(module, WEIGHTED)}


def call_of(network: fx.GraphModule, path: str) -> fx.Node:
    """Find where a module is called, first.

    Args:
        network: Folded or simulated.
        path: Of the module.
    """
    calls: Iterator[fx.Node] = (
        node for node in network.graph.nodes if node.op == "call_module" and node.target == path
    )
    return next(calls)


def tap(network: fx.GraphModule, paths: Iterable[str]) -> dict[str, str]:
    """Make what modules of the network before it was traced give visible again, as outputs of modules that do nothing.

    Blocks are no modules of a graph, and a simulated network's numbers are those behind its rounding.

    Args:
        network: Folded or simulated; changed in place. `untap` takes them out again.
        paths: Of modules, as `named_modules` of the network that was traced calls them.

    Returns:
        For each path that of the module whose output it is.

    Raises:
        ExportError: Nothing gives that any more: a layer whose batch norm is folded into it, or what has no one tensor.

    >>> from edgekd.simulation.folding import fold
    >>> folded = fold(nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Linear(2, 1)), np.zeros((1, 2), "f"))
    >>> tap(folded, ["0"])
    {'0': 'taps.0'}
    """
    givers = {path: node for node in network.graph.nodes for path in node.meta.get("gives", ())}
    found = {}
    network.add_submodule(_TAPS, nn.ModuleDict())
    for path in paths:
        if path not in givers:
            raise ExportError(
                f"no output of '{path}' is left: a batch norm is folded into it, or it gives no single tensor",
                where="student",
                allowed="the batch norm behind it, an activation or a block",
                next_step=did_you_mean(path, givers),
            )
        # A module's own name has no dots.
        found[path] = f"{_TAPS}.{path.replace('.', '/')}"
        network.add_submodule(found[path], nn.Identity())
        with network.graph.inserting_after(givers[path]):
            network.graph.call_module(found[path], (givers[path],))
    network.recompile()
    return found


def untap(network: fx.GraphModule) -> None:
    """Take out what `tap` put into a network.

    Args:
        network: Changed in place.
    """
    for node in list(network.graph.nodes):
        if node.op == "call_module" and str(node.target).startswith(f"{_TAPS}."):
            network.graph.erase_node(node)
    network.delete_all_unused_submodules()
    network.recompile()


def activations(folded: fx.GraphModule, inputs: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Give what every operator gives, with what is fused into it.

    Args:
        folded: Of `fold`.
        inputs: (N, ...).

    Returns:
        By operator, (N, ...), channels first: a file's activations can be recognised by them.

    >>> from torch import nn
    >>> from edgekd.simulation.folding import fold
    >>> folded = fold(nn.Sequential(nn.ReLU(), nn.Flatten()), np.zeros((1, 1, 2), "f"))
    >>> {name: values.tolist() for name, values in activations(folded, np.array([[[-1, 2]]], "f")).items()}
    {'input': [[[-1.0, 2.0]]], '0': [[[0.0, 2.0]]]}
    """
    found = operators(folded)
    watched = part(folded, [each.last for each in found.values()])
    with torch.no_grad():
        given = watched(torch.from_numpy(np.array(inputs, np.float32)))
    return {name: values.numpy() for name, values in zip(found, given, strict=True)}


def observe(folded: fx.GraphModule, samples: NDArray[np.float32]) -> dict[str, tuple[float, float]]:
    """Find the smallest and largest number that every operator gives.

    Args:
        folded: Of `fold`.
        samples: (N, ...), read a batch at a time.

    Returns:
        By operator, lower and upper end.

    >>> from torch import nn
    >>> from edgekd.simulation.folding import fold
    >>> folded = fold(nn.Sequential(nn.ReLU(), nn.Flatten()), np.zeros((1, 1, 2), "f"))
    >>> observe(folded, np.array([[[-1, 2]], [[0, 4]]], "f"))
    {'input': (-1.0, 4.0), '0': (0.0, 4.0)}
    """
    found = operators(folded)
    watched = part(folded, [each.last for each in found.values()])
    seen: dict[str, tuple[float, float]] = {}
    for batch in batches(samples):
        with torch.no_grad():
            given = watched(batch)
        for name, values in zip(found, given, strict=True):
            low, high = seen.get(name, (float("inf"), float("-inf")))
            seen[name] = min(low, float(values.min())), max(high, float(values.max()))
    return seen
