"""Logits that were computed before, from an .npz file: no network is needed."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from edgekd import store
from edgekd.errors import ModelError
from edgekd.teachers import StoredLogits
from edgekd.teachers._native import check_file

_ALLOWED = "an .npz with 'logits', (samples, classes) or (samples, views, classes), and perhaps 'classes'"
_CHECKED_AT_ONCE = 2**22  # numbers
_LOCAL_HEADER = struct.Struct("<26xHH")  # of a zip entry: ends with the lengths of name and extra field


def load(*, weights: Path, outputs: int) -> StoredLogits:
    """Load logits of every sample of the source's training array, in its order.

    The array is mapped, not read, where the file is not compressed (`np.savez`).

    Args:
        weights: An .npz with `logits`, (N, C) or (N, V, C) floats, and perhaps `classes`, (C,) names.
        outputs: How many logits the data asks for per sample.

    Returns:
        What gives logits for positions.

    Raises:
        ModelError: Missing, damaged, other shapes, or values that are no numbers.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "teacher.npz"
    >>> np.savez(file, logits=np.zeros((10, 4), "f2"), classes=np.array(["a", "b", "c", "d"]))
    >>> teacher = load(weights=file, outputs=4)
    >>> teacher.samples, teacher.views, teacher.names
    (10, 1, ('a', 'b', 'c', 'd'))
    """
    path = check_file(Path(weights), allowed=_ALLOWED)
    where = str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            if bad := archive.testzip():
                raise ModelError(f"damaged: the checksum of {bad!r} is wrong", where=where)
            present = {name.removesuffix(".npy") for name in archive.namelist()}
            if "logits" not in present:
                raise ModelError(f"has no 'logits', but {sorted(present)}", where=where, allowed=_ALLOWED)
            logits = _read(archive, "logits.npy", path)
            names = _read(archive, "classes.npy", path) if "classes" in present else None
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"damaged, or not an .npz file ({error})", where=where, allowed=_ALLOWED) from None
    except (ValueError, OSError, MemoryError) as error:
        raise ModelError(f"can't be read ({error or type(error).__name__})", where=where, allowed=_ALLOWED) from None
    _check(logits, names, outputs, where)
    if logits.ndim == 2:
        logits = logits[:, None]
    in_order = () if names is None else tuple(str(name) for name in names)
    return StoredLogits(logits, sha256=store.sha256_of(path), names=in_order)


def _read(archive: zipfile.ZipFile, name: str, path: Path) -> NDArray[Any]:
    entry = archive.getinfo(name)
    with archive.open(entry) as stream:
        version = npy.read_magic(stream)
        read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
        if read_header is None:
            raise ValueError(f"version {version} of the .npy format")
        shape, fortran, dtype = read_header(stream)
        header_bytes = stream.tell()
    if dtype.hasobject:
        raise ValueError(f"'{name}' holds Python objects")
    if entry.compress_type != zipfile.ZIP_STORED or not all(shape):
        with archive.open(entry) as stream:
            array: NDArray[Any] = npy.read_array(stream, allow_pickle=False)
        return array
    if entry.file_size - header_bytes != dtype.itemsize * int(np.prod(shape, dtype=object)):
        raise ValueError(f"'{name}' has another size than its header says")
    with path.open("rb") as file:
        file.seek(entry.header_offset)
        name_bytes, extra_bytes = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    offset = entry.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes + header_bytes
    return np.memmap(path, dtype, mode="r", offset=offset, shape=shape, order="F" if fortran else "C")


def _check(logits: NDArray[Any], names: NDArray[Any] | None, outputs: int, where: str) -> None:
    if logits.dtype.kind != "f" or logits.ndim not in (2, 3) or not logits.size:
        raise ModelError(f"'logits' is {logits.dtype} of shape {logits.shape}", where=where, allowed=_ALLOWED)
    classes = logits.shape[-1]
    if classes != outputs:
        raise ModelError(f"holds {classes} logits per sample, the data asks for {outputs}", where=where)
    if names is not None and (names.shape != (classes,) or len(set(map(str, names))) != classes):
        raise ModelError(
            f"'classes' has shape {names.shape}, or names one twice",
            where=where,
            allowed=f"({classes},), all different",
        )
    rows = max(1, _CHECKED_AT_ONCE // (logits.size // len(logits)))
    for start in range(0, len(logits), rows):
        part = np.asarray(logits[start : start + rows])
        broken = ~np.isfinite(part).reshape(len(part), -1).all(axis=1)
        if broken.any():
            sample = start + int(broken.argmax())
            raise ModelError(f"logits of sample {sample} are not finite", where=where, next_step="compute them again")
