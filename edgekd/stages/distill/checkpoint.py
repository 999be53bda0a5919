"""What a killed training needs to go on and end with the same bytes."""

from __future__ import annotations

import io
import logging
import pickle
import struct
import zipfile
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgekd import store
from edgekd.records import EpochRecord, TermShare

_log = logging.getLogger("edgekd")
_UNREADABLE = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    pickle.UnpicklingError,
)


@dataclass(kw_only=True)
class Checkpoint:
    """The state of a training between two epochs.

    Attributes:
        fingerprint: Of all that the training depends on; a checkpoint of another one is not used.
        epoch: The next one to train.
        objective: What the loss itself learned (projectors).
        average: The moving average of the weights.
        best: Weights of the best epoch so far.
    """

    fingerprint: str
    epoch: int = 0
    network: dict[str, torch.Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    objective: dict[str, torch.Tensor] = field(default_factory=dict)
    average: dict[str, Any] = field(default_factory=dict)
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
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()  # torch writes checksums but does not read them
        if bad:
            raise zipfile.BadZipFile(f"the checksum of '{bad}' is wrong")
        state = torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        return None
    except _UNREADABLE as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        _log.warning("%s can't be read (%s); training starts over", path, reason)
        return None
    if not isinstance(state, dict) or state.get("fingerprint") != fingerprint:
        _log.info("%s belongs to another recipe, data or version; training starts over", path)
        return None
    return Checkpoint(**state | {"history": [_record(each) for each in state["history"]]})


def _record(saved: dict[str, Any]) -> EpochRecord:
    return EpochRecord(**saved | {"terms": tuple(TermShare(**term) for term in saved["terms"])})


def copy_state(network: nn.Module) -> dict[str, torch.Tensor]:
    """Copy a network's weights to the CPU."""
    return {key: value.detach().cpu().clone() for key, value in network.state_dict().items()}
