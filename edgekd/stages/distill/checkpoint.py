"""What a killed training needs to go on and end with the same bytes."""

from __future__ import annotations

import io
import logging
import pickle
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgekd import store
from edgekd.records import EpochRecord

_log = logging.getLogger("edgekd")


@dataclass(kw_only=True)
class Checkpoint:
    """The state of a training between two epochs.

    Attributes:
        fingerprint: Of all that the training depends on; a checkpoint of another one is not used.
        epoch: The next one to train.
        best: Weights of the best epoch so far.
    """

    fingerprint: str
    epoch: int = 0
    network: dict[str, torch.Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    best_epoch: int = -1
    history: list[EpochRecord] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        buffer = io.BytesIO()
        torch.save(vars(self) | {"history": [asdict(record) for record in self.history]}, buffer)
        store.write_bytes(path, buffer.getvalue())


def load_checkpoint(path: Path, fingerprint: str) -> Checkpoint | None:
    """Read a checkpoint of the very same training, if there is one."""
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        return None
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        _log.warning("%s can't be read (%s); training starts over", path, str(error).splitlines()[0])
        return None
    if state.get("fingerprint") != fingerprint:
        _log.info("%s belongs to another recipe, data or version; training starts over", path)
        return None
    return Checkpoint(**state | {"history": [EpochRecord(**record) for record in state["history"]]})


def copy_state(network: nn.Module) -> dict[str, torch.Tensor]:
    """Copy a network's weights to the CPU."""
    return {key: value.detach().cpu().clone() for key, value in network.state_dict().items()}
