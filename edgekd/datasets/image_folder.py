"""Pictures: FOLDER/CLASS/*.jpg, *.png, *.bmp or *.webp, with or without train/ and test/ above the classes."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgekd import registry, store
from edgekd.datasets import Source, Split
from edgekd.datasets._labels import number_classes
from edgekd.datasets._pictures import decode
from edgekd.datasets._places import find, scan
from edgekd.errors import ConfigError

_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What samples are to be."""

    size: int
    channels: Literal[1, 3]
    fit: Literal["crop", "stretch"]


def load(
    *,
    path: Path,
    size: int = 96,
    channels: Literal[1, 3] = 3,
    fit: Literal["crop", "stretch"] = "crop",
    classes: tuple[str, ...] | None = None,
    memory_mb: float = 2048.0,
    cache_folder: Path | None = None,
) -> Source:
    """Load pictures as squares of bytes, turned upright as their EXIF data say.

    Args:
        path: A folder with a sub-folder for each class, or with train/ and test/ that hold those; a relative one is
            also looked for in the folders of `EDGEKD_DATA`.
        size: Height and width of every sample, in pixels.
        channels: 3 for colours, 1 for grey; pictures of the other kind are converted, transparent pixels are black.
        fit: Whether pictures that are no squares lose their margins or their proportions.
        classes: Names, in an order of one's own; else those of the folders.
        memory_mb: Pixels of more megabytes (10^6 bytes) go into a memory-mapped file, which later runs find again.
        cache_folder: Where that file goes; by default a folder of edgekd's in the user's cache folder.

    Returns:
        Inputs (N, channels, size, size) uint8, scaled by 1/255.

    Raises:
        DataError: A picture that can't be read, or nothing to read.
        ConfigError: A size that is none.
    """
    if not 1 <= size <= 4096:
        raise ConfigError(f"size = {size}", where="dataset image_folder", allowed="1 to 4096")
    root = find(path, folder=True)
    found = scan(root, _SUFFIXES)
    names = tuple(classes) if classes else found.classes
    pillow = registry.require("PIL.Image", "dataset 'image_folder'")
    folder = cache_folder or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "edgekd" / "images"

    as_wanted = _Wanted(size=size, channels=channels, fit=fit)

    def read(files: Sequence[Path], labels: Sequence[int]) -> Split:
        shape = (len(files), channels, size, size)
        if math.prod(shape) <= memory_mb * 1e6:
            inputs: NDArray[np.uint8] = np.empty(shape, np.uint8)
            _fill(inputs, files, as_wanted, pillow)
        else:
            inputs = _map(shape, files, as_wanted, pillow, root, Path(folder))
        numbers = number_classes([found.classes[label] for label in labels], names, str(root))
        return Split(inputs=inputs, labels=numbers)

    test = read(found.test, found.test_labels) if found.test else None
    return Source(train=read(found.train, found.train_labels), test=test, classes=names, scale=1 / 255)


def files(*, path: Path, **_: object) -> list[Path]:
    """Every picture."""
    found = scan(find(path, folder=True), _SUFFIXES)
    return [*found.train, *found.test]


def _map(
    shape: tuple[int, ...], files: Sequence[Path], wanted: _Wanted, pillow: ModuleType, root: Path, folder: Path
) -> NDArray[np.uint8]:
    """Open the pixels of these very pictures as a memory-mapped file; make it first where it is not there."""
    names = [path.relative_to(root).as_posix() for path in files]
    contents = [store.sha256_of(path) for path in files]
    code = store.code_fingerprint("datasets/image_folder.py", "datasets/_pictures.py")
    key = store.fingerprint(names, contents, wanted, pillow.__version__, code)
    file = folder / f"{key[:32]}.npy"
    if not file.exists():
        with store.atomic_path(file) as partial:
            pixels = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
            _fill(pixels, files, wanted, pillow)
            pixels.flush()
    mapped: NDArray[np.uint8] = np.load(file, mmap_mode="r")
    return mapped


def _fill(pixels: NDArray[np.uint8], files: Sequence[Path], wanted: _Wanted, pillow: ModuleType) -> None:
    def one(index: int) -> None:
        with files[index].open("rb") as file:
            pixels[index] = decode(file, wanted.size, wanted.channels, wanted.fit, pillow, str(files[index]))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(one, range(len(files))):
            pass  # an error of a thread is raised here
