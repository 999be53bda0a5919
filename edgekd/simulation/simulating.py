"""Puts a precision's rounding into a folded network, as TFLite and ONNX files have it, and takes it out again."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping

from torch import fx, nn
from torch.nn.utils import parametrize

from edgekd.errors import ExportError, did_you_mean
from edgekd.records import Precision, Ranges, decode_precision
from edgekd.simulation.folding import TRANSPOSED, make_plain
from edgekd.simulation.operators import Operator, operators
from edgekd.simulation.quantizers import FakeQuantizer, HalfWeights, WeightQuantizer

_FOLDER = "quantizers"


def simulate(
    folded: fx.GraphModule,
    precision: str,
    *,
    ranges: Ranges | None = None,
    layers: Mapping[str, str] | None = None,
) -> fx.GraphModule:
    """Copy a folded network with the rounding of an exported file.

    Weights: symmetric, a scale for each output channel (of 4 bits 8 in depthwise and transposed convolutions, as TFLite
    has them). Activations of static precisions: a scale for each tensor, at the network's input and after each operator
    with what is fused into it. Biases of 32 bits are exact enough. Of `dynamic_...` the weights only.

    Args:
        folded: Of `fold`; not changed.
        precision: Of all operators that `layers` does not name.
        ranges: Lower and upper end by operator, of `observe`; static precisions need them.
        layers: Precision of single operators. Between two precisions an activation is rounded for each that reads it.

    Returns:
        With the same parameters and the ranges' scales to train; on the CPU, in evaluation mode.

    Raises:
        ExportError: A range is missing, or there is no such operator.

    >>> import numpy as np, torch
    >>> from edgekd.simulation.folding import fold
    >>> folded = fold(nn.Sequential(nn.Linear(2, 1, bias=False)), np.zeros((1, 2), "f"))
    >>> _ = folded.get_submodule("0").weight.data.copy_(torch.tensor([[1.0, 0.501]]))
    >>> simulate(folded, "weight_only_wi8_afp32")(torch.tensor([[0.0, 1.0]])).item()
    0.503...
    """
    network = copy.deepcopy(folded)
    found, named = operators(network), dict(layers or {})
    for name in named:
        if name not in found:
            raise ExportError(
                f"no operator '{name}'",
                where="layers",
                allowed=", ".join(found),
                next_step=did_you_mean(name, found),
            )
    precisions = {name: decode_precision(named.get(name, precision)) for name in found}
    quantizers = _Quantizers(network, found, ranges or {})
    for name, each in found.items():
        if each.layer is not None:
            _round_weights(each.layer, precisions[name])
        bits = _bits(precisions[name])
        # Those that read it find what it gives rounded to its own bits, and round again to theirs.
        if bits:
            quantizers.put_behind(each, bits)
        for source, node in each.sources:
            if bits and bits != _bits(precisions[source]):
                quantizers.put_between(source, node, each.node, bits)
    network.graph.lint()
    network.recompile()
    return network


def fake_quantizers(network: fx.GraphModule) -> Iterator[FakeQuantizer]:
    """Give the quantizers of activations in a simulated network, in the order of computation."""
    calls = dict.fromkeys(str(node.target) for node in network.graph.nodes if node.op == "call_module")
    for path in calls:
        module = network.get_submodule(path)
        if isinstance(module, FakeQuantizer):
            yield module


def ranges(network: fx.GraphModule) -> dict[str, tuple[float, float]]:
    """Read the ranges of a simulated network, as they were set or learned.

    Args:
        network: Of `simulate`.

    Returns:
        Lower and upper end by operator; a quantizer gives them the scales and zero points of the simulation.
    """
    return {each.site: each.range() for each in fake_quantizers(network)}


def set_ranges(network: fx.GraphModule, given: Ranges) -> None:
    """Set ranges of a simulated network.

    Args:
        network: Of `simulate`; changed in place.
        given: Lower and upper end by operator; operators with fixed scales keep theirs.

    Raises:
        ExportError: No activation of that name is quantized.
    """
    known = {each.site for each in fake_quantizers(network)}
    for name in given:
        if name not in known:
            raise ExportError(
                f"no activation '{name}' is quantized", allowed=", ".join(known), next_step=did_you_mean(name, known)
            )
    for each in fake_quantizers(network):
        if each.site in given and not each.fixed:
            each.set_range(*given[each.site])


def strip(network: fx.GraphModule) -> fx.GraphModule:
    """Copy a simulated network without its rounding, ready to convert: weights stay as rounded.

    Args:
        network: Of `simulate`, trained or not.

    Returns:
        A folded network; with the ranges of `ranges` quantizers give it the integers of the simulation.
    """
    stripped = copy.deepcopy(network)
    for node in list(stripped.graph.nodes):
        if node.op == "call_module" and isinstance(stripped.get_submodule(str(node.target)), FakeQuantizer):
            node.replace_all_uses_with(node.args[0])
            stripped.graph.erase_node(node)
    stripped.delete_all_unused_submodules()
    for module in stripped.modules():
        make_plain(module)
    stripped.graph.lint()
    stripped.recompile()
    return stripped


def channel_axis(layer: nn.Module) -> int:
    """Which dimension of a layer's weights counts output channels."""
    return 1 if isinstance(layer, TRANSPOSED) else 0


def weight_bits(layer: nn.Module, precision: str) -> int | None:
    """Bits of a layer's integer weights in a precision; `None` of float ones.

    >>> [weight_bits(nn.Conv2d(8, 8, 3, groups=each), "weight_only_wi4_afp32") for each in (1, 8)]
    [4, 8]
    >>> weight_bits(nn.Conv2d(1, 8, 3), "weight_only_wi4_afp32"), weight_bits(nn.Linear(2, 2), "fp16")
    (8, None)
    """
    weights = decode_precision(precision).weights
    if not weights.startswith("int"):
        return None
    bits = int(weights.removeprefix("int"))
    # With one input channel too: converters make a depthwise convolution of it.
    depthwise = hasattr(layer, "groups") and layer.groups == layer.in_channels
    return 8 if depthwise or isinstance(layer, TRANSPOSED) else bits


def _bits(precision: Precision) -> int | None:
    return int(precision.activations.removeprefix("int")) if precision.mode == "static" else None


def _round_weights(layer: nn.Module, precision: Precision) -> None:
    if parametrize.is_parametrized(layer, "weight"):
        return  # called a second time
    bits = weight_bits(layer, precision.name)
    if bits is not None:
        parametrize.register_parametrization(layer, "weight", WeightQuantizer(bits, channel_axis(layer)))
    elif precision.weights == "float16":
        parametrize.register_parametrization(layer, "weight", HalfWeights())


class _Quantizers:
    """Calls of quantizers in a network's graph, one for each range and number of bits."""

    def __init__(self, network: fx.GraphModule, found: Mapping[str, Operator], given: Ranges) -> None:
        self.network, self.found, self.given = network, found, given
        network.add_submodule(_FOLDER, nn.ModuleDict())

    def put_behind(self, operator: Operator, bits: int) -> None:
        with self.network.graph.inserting_after(operator.last):
            call = self.network.graph.call_module(self._target(operator.name, bits), (operator.last,))
        call.meta = dict(operator.last.meta)
        operator.last.replace_all_uses_with(call, delete_user_cb=lambda user: user is not call)

    def put_between(self, source: str, node: fx.Node, reader: fx.Node, bits: int) -> None:
        # `node` may be read through its own quantizer by now.
        (given,) = [each for each in reader.all_input_nodes if each is node or self._rounds(each, node)]
        with self.network.graph.inserting_before(reader):
            call = self.network.graph.call_module(self._target(source, bits), (given,))
        call.meta = dict(node.meta)
        reader.replace_input_with(given, call)

    def _rounds(self, call: fx.Node, node: fx.Node) -> bool:
        """Whether it is the quantizer of a node: a layer beside that reads it too is none."""
        return str(call.target).startswith(f"{_FOLDER}.") and call.args[:1] == (node,)

    def _target(self, name: str, bits: int) -> str:
        site = self.found[name].range_of
        # A module's own name has no dots.
        key = f"{site.replace('.', '/')}_int{bits}"
        folder = self.network.get_submodule(_FOLDER)
        if not hasattr(folder, key):
            fixed = self.found[site].fixed
            if fixed is None and site not in self.given:
                raise ExportError(
                    f"no range of activation '{site}'", where="student", next_step="observe calibration samples"
                )
            low, high = fixed or self.given[site]
            bounds = self.found[site].bounds
            quantizer = FakeQuantizer(site, bits=bits, low=low, high=high, fixed=fixed is not None, bounds=bounds)
            folder.add_module(key, quantizer)
        return f"{_FOLDER}.{key}"
