"""Which operators an exported file has, and where between them its numbers are quantized."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import fx, nn

from edgekd.errors import ExportError
from edgekd.simulation.folding import WEIGHTED

_EVERYTHING = (-math.inf, math.inf)
_BOUNDS = {
    **dict.fromkeys(("relu", "relu_", "ReLU"), (0.0, math.inf)),
    **dict.fromkeys(("relu6", "ReLU6"), (0.0, 6.0)),
}
_FUSED = tuple(_BOUNDS)
# Operators that take the activation behind them into themselves.
_FUSING = ("add", "iadd", "add_", "sub", "isub", "sub_", "mul", "imul", "mul_")
# Their output holds numbers of their input: same scale, nothing to round.
_MOVING = (
    *("MaxPool1d", "MaxPool2d", "max_pool1d", "max_pool2d"),
    *("Flatten", "Unflatten", "flatten", "reshape", "view", "permute", "transpose", "squeeze", "unsqueeze"),
    *("ZeroPad1d", "ZeroPad2d", "pad", "getitem", "expand", "repeat", "PixelShuffle"),
)
_PARTING = ("chunk", "split", "unbind")
# Same scale, but their numbers are new ones.
_AVERAGING = ("AvgPool1d", "AvgPool2d", "avg_pool1d", "avg_pool2d", "interpolate", "Upsample")
_JOINING = ("cat", "concat", "concatenate", "stack")
# Kernels fix the scales of these: by name, lower and upper end of their outputs.
FIXED = {
    **dict.fromkeys(("softmax", "Softmax", "sigmoid", "Sigmoid"), (0.0, 1.0)),
    **dict.fromkeys(("tanh", "Tanh"), (-1.0, 1.0)),
}
_OPAQUE = (nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase, nn.Bilinear, nn.TransformerEncoderLayer)
_NEEDS_MODULE = ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")


@dataclass(frozen=True, kw_only=True, eq=False)
class Operator:
    """One operator of an exported file.

    Attributes:
        name: Its site: the path of its module, or of the module that called the function and the function's name;
            `input` stands for what the network is given.
        kind: Name of the module's class or of the function.
        node: In the graph.
        last: The same, or the activation that is fused into it; what `last` gives is quantized.
        sources: Operators whose outputs it reads, each with the argument that brings them.
        range_of: Site whose range its output has.
        layer: Its module, where it has weights.
        bounds: Smallest and largest number that a ReLU or ReLU6 at its end lets through.
    """

    name: str
    kind: str
    node: fx.Node
    last: fx.Node
    sources: tuple[tuple[str, fx.Node], ...]
    range_of: str
    layer: nn.Module | None = None
    bounds: tuple[float, float] = _EVERYTHING

    @property
    def weights(self) -> int:
        """Number of its weights, without biases."""
        weight = getattr(self.layer, "weight", None)
        return 0 if weight is None else int(weight.numel())

    @property
    def fixed(self) -> tuple[float, float] | None:
        """Lower and upper end of its output, where kernels fix them."""
        return FIXED.get(self.kind)


def operators(folded: fx.GraphModule) -> dict[str, Operator]:
    """List the operators of a folded network in the order of computation.

    A ReLU or ReLU6 that alone reads a layer or a sum belongs to it. What moves numbers (pooling by maximum, padding,
    slices, other shapes) is no operator of its own; an average keeps its input's range; what only a concatenation
    reads has the concatenation's range.

    Args:
        folded: Of `fold`.

    Returns:
        By name.

    Raises:
        ExportError: Not folded, or a layer that can't be looked into.

    >>> import numpy as np
    >>> from edgekd.simulation.folding import fold
    >>> network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 2))
    >>> found = operators(fold(network, np.zeros((1, 1, 8, 8), "f")))
    >>> [(name, each.last.meta["site"]) for name, each in found.items()]
    [('input', 'input'), ('0', '1'), ('4', '4')]
    """
    found: dict[str, Operator] = {}
    # By node, the operator whose numbers it holds.
    owners: dict[fx.Node, str] = {}
    for node in folded.graph.nodes:
        if "site" not in node.meta:
            raise ExportError(f"node '{node.name}' has no site", where="student", next_step="fold the network first")
        kind = kind_of(folded, node)
        read = [each for each in node.all_input_nodes if each in owners]
        if node in owners or node.op in ("output", "get_attr"):
            continue  # fused, or none
        if kind in (*_MOVING, *_PARTING) and read:
            owners[node] = owners[read[0]]
            continue
        module = folded.get_submodule(str(node.target)) if node.op == "call_module" else None
        _check(node, kind, module)
        if node.meta["shape"] is None:
            continue  # sizes
        last = _fused(folded, node, kind, module)
        name = node.meta["site"]
        owners |= {node: name, last: name}
        found[name] = Operator(
            name=name,
            kind=kind,
            node=node,
            last=last,
            sources=tuple((owners[each], each) for each in read),
            range_of=found[owners[read[0]]].range_of if kind in _AVERAGING and read else name,
            layer=module if isinstance(module, WEIGHTED) else None,
            bounds=_BOUNDS.get(kind_of(folded, last), _EVERYTHING),
        )
    return dict(_joined(found))


def kind_of(folded: fx.GraphModule, node: fx.Node) -> str:
    """Name what a node computes: its module's class, of those derived from torch's torch's own, or its function."""
    if node.op == "call_module":
        module = type(folded.get_submodule(str(node.target)))
        # A parametrized or derived layer is what torch calls its base.
        own = [each for each in module.__mro__ if each.__module__.startswith("torch.nn.modules")]
        return own[0].__name__ if own and own[0] is not nn.Module else module.__name__
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))


def _fused(folded: fx.GraphModule, node: fx.Node, kind: str, module: nn.Module | None) -> fx.Node:
    if not isinstance(module, WEIGHTED) and kind not in _FUSING:
        return node
    (only, *others) = node.users or (node,)
    return only if not others and only is not node and kind_of(folded, only) in _FUSED else node


def _check(node: fx.Node, kind: str, module: nn.Module | None) -> None:
    if isinstance(module, _OPAQUE):
        raise ExportError(
            f"what '{node.meta['site']}', a {kind}, computes inside can't be quantized in torch",
            where="student",
            allowed="convolutions, linear layers and functions between them",
            next_step="build it from linear layers, or export without quantization-aware training and corrections",
        )
    if kind in _NEEDS_MODULE and node.op == "call_function":
        raise ExportError(
            f"'{node.meta['site']}' has weights that belong to no layer",
            where="student",
            next_step=f"call a module instead of torch.nn.functional.{kind}",
        )


def _joined(found: dict[str, Operator]) -> Iterator[tuple[str, Operator]]:
    """Give what only a concatenation reads the concatenation's range."""
    joins = {}
    for each in found.values():
        if each.kind in _JOINING:
            for source, node in each.sources:
                if len(node.users) == 1 and node is found[source].last:
                    joins[source] = each.name
    for name, each in found.items():
        range_of = each.range_of
        while range_of in joins:
            range_of = joins[range_of]
        yield name, Operator(**{**vars(each), "range_of": range_of})
