"""A network of edgekd or of your own with weights from a safetensors file or a torch state dict."""

from __future__ import annotations

import pickle
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from edgekd.errors import ModelError

# Training scripts wrap the state dict in a checkpoint, and its keys in those of a wrapper module.
_CHECKPOINT_KEYS = ("state_dict", "model_state_dict", "model")
_WRAPPER_PREFIXES = ("module.", "_orig_mod.")
# Files that people give by mistake: where the bytes lie, what they are, what is so marked, what to do.
_OTHER_FORMATS = (
    (4, b"TFL3", "a TFLite model", "load it with source = 'tflite'"),
    (0, b"\x89HDF", "an HDF5 file", "load it with source = 'keras', or convert it to safetensors"),
    (0, b"version https://git-lfs", "a Git LFS pointer without its file", "run `git lfs pull`"),
)
_ALLOWED = "safetensors or a torch state dict"
# What reading a damaged or hostile file raises; the unpickler runs its opcodes on whatever it finds.
_UNREADABLE = (
    RuntimeError,
    EOFError,
    OSError,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
    SafetensorError,
    ValueError,  # UnicodeDecodeError too
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    OverflowError,
    MemoryError,
)


def load(*, network: nn.Module, weights: Path) -> nn.Module:
    """Load weights into a network, which becomes a frozen teacher.

    No code of the file runs: safetensors holds none, and state dicts are read with `weights_only=True`.
    Checkpoints (`{"state_dict": ...}`) and the keys of `DataParallel` and `torch.compile` are unwrapped.

    Args:
        network: Of the architecture that the weights are of; changed in place, or left alone on an error.
        weights: The file.

    Returns:
        The network in evaluation mode, without gradients.

    Raises:
        ModelError: No such file, not a weights file, or weights of another network.

    >>> import tempfile
    >>> trained, network = nn.Linear(2, 3), nn.Linear(2, 3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.save(trained.state_dict(), Path(folder) / "trained.pt")
    ...     teacher = load(network=network, weights=Path(folder) / "trained.pt")
    >>> torch.equal(teacher.weight, trained.weight), teacher.weight.requires_grad, teacher.training
    (True, False, False)
    """
    path = Path(weights)
    state = read_state(path)
    _compare(state, network.state_dict(), path)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:  # a network with loading rules of its own
        raise ModelError(f"the weights do not fit: {_one_line(error)}", where=str(path)) from None
    return network.eval().requires_grad_(False)


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a file of weights, whatever network they are of; no code of it runs.

    Args:
        path: safetensors, or a torch state dict, alone or in a checkpoint.

    Returns:
        Tensors by name, without the prefixes of wrappers.

    Raises:
        ModelError: No such file, not a weights file, or one that holds code.
    """
    return _unwrap(_read(path), path)


def _read(path: Path) -> object:
    if not path.is_file():
        raise ModelError(
            "not a file" if path.exists() else "no such file",
            where=str(path),
            next_step="check 'weights'",
        )
    try:
        with path.open("rb") as file:
            start = file.read(32)
    except OSError as error:
        raise ModelError(f"can't be read: {error.strerror}", where=str(path)) from None
    if not start:
        raise ModelError("the file is empty", where=str(path), allowed=_ALLOWED)
    for offset, mark, what, next_step in _OTHER_FORMATS:
        if start[offset:].startswith(mark):
            raise ModelError(f"this is {what}", where=str(path), allowed=_ALLOWED, next_step=next_step)
    # The content decides, not the suffix: .pt, .pth, .th, .bin and .ckpt are all in use.
    reader: Callable[[Path], object]
    if start[8:9] == b"{":  # after the length of a safetensors header
        reader = load_file
    elif start.startswith(b"PK\x03\x04"):
        reader = _read_zip
    elif start.startswith(b"\x80"):  # torch before 1.6: bare pickles
        reader = _read_legacy
    else:
        raise ModelError("not a weights file", where=str(path), allowed=_ALLOWED)
    try:
        with warnings.catch_warnings():  # of unusual pickle protocols; if one matters, the read fails
            warnings.simplefilter("ignore", UserWarning)
            return reader(path)
    except _UNREADABLE as error:
        raise _explain(error, path) from None


def _read_zip(path: Path) -> object:
    with zipfile.ZipFile(path) as archive:
        names = {name.rpartition("/")[2] for name in archive.namelist()}
        if "constants.pkl" in names:
            raise ModelError(
                "this is TorchScript, which holds code",
                where=str(path),
                allowed=_ALLOWED,
                next_step="save its state_dict()",
            )
        if "data.pkl" not in names:
            raise ModelError("this is a zip archive, but not one of torch", where=str(path), allowed=_ALLOWED)
        # torch writes checksums but does not read them.
        if bad := archive.testzip():
            raise ModelError(
                f"damaged: the checksum of {bad!r} is wrong", where=str(path), next_step="get the file again"
            )
        stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
    # Mapped, so that large teachers are not held twice; torch would map compressed entries as they are.
    return torch.load(path, map_location="cpu", weights_only=True, mmap=stored)


def _read_legacy(path: Path) -> object:
    return torch.load(path, map_location="cpu", weights_only=True)


def _explain(error: BaseException, path: Path) -> ModelError:
    forbidden = re.search(r"(?:Unsupported|GLOBAL|function|class) (?:global: GLOBAL )?([\w.]+)", str(error))
    if isinstance(error, pickle.UnpicklingError) and "GLOBAL" in str(error) and forbidden:
        return ModelError(
            f"refused: the file wants to run '{forbidden[1]}', and weights hold no code",
            where=str(path),
            allowed=_ALLOWED,
            next_step="if you trust it, load it where it comes from and save its state_dict()",
        )
    return ModelError(
        f"damaged or not a weights file ({_one_line(error)})",
        where=str(path),
        allowed=_ALLOWED,
        next_step="get the file again",
    )


def _one_line(error: BaseException) -> str:
    # torch puts advice before the cause, some of it to switch `weights_only` off.
    cause = str(error).rpartition("WeightsUnpickler error:")[2]
    lines = [line.strip() for line in cause.splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:160]


def _unwrap(found: object, path: Path) -> dict[str, Tensor]:
    if isinstance(found, dict):
        for key in _CHECKPOINT_KEYS:
            if isinstance(found.get(key), dict):
                found = found[key]
                break
    if not isinstance(found, dict):
        raise ModelError(f"holds a {type(found).__name__}", where=str(path), allowed=_ALLOWED)
    state: dict[str, Tensor] = {}
    for key, value in found.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise ModelError(
                f"not a state dict: {key!r:.80} is a {type(value).__name__}",
                where=str(path),
                allowed=f"names and tensors, alone or under {', '.join(map(repr, _CHECKPOINT_KEYS))}",
            )
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            raise ModelError(f"'{key}' is not a plain dense tensor", where=str(path))
        state[key] = value
    if not state:
        raise ModelError("holds no tensors", where=str(path), allowed=_ALLOWED)
    while prefix := next((each for each in _WRAPPER_PREFIXES if all(key.startswith(each) for key in state)), None):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _compare(state: dict[str, Tensor], expected: dict[str, Tensor], path: Path) -> None:
    where = str(path)
    # Batch norm's step counter came with torch 0.4.1; nothing depends on it in evaluation.
    missing = [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = sorted(key for key in state if key not in expected)  # safetensors has an order of its own
    both = [key for key in expected if key in state]
    shapes = [key for key in both if state[key].shape != expected[key].shape]
    if not missing and not unexpected and shapes:
        _compare_head(state, expected, shapes, where)
    problems = [
        f"{name} keys: {_first(keys)}" for name, keys in (("missing", missing), ("unexpected", unexpected)) if keys
    ]
    if shapes:
        texts = [f"{key} is {tuple(state[key].shape)}, the network's {tuple(expected[key].shape)}" for key in shapes]
        problems.append(f"other shapes: {_first(texts)}")
    if problems:
        raise ModelError(
            f"weights of another network: {'; '.join(problems)}",
            where=where,
            next_step="check the teacher's 'model' and its options",
        )
    kinds = [key for key in both if state[key].is_floating_point() != expected[key].is_floating_point()]
    if kinds:
        texts = [f"{key} is {state[key].dtype}, the network's {expected[key].dtype}" for key in kinds]
        raise ModelError(f"other kinds of numbers: {_first(texts)}", where=where)
    broken = [key for key in both if not bool(torch.isfinite(state[key]).all())]
    if broken:
        raise ModelError(f"not a number, or infinite: {_first(broken)}", where=where, next_step="the training diverged")


def _compare_head(state: dict[str, Tensor], expected: dict[str, Tensor], shapes: list[str], where: str) -> None:
    head = list(expected)[-1].rpartition(".")[0]
    if all(key.rpartition(".")[0] == head and state[key].shape[1:] == expected[key].shape[1:] for key in shapes):
        there, here = (tensors[shapes[0]].shape[:1] for tensors in (state, expected))
        if there and here:
            raise ModelError(
                f"the weights have {there[0]} classes, the data {here[0]}",
                where=where,
                next_step="use weights trained for these classes",
            )


def _first(texts: list[str], *, shown: int = 3) -> str:
    return ", ".join(_shown(texts, shown))


def _shown(texts: list[str], shown: int) -> Iterator[str]:
    yield from texts[:shown]
    if len(texts) > shown:
        yield f"and {len(texts) - shown} more"
