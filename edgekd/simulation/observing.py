"""Looks at what flows through a simulated network, and reads and sets its ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from edgekd.errors import ConfigError, ExportError, did_you_mean
from edgekd.records import Ranges
from edgekd.simulation.fake_quantizer import FakeQuantizer, QuantizedLayer


def quantizers(network: nn.Module) -> dict[str, FakeQuantizer]:
    """Quantizers by site, in the order in which they were placed."""
    return {each.site: each for each in network.modules() if isinstance(each, FakeQuantizer)}


def ranges(network: nn.Module) -> dict[str, tuple[float, float]]:
    """Give lower and upper end of each site's values, learned or set.

    A site is the path of the module that gives the value (its fused activation included), `input`, or a function's
    name behind the path of the module that calls it.

    Raises:
        ExportError: A site has none yet.

    >>> from edgekd.simulation import fold, simulate
    >>> simulated = simulate(fold(nn.Sequential(nn.Linear(2, 2)), torch.zeros(1, 2)), "static_wi8_ai8")
    >>> set_ranges(simulated, {"input": (0.0, 1.0), "0": (-2.0, 3.0)})
    >>> ranges(simulated)
    {'input': (0.0, 1.0), '0': (-2.0, 3.0)}
    """
    found = quantizers(network)
    _check_all_ready(found)
    return {site: quantizer.range() for site, quantizer in found.items()}


def set_ranges(network: nn.Module, values: Ranges) -> None:
    """Set the ends of every site; those that kernels fix stay as they are.

    Args:
        network: From `simulate`.
        values: By site; more sites than the network has are an error, so that no range is lost by its name.

    Raises:
        ConfigError: An unknown site.
        ExportError: A site without a range.
    """
    found = quantizers(network)
    for site, (low, high) in values.items():
        if site not in found:
            raise ConfigError(f"no activation '{site}'", allowed=", ".join(found), next_step=did_you_mean(site, found))
        found[site].set_range(low, high)
    _check_all_ready(found)


def calibrate(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set each range to the smallest and largest value of the float network on samples.

    Args:
        network: From `simulate`; changed in place.
        batches: (N, ...) each.

    Raises:
        ExportError: No samples, or values that are not finite.

    >>> from edgekd.simulation import fold, simulate
    >>> simulated = simulate(fold(nn.Sequential(nn.ReLU()), torch.zeros(1, 2)), "static_wi8_ai8")
    >>> calibrate(simulated, [torch.tensor([[-1.0, 2.0]]), torch.tensor([[0.0, 3.0]])])
    >>> ranges(simulated)
    {'input': (-1.0, 3.0), '0': (0.0, 3.0)}
    """
    ends: dict[str, tuple[float, float]] = {}

    def widen(site: str, values: Tensor) -> None:
        if not torch.isfinite(values).all():
            raise ExportError(f"activation '{site}' is not finite on calibration samples")
        low, high = ends.get(site, (float("inf"), float("-inf")))
        ends[site] = min(low, float(values.min())), max(high, float(values.max()))

    with _observed(network, widen), torch.no_grad():
        for batch in batches:
            network(batch)
    if quantizers(network) and not ends:
        raise ExportError("no calibration samples", next_step="give samples of the training split")
    for site, quantizer in quantizers(network).items():
        quantizer.set_range(*ends[site])


def observe(network: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """Give the float values of every site, by which they are found again in a file of another layout.

    Args:
        network: From `simulate`, with or without ranges; nothing is rounded.
        inputs: (N, ...).

    Returns:
        By site, (N, ...), channels first.

    >>> from edgekd.simulation import fold, simulate
    >>> simulated = simulate(fold(nn.Sequential(nn.ReLU()), torch.zeros(1, 2)), "static_wi8_ai8")
    >>> observe(simulated, torch.tensor([[-1.0, 2.0]]))
    {'input': tensor([[-1.,  2.]]), '0': tensor([[0., 2.]])}
    """
    seen: dict[str, Tensor] = {}

    def keep(site: str, values: Tensor) -> None:
        seen[site] = values

    with _observed(network, keep), torch.no_grad():
        network(inputs)
    return seen


def layer_values(network: nn.Module, path: str, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Run a network up to a layer.

    Args:
        network: From `fold` or `simulate`.
        path: Of the layer.
        inputs: Of the network, (N, ...).

    Returns:
        What goes into the layer and what it gives, before any activation; without gradients.

    >>> from edgekd.simulation import fold
    >>> layer_values(fold(nn.Sequential(nn.ReLU(), nn.Flatten()), torch.zeros(1, 1)), "1", torch.tensor([[-1.0]]))
    (tensor([[0.]]), tensor([[0.]]))
    """
    seen: list[tuple[Tensor, Tensor]] = []

    def stop(_: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        seen.append((given[0], result))
        raise _ReachedError

    handle = network.get_submodule(path).register_forward_hook(stop)
    try:
        with torch.no_grad():
            network(inputs)
    except _ReachedError:
        return seen[0]
    finally:
        handle.remove()
    raise ExportError(f"the network never calls '{path}'")


class _ReachedError(Exception):
    """The layer was run; the rest need not be."""


@contextmanager
def _observed(network: nn.Module, observer: Callable[[str, Tensor], None]) -> Iterator[None]:
    layers = [each for each in network.modules() if isinstance(each, QuantizedLayer)]
    found = quantizers(network).values()
    for quantizer in found:
        quantizer.observer = observer
    for layer in layers:
        layer.enabled = False
    try:
        yield
    finally:
        for quantizer in found:
            quantizer.observer = None
        for layer in layers:
            layer.enabled = True


def _check_all_ready(found: dict[str, FakeQuantizer]) -> None:
    missing = [site for site, quantizer in found.items() if not quantizer.ready]
    if missing:
        raise ExportError(
            f"no range for {', '.join(missing)}", next_step="give ranges of all activations, or calibrate with samples"
        )
