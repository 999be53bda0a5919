"""Folds BatchNorm into the layer before it, as every converter does: what is left is what a file computes."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from edgekd.errors import ExportError
from edgekd.simulation.roles import CONVOLUTIONS, TRANSPOSED

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
# Modules that compute nothing in evaluation mode.
_IDLE = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_IDLE_FUNCTIONS = (nn.functional.dropout, nn.functional.dropout2d, nn.functional.dropout3d)
# Of float32 networks, relative to the largest output: additions in another order.
_ERROR = 1e-4


class Tracer(fx.Tracer):
    """Keeps layers with weights whole, those of subclasses too; all else is traced into."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Say whether a module is one operation."""
        return isinstance(m, (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)) or super().is_leaf_module(
            m, module_qualified_name
        )


def fold(network: nn.Module, example: Tensor) -> fx.GraphModule:
    """Copy a network in evaluation mode as a graph, with BatchNorm folded and without what then computes nothing.

    w' = w gamma / sqrt(var + eps), b' = (b - mean) gamma / sqrt(var + eps) + beta for each output channel (Jacob et
    al. 2018, arXiv:1712.05877, section 3.2). Layers keep their paths. A BatchNorm that does not follow a layer of its
    own, or has no running statistics, stays.

    Args:
        network: Any mode and device.
        example: Inputs (N, ...) on the network's device; the copy must give the same outputs.

    Returns:
        In evaluation mode; weights are copies.

    Raises:
        ExportError: Control flow that depends on values, or a copy that gives other outputs.

    >>> network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Dropout(0.5))
    >>> [str(node.target) for node in fold(network, torch.zeros(2, 4)).graph.nodes]
    ['input', '0', '2', 'output']
    """
    network = copy.deepcopy(network).eval()
    graph, tracer = _trace(network), Tracer
    folded = fx.GraphModule(network, graph)
    # Lets a copy in another process be traced by the same rules.
    folded.graph._tracer_cls = tracer  # noqa: SLF001 - GraphModule pickles it from there
    folded._tracer_cls = tracer  # noqa: SLF001
    _drop_idle(folded)
    _fold_norms(folded)
    folded.graph.eliminate_dead_code()
    folded.delete_all_unused_submodules()
    folded.recompile()
    _check(network, folded, example)
    return folded


def _trace(network: nn.Module) -> fx.Graph:
    tracer = Tracer()
    try:
        return tracer.trace(network)
    # What tracing raises where Python needs a number, a length or a truth of a value that is not there yet.
    except (fx.proxy.TraceError, TypeError, ValueError, RuntimeError, NotImplementedError, AttributeError) as error:
        stack = list(tracer.module_stack.values())
        path, kind = stack[-1] if stack else ("", type(network))
        name = kind.__name__ if isinstance(kind, type) else str(kind)
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise ExportError(
            f"what it does depends on its inputs' values or sizes, so that it can't be traced: {reason}",
            where=f"module '{path}' ({name})" if path else f"network {type(network).__name__}",
            allowed="the same operations for all inputs",
            next_step="write the condition as torch operations, or export without corrections and quantization-aware "
            "training, which alone need this",
        ) from None


def _drop_idle(folded: fx.GraphModule) -> None:
    modules = dict(folded.named_modules())
    for node in list(folded.graph.nodes):
        idle_module = node.op == "call_module" and isinstance(modules[str(node.target)], _IDLE)
        if idle_module or (node.op == "call_function" and node.target in _IDLE_FUNCTIONS):
            node.replace_all_uses_with(node.all_input_nodes[0])
            folded.graph.erase_node(node)


def _fold_norms(folded: fx.GraphModule) -> None:
    modules = dict(folded.named_modules())
    calls: dict[Any, int] = {}
    for node in folded.graph.nodes:
        calls[node.target] = calls.get(node.target, 0) + 1
    for node in list(folded.graph.nodes):
        if node.op != "call_module" or not isinstance(norm := modules[str(node.target)], _NORMS):
            continue
        before = node.args[0]
        # A layer with more readers, or one that is called twice, must stay what it is for the others.
        if before.op != "call_module" or len(before.users) > 1 or calls[before.target] > 1:
            continue
        fused = _fuse(modules[str(before.target)], norm)
        if fused is None:
            continue
        path = str(before.target)
        owner, _, name = path.rpartition(".")
        setattr(folded.get_submodule(owner), name, fused)
        modules[path] = fused
        node.replace_all_uses_with(before)
        folded.graph.erase_node(node)


def _fuse(layer: nn.Module, norm: Any) -> nn.Module | None:
    if norm.running_var is None:
        return None
    if isinstance(layer, nn.Linear):
        return fuse_linear_bn_eval(layer, norm)
    if isinstance(layer, (*CONVOLUTIONS, *TRANSPOSED)):
        # Its weights are (in, out / groups, ...): with groups, channels do not lie along one dimension.
        transposed = isinstance(layer, TRANSPOSED)
        if transposed and layer.groups > 1:
            return None
        fused: nn.Module = fuse_conv_bn_eval(layer, norm, transpose=transposed)
        return fused
    return None


def _check(network: nn.Module, folded: fx.GraphModule, example: Tensor) -> None:
    with torch.no_grad():
        expected = network(example)
        # Shapes and dtypes of all values, for `simulate`.
        found = ShapeProp(folded).propagate(example)
    if not isinstance(expected, Tensor) or not isinstance(found, Tensor):
        raise ExportError(f"outputs of type {type(expected).__name__}", allowed="one tensor")
    error = float((found - expected).abs().max()) if expected.numel() else 0.0
    if not error <= _ERROR * max(float(expected.abs().max()), 1.0):
        raise ExportError(
            f"the folded network's outputs differ by {error:.3g}",
            where=f"network {type(network).__name__}",
            allowed="the same outputs",
            next_step="look for values that are not finite, or for a network that keeps state between calls",
        )
