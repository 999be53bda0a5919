"""Traces a network into the graph that converters see: batch norms folded, nothing of training left."""

from __future__ import annotations

import copy
import operator
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch.nn.utils import fuse_conv_bn_eval, fuse_linear_bn_eval, parametrize

from edgekd.errors import ExportError

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED, nn.Linear)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_IDLE = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_IDLE_CALLS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout", "contiguous")
# What reading a proxy as a number or a truth value raises, in torch.fx and in the network's own code.
_UNTRACEABLE = (fx.proxy.TraceError, TypeError, ValueError, RuntimeError, AttributeError)
# Of float32 networks, relative to the largest output: additions in another order.
_ERROR = 1e-4
_TORCH = str(Path(torch.__file__).parent)


def fold(network: nn.Module, example: NDArray[np.float32]) -> fx.GraphModule:
    """Copy a network for evaluation, each batch norm folded into the layer before it.

    W' = W * g / sqrt(v + eps), b' = (b - m) * g / sqrt(v + eps) + beta, for each output channel (Jacob et al. 2018,
    arXiv:1712.05877, equation 14). Dropout and identities go. Modules keep their paths, and each node knows its site:
    a module's path, or for a function the path of the module that called it and the function's name. It also knows
    which modules' outputs it gives, those of blocks too.

    Args:
        network: Not changed; in any mode, on any device.
        example: One input or a few, (N, ...).

    Returns:
        On the CPU, in evaluation mode, with the network's outputs.

    Raises:
        ExportError: Control flow that depends on values, or outputs that are not the network's.

    >>> network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
    >>> [node.meta["site"] for node in fold(network, np.zeros((1, 1, 8, 8), "f")).graph.nodes]
    ['input', '0', '2', 'output']
    """
    copied = copy.deepcopy(network).cpu().eval()
    for module in copied.modules():
        make_plain(module)
    inputs = torch.from_numpy(np.array(example, np.float32))
    with torch.no_grad():
        folded = _trace(copied, inputs)
    with torch.no_grad():
        _Shapes(folded).run(inputs)
    _drop_idle(folded)
    _fold_norms(folded)
    _name_sites(folded)
    folded.graph.lint()
    folded.recompile()
    with torch.no_grad():
        _check_outputs(copied, folded, inputs)
    return folded


def make_plain(module: nn.Module) -> None:
    """Store what parametrizations compute (weight norm, rounding, ...) as plain parameters.

    Copies of parametrized modules share their class, so torch's own `remove_parametrizations` would break the others.

    Args:
        module: Changed in place; not those below it.

    >>> from torch.nn.utils.parametrizations import weight_norm
    >>> layer = weight_norm(nn.Linear(2, 2))
    >>> make_plain(layer)
    >>> type(layer).__name__, sorted(name for name, _ in layer.named_parameters())
    ('Linear', ['bias', 'weight'])
    """
    if not parametrize.is_parametrized(module):
        return
    tensors = {name: getattr(module, name).detach().clone() for name in module.parametrizations}  # type: ignore[union-attr]
    del module.parametrizations
    module.__class__ = type(module).__bases__[0]
    for name, tensor in tensors.items():
        module.register_parameter(name, nn.Parameter(tensor))


class _Sized(fx.Proxy):
    """A proxy that knows its sizes: numbers, except where they follow the number of samples."""

    @property
    def shape(self) -> tuple[Any, ...]:
        few, more = self.node.meta["values"]
        if not isinstance(few, Tensor) or few.ndim != more.ndim:
            raise AttributeError  # then torch.fx makes a node of it
        traced: Any = super().__getattr__("shape")
        return tuple(
            size if size == other else traced[axis]
            for axis, (size, other) in enumerate(zip(few.shape, more.shape, strict=True))
        )

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def dim(self) -> int:
        return len(self.shape)

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]


class _Tracer(fx.Tracer):
    """Keeps layers with weights whole, also those that networks derive from torch's, and knows where it is.

    Networks may compute with sizes, such as of padding: whatever is traced is also run, on two and on three samples.
    """

    deepest = ""
    _running = False

    def __init__(self, inputs: Tensor) -> None:
        super().__init__()
        self._inputs = [inputs[:1].expand(count, *inputs.shape[1:]) for count in (2, 3)]

    def proxy(self, node: fx.Node) -> fx.Proxy:
        self._values(node)
        return _Sized(node, self)

    def _values(self, node: fx.Node) -> list[Any]:
        if "values" not in node.meta:
            node.meta["values"] = [self._run(node, number) for number in (0, 1)]
        values: list[Any] = node.meta["values"]
        return values

    def _run(self, node: fx.Node, number: int) -> Any:
        if node.op == "placeholder":
            return node.args[0] if node.args else self._inputs[number]
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda each: self._values(each)[number])
        self._running = True
        try:
            if node.op == "call_method":
                return getattr(args[0], str(node.target))(*args[1:], **kwargs)
            if node.op == "call_function":
                return node.target(*args, **kwargs)  # type: ignore[operator]
            found = operator.attrgetter(str(node.target))(self.root)
            return found if node.op == "get_attr" else found(*args, **kwargs)
        finally:
            self._running = False

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, (*WEIGHTED, *_NORMS)) or super().is_leaf_module(m, module_qualified_name)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        return attr_val if self._running else super().getattr(attr, attr_val, parameter_proxy_cache)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        if self._running:
            return forward(*args, **kwargs)
        self.deepest = path = self.path_of_module(m)
        result = super().call_module(m, forward, args, kwargs)
        if isinstance(result, fx.Proxy):
            result.node.meta["gives"] = (*result.node.meta.get("gives", ()), path)
        self.deepest = self.deepest.rpartition(".")[0]
        return result


def _trace(network: nn.Module, inputs: Tensor) -> fx.GraphModule:
    tracer = _Tracer(inputs)
    try:
        graph = tracer.trace(network)
    except _UNTRACEABLE as error:
        # The last line outside of torch is the network's own.
        frames = traceback.extract_tb(error.__traceback__)
        own = [each for each in frames if not each.filename.startswith(_TORCH) and each.filename != __file__]
        line = f" in '{own[-1].line}'" if own else ""
        raise ExportError(
            f"can't trace what '{tracer.deepest or type(network).__name__}' does{line}: {str(error).splitlines()[0]}",
            where="student",
            allowed="the same operations for all inputs",
            next_step="use torch.where instead of if, or export without corrections and quantization-aware training",
        ) from None
    for node in reversed(graph.nodes):
        node.meta.pop("values", None)  # the output has none
        if node.target in (getattr, operator.getitem) and not node.users:
            graph.erase_node(node)  # a size that was not needed
    # A graph that remembers its tracer is traced by it again when it is read from a file, without samples.
    plain = fx.Graph()
    plain.output(plain.graph_copy(graph, {}))
    return fx.GraphModule(network, plain, type(network).__name__)


def _module(folded: fx.GraphModule, node: Any) -> nn.Module | None:
    return folded.get_submodule(str(node.target)) if isinstance(node, fx.Node) and node.op == "call_module" else None


def _drop_idle(folded: fx.GraphModule) -> None:
    for node in list(folded.graph.nodes):
        called = getattr(node.target, "__name__", node.target) if node.op in ("call_function", "call_method") else ""
        if isinstance(_module(folded, node), _IDLE) or called in _IDLE_CALLS:
            before = node.args[0]
            before.meta["gives"] = (*before.meta.get("gives", ()), *node.meta.get("gives", ()))
            node.replace_all_uses_with(before)
            folded.graph.erase_node(node)
    folded.delete_all_unused_submodules()


def _fold_norms(folded: fx.GraphModule) -> None:
    calls = [node.target for node in folded.graph.nodes if node.op == "call_module"]
    for node in list(folded.graph.nodes):
        norm = _module(folded, node)
        if not isinstance(norm, _NORMS) or norm.running_mean is None:
            continue
        before = node.args[0]
        layer = _module(folded, before)
        if not isinstance(layer, WEIGHTED):
            continue
        # A layer that is used twice, or read by others as well, has outputs without the norm.
        if len(before.users) > 1 or calls.count(before.target) > 1:
            continue
        if isinstance(layer, nn.Linear):
            if len(before.meta["shape"] or ()) != 2:
                continue  # the norm's channels are not the layer's
            fused: nn.Module = fuse_linear_bn_eval(layer, norm)
        elif isinstance(layer, TRANSPOSED) and layer.groups > 1:
            continue  # its channels do not lie along one dimension
        else:
            fused = fuse_conv_bn_eval(layer, norm, transpose=isinstance(layer, TRANSPOSED))
        folded.set_submodule(str(before.target), fused)
        before.meta["gives"] = node.meta.get("gives", ())  # what the layer gave before its norm is nowhere now
        node.replace_all_uses_with(before)
        folded.graph.erase_node(node)
    folded.delete_all_unused_submodules()


class _Shapes(fx.Interpreter):
    """Notes which shape each node gives; `None` where it gives no floats."""

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        is_float = isinstance(result, Tensor) and result.is_floating_point()
        n.meta["shape"] = tuple(result.shape) if is_float else None
        return result


def _name_sites(folded: fx.GraphModule) -> None:
    taken: set[str] = set()
    for node in folded.graph.nodes:
        node.type = None  # an annotation, which may be a text that can't be pickled as code
        if node.op == "placeholder":
            name = "input"
        elif node.op in ("call_module", "get_attr"):
            name = str(node.target)
        elif node.op == "output":
            name = "output"
        else:
            stack = [*(node.meta.get("nn_module_stack") or {})]
            called = node.target if isinstance(node.target, str) else node.target.__name__
            # `a + b` and `a += b` are the function `add`.
            called = {"iadd": "add", "isub": "sub", "imul": "mul"}.get(called, called).strip("_")
            name = f"{stack[-1]}.{called}" if stack and stack[-1] else called
        number, unique = 0, name
        while unique in taken:
            number += 1
            unique = f"{name}_{number}"
        taken.add(unique)
        node.meta["site"] = unique


def _check_outputs(network: nn.Module, folded: fx.GraphModule, inputs: Tensor) -> None:
    expected, given = network(inputs), folded(inputs)
    if not isinstance(expected, Tensor) or not isinstance(given, Tensor):
        raise ExportError(f"outputs of type {type(expected).__name__}", where="student", allowed="one tensor")
    error, size = float((expected - given).abs().max()), max(1.0, float(expected.abs().max()))
    # Otherwise a path was taken that depends on something else than the inputs.
    if not error <= _ERROR * size:
        raise ExportError(
            f"the folded network's outputs differ from the student's by {error:.3g}",
            where="student",
            allowed=f"{_ERROR * size:.1g}",
            next_step="look for randomness, state or values that are not finite in its forward",
        )
