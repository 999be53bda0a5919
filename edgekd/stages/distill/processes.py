"""The processes that train one network together: one alone, or those that `accelerate launch` started."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import nn

from edgekd import registry
from edgekd.errors import ConfigError
from edgekd.launch import process_count
from edgekd.records import DistillSpec
from edgekd.stages.distill.views import default_device

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")
_log = logging.getLogger("edgekd")


class Processes(Protocol):
    """What a training needs to know of the processes that do it.

    Attributes:
        rank: Number of this one; 0 writes files.
        count: How many there are.
    """

    rank: int
    count: int

    @property
    def device(self) -> torch.device:
        """Where this process computes."""

    def prepare(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Wrap both, so that gradients are the mean over all processes."""

    def backward(self, loss: torch.Tensor) -> None:
        """Compute gradients."""

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """Average a number over all processes."""

    def share(self, value: T) -> T:
        """Give every process what rank 0 has."""

    def state(
        self, network: nn.Module, objective: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Give the whole state of network and optimizer, on every process; the objective's is whole everywhere."""

    def load(
        self,
        network: nn.Module,
        objective: nn.Module,
        optimizer: torch.optim.Optimizer,
        states: Sequence[dict[str, Any]],
    ) -> None:
        """Set the state of network and optimizer."""

    def whole(self, network: nn.Module) -> nn.Module:
        """Give something with all of a network's parameters and buffers, which may be spread over processes."""

    def wait(self) -> None:
        """Go on when all have come here."""

    def track(self, values: Mapping[str, float], step: int) -> None:
        """Tell experiment trackers of an epoch."""

    def end(self) -> None:
        """Close experiment trackers."""


def find_processes(spec: DistillSpec, *, name: str, folder: str | None) -> Processes:
    """Find out who trains: accelerate where several processes or trackers are wanted, else this process alone.

    Raises:
        ConfigError: A batch that can't be dealt out evenly, a sharded student that is to write texts, or a tracker
            that is not installed.
        MissingExtraError: accelerate is not installed.
    """
    if process_count() == 1 and not spec.trackers:
        return Alone()
    return Accelerated(spec, name=name, folder=folder)


class Alone:
    """One process."""

    rank, count = 0, 1

    @property
    def device(self) -> torch.device:
        """The GPU where there is one."""
        return default_device()

    def prepare(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Change nothing."""
        return network, optimizer

    def backward(self, loss: torch.Tensor) -> None:
        """Compute gradients."""
        loss.backward()  # type: ignore[no-untyped-call]  # torch's stubs

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """Give the number itself."""
        return value

    def share(self, value: T) -> T:
        """Give the value itself."""
        return value

    def state(
        self,
        network: nn.Module,
        objective: nn.Module,  # noqa: ARG002 - the protocol's
        optimizer: torch.optim.Optimizer,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Give both states as they are."""
        return network.state_dict(), optimizer.state_dict()

    def load(
        self,
        network: nn.Module,
        objective: nn.Module,  # noqa: ARG002 - the protocol's
        optimizer: torch.optim.Optimizer,
        states: Sequence[dict[str, Any]],
    ) -> None:
        """Set both states."""
        network.load_state_dict(states[0])
        optimizer.load_state_dict(states[1])

    def whole(self, network: nn.Module) -> nn.Module:
        """Give the network itself."""
        return network

    def wait(self) -> None:
        """There is nobody to wait for."""

    def track(self, values: Mapping[str, float], step: int) -> None:
        """Tell nobody."""

    def end(self) -> None:
        """Nothing to close."""


class Accelerated:
    """Processes, devices and trackers as accelerate finds them: DDP, FSDP, several machines.

    Args:
        spec: For trackers and the batch.
        name: Of the training.
        folder: Where trackers that write files do so.
    """

    def __init__(self, spec: DistillSpec, *, name: str, folder: str | None) -> None:
        accelerate = registry.require("accelerate", "training on several processes or with trackers")
        # accelerate only warns of those, and tells nobody.
        for tracker in spec.trackers:
            if importlib.util.find_spec(tracker) is None:
                raise ConfigError(
                    f"tracker '{tracker}' is not installed",
                    where=f"{name}: trackers",
                    next_step=f"pip install {tracker}, or leave it out",
                )
        try:
            self.accelerator = accelerate.Accelerator(
                log_with=list(spec.trackers) or None, project_dir=folder or "runs"
            )
        except (ValueError, ImportError) as error:
            raise ConfigError(f"{error}", where=f"{name}: trackers", next_step="pip install the tracker") from None
        self.rank, self.count = self.accelerator.process_index, self.accelerator.num_processes
        asked = os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"
        if asked and self.accelerator.device.type == "cpu" and self.rank == 0:
            _log.warning("%s: accelerate shards networks on GPUs only: every process holds all of it", name)
        self.name = name
        if self.accelerator.distributed_type == "FSDP" and spec.generation and spec.generation.on_policy:
            raise ConfigError(
                "a sharded network can't write texts while it is trained",
                where=f"{name}: generation.on_policy",
                allowed="0",
                next_step="launch without --use_fsdp, or let the teacher write: generation.samples",
            )
        if spec.batch_size % (self.count * spec.accumulate):
            raise ConfigError(
                f"{spec.batch_size} samples can't be dealt out to {self.count} processes in {spec.accumulate} parts",
                where=f"{name}: batch_size",
                allowed=f"a multiple of {self.count * spec.accumulate}",
            )
        if spec.trackers:
            scalars = {key: value for key, value in vars(spec).items() if isinstance(value, int | float | str | bool)}
            self.accelerator.init_trackers(name, config=scalars)

    @property
    def device(self) -> torch.device:
        """The device that the launcher gave this process."""
        device: torch.device = self.accelerator.device
        return device

    def prepare(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Wrap both as the launcher was told to.

        Raises:
            ConfigError: Sharding, and losses that learn something too: accelerate's optimizers can't have both.
        """
        own = {id(each) for each in network.parameters()}
        learned = [each for group in optimizer.param_groups for each in group["params"]]
        if self.accelerator.distributed_type == "FSDP" and any(id(each) not in own for each in learned):
            raise ConfigError(
                "losses that learn a projector can't be trained with a sharded network",
                where=f"{self.name}: losses",
                allowed="losses of outputs, or of features that are compared as they are",
                next_step="launch without --use_fsdp",
            )
        wrapped, optimizing = self.accelerator.prepare(network, optimizer)
        return wrapped, optimizing

    def backward(self, loss: torch.Tensor) -> None:
        """Compute gradients and average them over all processes."""
        self.accelerator.backward(loss)

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """Average a number over all processes."""
        averaged: torch.Tensor = self.accelerator.reduce(value, "mean")
        return averaged

    def share(self, value: T) -> T:
        """Send rank 0's value to all."""
        from accelerate.utils import broadcast_object_list

        values = [value]
        broadcast_object_list(values)
        return values[0]

    def state(
        self, network: nn.Module, objective: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Gather both states, which may be spread over processes."""
        from torch.distributed.checkpoint import state_dict as gathering

        whole = gathering.StateDictOptions(full_state_dict=True, cpu_offload=True)
        # The optimizer names its states by parameters, and trains what the objective learns too.
        trained = nn.ModuleList([network, objective])
        weights = gathering.get_model_state_dict(network, options=whole)
        return weights, gathering.get_optimizer_state_dict(trained, _bare(optimizer), options=whole)

    def load(
        self,
        network: nn.Module,
        objective: nn.Module,
        optimizer: torch.optim.Optimizer,
        states: Sequence[dict[str, Any]],
    ) -> None:
        """Set both states, spreading them as the network is spread."""
        from torch.distributed.checkpoint import state_dict as gathering

        whole = gathering.StateDictOptions(full_state_dict=True)
        trained = nn.ModuleList([network, objective])
        gathering.set_model_state_dict(network, states[0], options=whole)
        gathering.set_optimizer_state_dict(trained, _bare(optimizer), states[1], options=whole)

    def whole(self, network: nn.Module) -> nn.Module:
        """Gather what is spread over processes; the network itself where nothing is."""
        return _Gathered(network) if any(hasattr(each, "full_tensor") for each in network.parameters()) else network

    def wait(self) -> None:
        """Go on when all have come here."""
        self.accelerator.wait_for_everyone()

    def track(self, values: Mapping[str, float], step: int) -> None:
        """Tell the trackers."""
        self.accelerator.log(dict(values), step=step)

    def end(self) -> None:
        """Close the trackers."""
        # Not end_training, which would end the process group that a later training needs.
        for tracker in self.accelerator.trackers:
            tracker.finish()


class _Gathered(nn.Module):
    """All of a sharded network's parameters and buffers, whole, as they are now."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.weights = nn.ParameterList(_full(each).detach() for each in network.parameters()).requires_grad_(
            requires_grad=False
        )
        for index, each in enumerate(network.buffers()):
            self.register_buffer(f"buffer_{index}", _full(each))


def _full(tensor: torch.Tensor) -> torch.Tensor:
    whole: torch.Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return whole


def _bare(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Take off accelerate's wrapper."""
    inner: torch.optim.Optimizer = getattr(optimizer, "optimizer", optimizer)
    return inner
