"""What the operations of a traced network are to a quantizer."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import fx, nn
from torch.nn import functional

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
WEIGHTED = (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)

# `moves`: values of the input, in other places or fewer: they keep its scale. `averages`: the input's scale, but new
# values. `joins`: the inputs take the output's scale. `bounded`: kernels fix the scale. `computes`: a scale of its own.
Role = Literal["input", "constant", "output", "moves", "averages", "joins", "bounded", "activates", "computes"]

_MOVING: tuple[type[nn.Module], ...] = (
    nn.Flatten,
    nn.Unflatten,
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.ZeroPad1d,
    nn.ZeroPad2d,
    nn.PixelShuffle,
    nn.Identity,
)
_MOVING_CALLS: set[Any] = {
    torch.flatten,
    torch.reshape,
    torch.permute,
    torch.transpose,
    torch.squeeze,
    torch.unsqueeze,
    torch.chunk,
    torch.split,
    torch.max_pool2d,
    functional.pad,
    functional.max_pool1d,
    functional.max_pool2d,
    functional.pixel_shuffle,
    operator.getitem,
    *("flatten", "reshape", "view", "permute", "transpose", "squeeze", "unsqueeze", "contiguous", "chunk", "split"),
}
_AVERAGING: tuple[type[nn.Module], ...] = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_AVERAGING_CALLS: set[Any] = {functional.avg_pool1d, functional.avg_pool2d, torch.avg_pool1d}
_JOINING_CALLS: set[Any] = {torch.cat, torch.concat}
# Ends of the range by number of bits come from (lowest, span): softmax and logistic 1/256, tanh 1/128 with 8 bits.
_UNIT: set[Any] = {torch.softmax, torch.sigmoid, functional.softmax, functional.sigmoid, "softmax", "sigmoid"}
_SYMMETRIC: set[Any] = {torch.tanh, functional.tanh, "tanh"}
_RELU: set[Any] = {torch.relu, torch.relu_, functional.relu, functional.relu_, "relu", "relu_"}
# Operations on weights that no module owns.
_WEIGHTED_CALLS: set[Any] = {
    torch.matmul,
    operator.matmul,
    functional.linear,
    functional.conv1d,
    functional.conv2d,
    functional.conv_transpose2d,
}


def role(node: fx.Node, modules: dict[str, nn.Module]) -> Role:
    """Say what a node is to a quantizer."""
    if node.op in ("placeholder", "get_attr", "output"):
        return {"placeholder": "input", "get_attr": "constant", "output": "output"}[node.op]  # type: ignore[return-value]
    target: Any = modules[str(node.target)] if node.op == "call_module" else node.target
    if node.op == "call_module":
        kinds: tuple[tuple[Role, tuple[type[nn.Module], ...]], ...] = (
            ("moves", _MOVING),
            ("averages", _AVERAGING),
            ("bounded", (nn.Softmax, nn.Sigmoid, nn.Tanh)),
            ("activates", (nn.ReLU, nn.ReLU6)),
        )
        return next((name for name, types in kinds if isinstance(target, types)), "computes")
    calls: tuple[tuple[Role, set[Any]], ...] = (
        ("moves", _MOVING_CALLS),
        ("averages", _AVERAGING_CALLS),
        ("joins", _JOINING_CALLS),
        ("bounded", _UNIT | _SYMMETRIC),
        ("activates", _RELU | {functional.relu6}),
    )
    return next((name for name, targets in calls if target in targets), "computes")


def fixed_range(node: fx.Node, modules: dict[str, nn.Module], bits: int) -> tuple[float, float]:
    """Range of a bounded operation, as TFLite's kernels fix it (`kernels/activations.cc`).

    Softmax and logistic: scale 1/256, zero point -128; tanh: 1/128, 0; of 16 bits: 1/32768, 0.
    """
    if bits == 16:
        return -32767 / 32768, 32767 / 32768
    target: Any = modules[str(node.target)] if node.op == "call_module" else node.target
    if isinstance(target, nn.Tanh) or (not isinstance(target, nn.Module) and target in _SYMMETRIC):
        return -1.0, 127 / 128
    return 0.0, 255 / 256


def owns_no_module(node: fx.Node) -> bool:
    """Say whether a node multiplies by weights that are no layer's, which would stay float here and not in a file."""
    constant = any(each.op == "get_attr" for each in node.all_input_nodes)
    return node.op == "call_function" and node.target in _WEIGHTED_CALLS and constant


def fused_node(node: fx.Node, modules: dict[str, nn.Module]) -> fx.Node | None:
    """Give the ReLU or ReLU6 that files fuse into an operation: its only reader."""
    readers = list(node.users)
    if len(readers) != 1 or role(readers[0], modules) != "activates":
        return None
    return readers[0]


def site_name(node: fx.Node) -> str:
    """Name the value that a node gives: a module's path, or the function's name behind its owner's path."""
    if node.op == "placeholder":
        return "input"
    if node.op == "call_module":
        return str(node.target)
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    owner = str(stack[-1][0]) if stack else ""
    return f"{owner}.{node.name}" if owner else node.name


def weighted_layers(network: fx.GraphModule) -> dict[str, Any]:
    """Convolutions and linear layers by path, in the order in which they run.

    >>> from edgekd.simulation.folding import fold
    >>> list(weighted_layers(fold(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), torch.zeros(1, 4))))
    ['0', '2']
    """
    modules = dict(network.named_modules())
    found: dict[str, Any] = {}
    for node in network.graph.nodes:
        if node.op == "call_module" and isinstance(modules[str(node.target)], WEIGHTED):
            found.setdefault(str(node.target), modules[str(node.target)])
    return found


def fused_activation(network: fx.GraphModule, path: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """Give the activation that files fuse into a layer; the identity where there is none.

    Args:
        network: From `fold`.
        path: Of the layer.

    >>> from edgekd.simulation.folding import fold
    >>> network = fold(nn.Sequential(nn.Linear(4, 3), nn.ReLU6()), torch.zeros(1, 4))
    >>> fused_activation(network, "0")(torch.tensor([-1.0, 2.0, 9.0]))
    tensor([0., 2., 6.])
    """
    modules = dict(network.named_modules())
    node = next(each for each in network.graph.nodes if each.op == "call_module" and each.target == path)
    fused = fused_node(node, modules)
    if fused is None:
        return _identity
    is_six = fused.target is functional.relu6 or isinstance(modules.get(str(fused.target)), nn.ReLU6)
    return functional.relu6 if is_six else functional.relu


def _identity(values: torch.Tensor) -> torch.Tensor:
    return values
